// Second-level page tables of a VM (EPT): guest-physical to host-physical. They are a cache of the
// process's own page tables, filled at faults and invalidated through space_notifier.
//
// An entry holds no reference to its frame. Why it never outlives it: entries are made from what the
// process's tables hold with tables_lock held, so no change comes between looking and filling (which is
// why there is no counter of invalidations to check, as in KVM's mmu_notifier_retry); whoever takes a
// frame out of these tables first calls our invalidate() under tables_lock, and then, before the frame is
// dropped, our flush().
//
// Locks: a spin lock of each stage2, taken after tables_lock, covers the tables. The VM's slots, watches
// and breakpoints change with vm->lock and this lock held, so either is enough to look at them.
#pragma once
#include "vmm/vcpu.h"

struct stage2;

// NULL: out of memory. Sets vm->root and follows vm->space from now on.
struct stage2 *stage2_create(struct vm *vm);
// No vCPU of the VM runs any more, but vm->vcpus is still valid.
void stage2_free(struct stage2 *s);
paddr_t stage2_root(const struct stage2 *s);

// A guest access faulted: maps the page (and neighbours that are present, and 2 MB where slot and host
// mapping allow). 0: run again; 1: no memory there (MMIO); 2: a watch or a breakpoint denies it
// (watch_hit()); 3: a write to a read-only slot (MMIO, too); -EFAULT, -ENOMEM: host errors. Called in the
// VM's process, no lock held; may sleep.
int stage2_fault(struct stage2 *s, uint64_t gpa, unsigned access);
// Removes all translations of a guest-physical range. May sleep.
void stage2_unmap(struct stage2 *s, uint64_t gpa, uint64_t size);
// Removes write permission everywhere, by the top entries, pushed down lazily at write faults. May sleep.
void stage2_write_protect_all(struct stage2 *s);

// Around every change of vm->slots or of a slot in it, vm->lock held. Unlocking flushes what was
// zapped and may sleep; nothing may sleep in between.
void stage2_lock_slots(struct stage2 *s);
void stage2_unlock_slots(struct stage2 *s);
// Between the two: removes the translations of a slot that goes, moves, or starts to be logged.
void stage2_zap_slot(struct stage2 *s, struct memory_slot *slot);
// The slot of a page: a copy, with no lock held. False: none.
bool stage2_find_slot(struct stage2 *s, uint64_t gpa, struct memory_slot *copy);

// Dirty pages since the last call are added to a slot's bitmap (D bits, or write protection where the
// processor has none). Bits are also set at other times, when a dirty translation goes away: only
// atomic operations may touch the bitmap. vm->lock held; may sleep.
void stage2_collect_dirty(struct stage2 *s, struct memory_slot *slot, uint64_t *bitmap);
// The VMM wrote to [gpa, gpa + n) of a slot on the guest's behalf.
void stage2_mark_dirty(struct stage2 *s, uint64_t gpa, uint64_t n);
