// The guest's time-stamp counter: the host's plus an offset, or, under CHRONO_VTIME, virtual time.
#include "cpu/x86.h"
#include "vmm/msr.h"

uint64_t vcpu_tsc(struct vcpu *v) {
    if (v->control & CHRONO_VTIME)
        return v->chrono->vtime_base + v->count;
    return rdtsc() + v->tsc_offset;
}

void vcpu_shift_tsc(struct vcpu *v, uint64_t ticks) {
    v->tsc_offset += ticks;
    v->attention = true; // the next entry uses it
}

void vcpu_set_tsc(struct vcpu *v, uint64_t tsc) {
    vcpu_shift_tsc(v, tsc - rdtsc() - v->tsc_offset);
}
