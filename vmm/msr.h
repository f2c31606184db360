// Model-specific registers of guests.
#pragma once
#include "vmm/vcpu.h"

#define MSR_PAT_RESET            0x0007040600070406ull
#define MISC_ENABLE_FAST_STRINGS 1ull // MSR_MISC_ENABLE: as it is after power-on
#define APIC_BASE_RESET          0xfee00800ull
#define APIC_BASE_BSP            (1ull << 8)
#define APIC_BASE_X2APIC         (1ull << 10)
#define APIC_BASE_ENABLE         (1ull << 11)

// Boot.
void msr_init(void);
// RDMSR and WRMSR of the guest as KVM's handlers: 1 go on, 0 to user space.
int msr_exit_read(struct vcpu *v, const struct vm_exit *e);
int msr_exit_write(struct vcpu *v, const struct vm_exit *e);

// ioctls
long msr_get_index_list(unsigned long arg);
long msr_get_feature_list(unsigned long arg);
long msr_get_features(unsigned long arg); // KVM_GET_MSRS on /dev/kvm
long msr_ioctl_get(struct vcpu *v, unsigned long arg);
long msr_ioctl_set(struct vcpu *v, unsigned long arg);

// msr_filter.c: KVM_X86_SET_MSR_FILTER.
long msr_set_filter(struct vm *vm, unsigned long arg);
bool msr_filter_allows(const struct vm *vm, uint32_t index, bool write);
void msr_filter_free(struct vm *vm);
int msr_filter_clone(struct vm *to, const struct vm *from); // 0 or -ENOMEM
// vcpu.c: which MSRs the guest reaches without an exit, after a filter change.
void vcpu_pass_msrs(struct vcpu *v);
// tsc.c
uint64_t vcpu_tsc(struct vcpu *v); // what the guest's RDTSC gives now
void vcpu_set_tsc(struct vcpu *v, uint64_t tsc);
void vcpu_shift_tsc(struct vcpu *v, uint64_t ticks);
