// Instructions that the VMM carries out in place of the processor: accesses to device memory, string
// input and output, task switches.
//
// The functions below are handlers of exits (exit.c): v->lock held, within KVM_RUN, interrupts on; they
// may sleep. Result: 1 go on with the guest, 0 back to user space (kvm_run is filled in and v->complete
// set), or a negative errno.
#pragma once
#include "vmm/vcpu.h"

// EXIT_MEMORY where no memory is, or a write to read-only memory: decodes the instruction and hands its
// access to user space as KVM_EXIT_MMIO; counts and skips it when it is complete.
int emulate_mmio(struct vcpu *v, const struct vm_exit *e);
// EXIT_IO with e->io.string: INS and OUTS, alone or repeated, as KVM_EXIT_IO with a count.
int emulate_string_io(struct vcpu *v, const struct vm_exit *e);
// EXIT_TASK_SWITCH.
int emulate_task_switch(struct vcpu *v, const struct vm_exit *e);
// CHRONO_CLONE: what is half done on another vCPU, which waits for user space, is so on this one. 0 or -ENOMEM.
int emulation_clone(struct vcpu *to, const struct vcpu *from);
// Frees v->emulation, when the vCPU ends.
void emulation_free(struct vcpu *v);
