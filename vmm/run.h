// Running a vCPU.
#pragma once
#include "vmm/vcpu.h"

// KVM_RUN. Takes v->lock. 0 with kvm_run filled in, or -EINTR, -EFAULT, ...
long vcpu_run(struct vcpu *v);
// The second level of exit handling, by enum exit_kind (exit.c). 1: run the guest again; 0: back to user
// space with kvm_run filled in; or a negative errno. Interrupts on, may sleep.
typedef int (*exit_handler)(struct vcpu *v, const struct vm_exit *e);
extern const exit_handler exit_handlers[EXIT_KIND_COUNT];

// For emulated instructions, between two iterations of a REP: is there anything that must be looked at before the
// guest goes on (an event, the count, user space, the host)?
bool vcpu_attention(const struct vcpu *v);
// Before its next instruction the guest is to get an interrupt or NMI, or to be stopped so that user space can give it
// one. Reads PART_RFLAGS and PART_BLOCKING.
bool vcpu_event_due(struct vcpu *v);

// chrono.c: hands an instruction that the extension traps to user space; completed at the next KVM_RUN.
int vcpu_chrono_insn(struct vcpu *v, const struct vm_exit *e, uint32_t insn);
// RDRAND or RDSEED with the result "none available now" (carry clear), which they may always give.
void vcpu_no_random(struct vcpu *v, const struct vm_exit *e);
// The timer or the monitor trap flag ended a passage: is it the step that somebody asked for?
int vcpu_step_done(struct vcpu *v);
// True while one instruction at a time is wanted, by the extension or KVM_GUESTDBG_SINGLESTEP.
static inline bool vcpu_stepping(const struct vcpu *v) {
    return unlikely((v->control & CHRONO_STEP) ||
                    (v->guest_debug.control & KVM_GUESTDBG_SINGLESTEP));
}
long chrono_get_state(struct vcpu *v, unsigned long arg);
long chrono_set_state(struct vcpu *v, unsigned long arg);
void chrono_state_get(struct vcpu *v, struct chrono_vcpu_state *s); // everything current
// report.c
void vcpu_report_entry_failure(struct vcpu *v, const struct vm_exit *e);
// sync_regs.c: KVM_CAP_SYNC_REGS, registers through kvm_run.s. 0 or -EINVAL.
int vcpu_sync_regs_in(struct vcpu *v);
void vcpu_sync_regs_out(struct vcpu *v);
