// The guest's XMM and YMM registers, for moves to and from device memory.
#pragma once
#include "vmm/vcpu.h"

#define XMM_SIZE 16
#define YMM_SIZE 32

void guest_xmm_read(struct vcpu *v, unsigned reg, void *buf);
// The rest of the YMM register stays.
void guest_xmm_write(struct vcpu *v, unsigned reg, const void *buf);
// May the guest use AVX now? Only then are there YMM registers. Needs PART_CR and PART_RFLAGS.
bool guest_has_ymm(const struct vcpu *v);
void guest_ymm_read(struct vcpu *v, unsigned reg, void *buf);
void guest_ymm_write(struct vcpu *v, unsigned reg, const void *buf);
