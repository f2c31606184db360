// Watches: byte ranges of guest memory whose accesses stop the VM before they happen.
//
// A watch takes rights from the second-level entries of its pages, so that accesses fault. When a fault
// touches no watched byte, or watches are off for this run, the page is opened ("lifted") and the vCPU
// executes one instruction. Lifting holds for the whole VM: vCPUs that run at the same time on other
// processors can pass a watch or breakpoint of that page unseen during the step. (vmx runs its vCPUs one
// at a time.)
#pragma once
#include "vmm/vcpu.h"

struct stage2;

// CHRONO_SET_WATCH. vm->lock held. 0, -EINVAL, -ENOMEM, -ENOSPC (too many).
int stage2_set_watch(struct vm *vm, const struct chrono_watch *w);
// Gives `to`, which has none, the watches and breakpoints of `from`. Both locks held. 0 or -ENOMEM.
int stage2_clone(struct vm *to, struct vm *from);
// stage2_fault() returned 2. 1: go on (one instruction with v->step_over set); 0: kvm_run says
// KVM_EXIT_CHRONO_WATCH. v->lock held, may sleep.
int watch_hit(struct vcpu *v, const struct vm_exit *e);
// What the VMM does for an instruction of the guest touches watched bytes like the guest's own accesses: before the
// access to [linear, linear + size) with ACCESS_* (also ACCESS_IMPLICIT; user: at CPL 3), true with kvm_run
// saying KVM_EXIT_CHRONO_WATCH when a watched byte, or an entry of the guest's tables on the way to one, would
// be touched. Nothing has been then. (Not seen: a new task's segments and stack, PDPTEs that MOV CR loads.)
bool watch_catches(struct vcpu *v, uint64_t linear, uint64_t size, unsigned access, bool user);
static inline bool watch_stops(struct vcpu *v, uint64_t linear, uint64_t size, unsigned access,
                               bool user) {
    return unlikely(v->vm->debugged) && v->control & CHRONO_WATCHES &&
           watch_catches(v, linear, size, access, user);
}
// Opens the page of gpa for one instruction of v. v->lock held, may sleep.
void watch_lift(struct vcpu *v, uint64_t gpa);
// The step is over, or the vCPU goes back to user space: pages are closed again. May sleep.
void watch_close(struct vcpu *v);
static inline void watch_step_done(struct vcpu *v) {
    if (v->step_over)
        watch_close(v);
}

// ---- for vmm/stage2.c: the stage2's lock held ----
// ACCESS_* that watches take away in [gpa, gpa + size). A lifted page has none.
unsigned watch_denied(const struct vm *vm, uint64_t gpa, uint64_t size);
bool watch_page_lifted(const struct vm *vm, uint64_t gpa);
// The VM ends.
void debugger_free(struct vm *vm);
