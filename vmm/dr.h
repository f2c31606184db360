// Debug registers of guests, and the debugger outside.
#pragma once
#include "vmm/vcpu.h"

int dr_exit(struct vcpu *v, const struct vm_exit *e);
// An exception in the guest that exits: #DB, #BP under a debugger, #AC, #MC.
int exception_exit(struct vcpu *v, const struct vm_exit *e);
// The step that KVM_GUESTDBG_SINGLESTEP asked for is done: KVM_EXIT_DEBUG.
int debug_step_done(struct vcpu *v);
// KVM_SET_GUEST_DEBUG, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS.
long debug_set_guest_debug(struct vcpu *v, unsigned long arg);
long debug_get_registers(struct vcpu *v, unsigned long arg);
long debug_set_registers(struct vcpu *v, unsigned long arg);
