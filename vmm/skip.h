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
    uint64_t before = v->rip;
    v->rip = before + length;
    v->dirty |= PART_RIP;
    v->skipped = true;
    clock_add_skipped(v);
    uint64_t ends = (v->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) |
                    (v->rflags & (RFLAGS_TF | RFLAGS_RF));
    if (unlikely(ends || (uint32_t)v->rip < length)) // (or 32 bits of RIP wrapped)
        vcpu_skip_slow(v, before);
}
