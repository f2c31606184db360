// vCPUs: creation, registers, reset, and what the run loop needs of them.
#pragma once
#include <linux/kvm.h>
#include "vmm/machine/machine.h"

// Opens vCPU `index` of the machine. 0, or -errno after a message.
int cpu_create(struct machine *m, unsigned index);
// State after power-on; application processors wait for a start-up IPI.
void cpu_reset(struct cpu *c);

// Registers. The machine must not be inside KVM_RUN; a pending access must be completed. Failures are
// errors of ours or of the VMM and stop the machine.
void cpu_get_regs(struct cpu *c, struct kvm_regs *regs);
void cpu_set_regs(struct cpu *c, const struct kvm_regs *regs);
void cpu_get_sregs(struct cpu *c, struct kvm_sregs *sregs);
void cpu_set_sregs(struct cpu *c, const struct kvm_sregs *sregs);
uint64_t cpu_get_msr(struct cpu *c, uint32_t index);
void cpu_set_msr(struct cpu *c, uint32_t index, uint64_t value);

// KVM_RUN until `stop_count` at the latest; updates the machine's count. 0: run->exit_reason is valid;
// -EINTR: interrupted; other -errno: the machine was stopped.
int cpu_enter(struct cpu *c, uint64_t stop_count);
// Requests with KVM_INTERRUPT and KVM_NMI.
void cpu_inject(struct cpu *c, uint8_t vector);
void cpu_inject_nmi(struct cpu *c);
// Carries out what other processors sent: INIT, start-up IPI.
void cpu_take_signals(struct cpu *c);
// Whether it could execute an instruction now.
bool cpu_runnable(struct cpu *c);

// cpuid.c: the processor that the guest sees: KVM's supported table with topology, APIC timer and
// frequency filled in. 0, or -errno after a message.
int cpuid_setup(struct cpu *c);
// msr.c: which MSRs reach us, and the exits for them.
int msr_setup(struct machine *m);
void msr_exit_read(struct cpu *c);
void msr_exit_write(struct cpu *c);

// plain.c: time is the host's, and so is the count: its TSC.
void plain_start(struct machine *m);
uint64_t plain_count(void);
// KVM_RUN is to be left when the count reaches `stop_count`; where that takes a signal, it also sets immediate_exit.
void plain_arm(struct cpu *c, uint64_t stop_count);
