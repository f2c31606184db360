// Breakpoints that only instruction fetches see: the page is mapped execute-only from a copy with INT3
// in it. Reads and writes fault and are single-stepped on the original; the copy is made anew at the
// next fetch after that, after a KVM_RUN was entered, and after the host's page changed.
#pragma once
#include "vmm/vcpu.h"

// CHRONO_SET_BREAKPOINT. vm->lock held; may sleep. 0; -EOPNOTSUPP: no execute-only pages here; -EINVAL,
// -ENOENT: not set; -ENOMEM; -ENOSPC: too many pages.
int stage2_set_breakpoint(struct vm *vm, const struct chrono_breakpoint *b);
// A #BP exit (RIP is at the INT3). 0: it is the guest's own; 1: run again (the caller steps, so the instruction is
// executed); 2: ours: KVM_EXIT_DEBUG. v->lock held, may sleep.
int breakpoint_hit(struct vcpu *v);
// KVM_RUN begins: user space may have written to a page with breakpoints. v->lock held, may sleep.
void breakpoint_enter(struct vcpu *v);

// ---- for vmm/stage2.c and watch.c: the stage2's lock held ----
bool breakpoint_in(const struct vm *vm, uint64_t gpa, uint64_t size);
// The copy to be shown for a page; NULL: none, or the page is lifted.
struct frame *breakpoint_shadow(const struct vm *vm, uint64_t gpa);
// Makes the copy again from the page's present content.
void breakpoint_refresh(struct vm *vm, uint64_t gpa, const void *original);
// Frees all. Copies all (0 or -ENOMEM).
void breakpoints_free(struct vm *vm);
int breakpoints_clone(struct vm *to, const struct vm *from);
