// The guest's XMM registers, for moves to and from device memory.
#pragma once
#include "vmm/vcpu.h"

#define XMM_SIZE 16

void guest_xmm_read(struct vcpu *v, unsigned reg, void *buf);
void guest_xmm_write(struct vcpu *v, unsigned reg, const void *buf);
