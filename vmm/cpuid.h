// The virtual CPU's identity: which CPUID a guest may be given, and what CPUID does in it.
#pragma once
#include "vmm/vcpu.h"

// Family 6, model 8Fh, stepping 8: a processor that current kernels know nothing bad about.
#define CPUID_SIGNATURE 0x806f8u

// Boot: reads what the processor offers.
void cpuid_init(void);
// KVM_GET_SUPPORTED_CPUID: a struct kvm_cpuid2 at the user address. 0, -E2BIG, -EFAULT.
long cpuid_get_supported(unsigned long arg);
// KVM_SET_CPUID, KVM_SET_CPUID2, KVM_GET_CPUID2 on a vCPU.
long cpuid_set(struct vcpu *v, unsigned long arg);
long cpuid_set2(struct vcpu *v, unsigned long arg);
long cpuid_get2(struct vcpu *v, unsigned long arg);
// The instruction in the guest: RAX..RDX from the vCPU's table. A handler of exits.
int cpuid_exit(struct vcpu *v, const struct vm_exit *e);
// CR4, XCR0 or the table changed: bits of the table that follow them.
void cpuid_update(struct vcpu *v);
// CR4 bits that this vCPU's CPUID and the hardware allow.
uint64_t cpuid_cr4_allowed(const struct vcpu *v);
// XCR0 bits that this vCPU's CPUID and the host allow.
uint64_t cpuid_xcr0_allowed(const struct vcpu *v);
// The feature bits of the vCPU's table: a register of a leaf; 0 without it.
enum cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };
uint32_t cpuid_bits(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, enum cpuid_register r);
// Bits of physical addresses in this guest.
unsigned cpuid_physical_bits(const struct vcpu *v);
