// Registers of a vCPU in the structures of the KVM API.
#pragma once
#include "vmm/vcpu.h"

// Everything is current (vcpu_fetch(PART_ALL) before).
void registers_get(const struct vcpu *v, struct kvm_regs *r);
void registers_set(struct vcpu *v, const struct kvm_regs *r);
void sregs_get(const struct vcpu *v, struct kvm_sregs *s);
// 0, or -EINVAL for values that no processor can have.
int sregs_set(struct vcpu *v, const struct kvm_sregs *s);
void events_get(const struct vcpu *v, struct kvm_vcpu_events *e);
int events_set(struct vcpu *v, const struct kvm_vcpu_events *e);

// ioctls
long sregs2_ioctl_get(struct vcpu *v, unsigned long arg);
long sregs2_ioctl_set(struct vcpu *v, unsigned long arg);
long fpu_ioctl_get(struct vcpu *v, unsigned long arg);
long fpu_ioctl_set(struct vcpu *v, unsigned long arg);
long xsave_ioctl_get(struct vcpu *v, unsigned long arg,
                     size_t size); // KVM_GET_XSAVE, KVM_GET_XSAVE2
long xsave_ioctl_set(struct vcpu *v, unsigned long arg);
long xcrs_ioctl_get(struct vcpu *v, unsigned long arg);
long xcrs_ioctl_set(struct vcpu *v, unsigned long arg);
