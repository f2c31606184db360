// The instruction clock: how much a vCPU has executed (docs/clock.md, "The instruction clock").
//
// Kinds: TSC, in emulators whose TSC advances by one per instruction; PMC, a counter of retired
// conditional branches in the guest, on hardware; NONE. Calibration at boot proves one exact before
// anyone relies on it, and the banner says which is in use and why.
#pragma once
#include "vmm/extension.h"
#include "vmm/vcpu.h"

// What the clock itself does not see and software adds, in ticks. This table (clock.c) is the one place
// for it.
struct clock_rules {
    uint8_t skipped;   // an instruction that exited and that the VMM finished and skipped
    uint8_t iteration; // one iteration of a REP instruction that the VMM carried out
    uint8_t vectoring; // an exit interrupted the delivery of an event, which will be injected again
};

struct vmm_clock {
    struct chrono_clock info;
    struct clock_rules rules;
    // TSC kind: host ticks of a passage in which the guest executes nothing, and those of them that
    // pass before its first instruction.
    uint64_t passage_ticks, ticks_before_guest;
    bool
        step_works; // the monitor trap flag stops after one instruction (it does nothing in Bochs 2.7)
};
extern struct vmm_clock vmm_clock;

// The VMM has carried out one instruction of the guest / n iterations of a REP instruction of which the
// last also ends it (do not add clock_add_skipped() to it).
static inline void clock_add_skipped(struct vcpu *v) {
    v->count += vmm_clock.rules.skipped;
}
static inline void clock_add_iterations(struct vcpu *v, uint64_t n) {
    v->count += n * vmm_clock.rules.iteration;
}
static inline void clock_add_vectoring(struct vcpu *v) {
    v->count += vmm_clock.rules.vectoring;
}

// Boot, after the vendor is enabled on all processors: runs known guests, decides, and logs the line
// "clock: ...". May sleep.
void vmm_clock_calibrate(void);

// Inside the clock only: proves the TSC kind with the probe guest (clock_calibrate.c). NULL: exact;
// else the reason why not, for people. Sets passage_ticks, ticks_before_guest, step_works.
const char *clock_prove_tsc(void);
// Implementation-defined results of this processor (clock_fingerprint.c).
void clock_fingerprint(__u64 out[4]);
