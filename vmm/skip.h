// The end of an instruction that exited and was carried out here.
#pragma once
#include "vmm/clock.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

// The rarer part of it; before: where RIP was.
void vcpu_skip_slow(struct vcpu *v, uint64_t before);

// Advances RIP by `length`, ends STI and MOV SS blocking, counts one tick, and pends the trap of a guest
// that single-steps itself. v->lock held, within KVM_RUN.
static inline void vcpu_skip(struct vcpu *v, uint32_t length) {
    vcpu_sync(v, PART_EAGER);
    uint64_t before = v->rip;
    v->rip = before + length;
    v->dirty |= PART_RIP;
    v->skipped = true;
    clock_add_skipped(v);
    uint64_t ends = (v->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) |
                    (v->rflags & (RFLAGS_TF | RFLAGS_RF)) | ((before ^ v->rip) & BIT(32));
    if (unlikely(ends))
        vcpu_skip_slow(v, before);
}
