// Processes, their VMs, and a processor that caches translations until it is told to flush: what it still has
// cached after an operation must be true, and no frame may be free that it has cached at the moment of a flush.
#pragma once
#include "mm/space.h"
#include "vmm/reach.h"
#include "vmm/vm.h"
#include "vmm/walk.h"

#define PAGES 1700 // of the process; not a multiple of 512
#define BASE  (0x40000000ull - 100 * PAGE_SIZE)
#define VMS   4
#define SLOTS 3
#define TLB   64

struct page {
    bool mapped;
    int prot;
    uint64_t value;
};
struct slot_model {
    bool there, read_only, logged;
    uint64_t gpa;
    unsigned first, pages; // of the process's memory
    bool dirty[PAGES];     // written since the last collection
};
struct cached { // a translation that the processor model has
    bool valid, write, dirty;
    uint64_t gpa;
    paddr_t pa;
};
struct machine {
    bool used;
    struct vm vm;
    struct vcpu cpu;
    struct page pages[PAGES];
    struct slot_model slots[SLOTS];
    struct cached tlb[TLB];
    struct kvm_run run;
    struct chrono_run chrono;
};

extern struct machine machines[VMS];
extern unsigned model_flushes; // that were checked

// A random number below n (rand()); the process's address of a page; an address in a slot, or beside them.
unsigned model_below(unsigned n);
uint64_t model_at(unsigned page);
uint64_t model_some_gpa(struct machine *m);

// ---- life ----
// An empty VM of the process `space`, whose reference it takes.
void model_begin(struct machine *m, struct space *space);
void model_end(struct machine *m);
// machines[0] with a new physical memory, all of its process's memory mapped, and one slot from page 100 on.
struct machine *model_machine(void);
// fork() and CHRONO_CLONE, into a free one of machines[].
void model_clone(struct machine *m);

// ---- operations of the process and the VMM, with their results checked ----
void model_map(struct machine *m, unsigned first, unsigned n, int prot);
void model_protect(struct machine *m, unsigned first, unsigned n, int prot);
void model_host_write(struct machine *m, unsigned i);
void model_vmm_write(struct machine *m, uint64_t gpa);
void model_set_slot(struct machine *m, unsigned id, uint64_t gpa, unsigned pages, unsigned first,
                    uint32_t flags);
// The dirty pages of all slots.
void model_collect(struct machine *m);

// ---- the guest ----
// An access as the VMM and the processor carry it out. Result of stage2_fault(), or 0.
int model_access(struct machine *m, uint64_t gpa, unsigned access, uint64_t *value);
// The same, with the outcome that the model expects.
void model_check_access(struct machine *m, uint64_t gpa, bool write);
// What the processor has cached is true.
void model_check_tlb(struct machine *m);
// For mock_on_flush.
void model_on_flush(struct vm *vm, paddr_t root);

// What vcpu_walk_path() answers.
extern struct walk_path walked;
extern struct reach model_reach; // what vmm/reach.c says of every access
