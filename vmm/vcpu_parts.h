// Reading parts of a vCPU's registers that the hardware may still have (PART_*, vcpu.h). Lock held, on the
// processor that has it loaded.
#pragma once
#include "vmm/vendor.h"

// Makes the parts current: reads those that are stale. Within KVM_RUN: what is stale is on this processor,
// since everything is read when the world leaves it.
static inline void vcpu_sync(struct vcpu *v, uint32_t parts) {
    if (v->stale & parts)
        vmm_vendor->sync(v, parts);
}
// The privilege level the guest runs at (VMX: the DPL of SS).
static inline unsigned vcpu_cpl(struct vcpu *v) {
    if (!(v->stale & PART_SEGMENTS))
        return v->seg[SEG_SS].dpl;
    vcpu_sync(v, PART_MODE);
    return v->mode.cpl;
}
// Default address size of its code in bytes: 2, 4, or 8 in 64-bit mode.
static inline unsigned vcpu_code_size(struct vcpu *v) {
    if (v->stale & (PART_SEGMENTS | PART_CR))
        vcpu_sync(v, PART_MODE);
    bool lma = v->stale & PART_CR ? v->mode.lma : v->efer >> 10 & 1; // EFER.LMA
    const struct kvm_segment *cs = &v->seg[SEG_CS];
    if (v->stale & PART_SEGMENTS)
        return lma && v->mode.cs_l ? 8 : v->mode.cs_db ? 4 : 2;
    return lma && cs->l ? 8 : cs->db ? 4 : 2;
}
// CR3, without PART_CR.
static inline uint64_t vcpu_cr3(struct vcpu *v) {
    if (!(v->stale & PART_CR))
        return v->cr3;
    vcpu_sync(v, PART_MODE);
    return v->mode.cr3;
}
