// The instruction clock by a performance counter that counts retired conditional branches in the guest
// alone (docs/clock.md). Written after the manuals and tested against a mocked counter with skid;
// never seen on hardware.
#pragma once
#include "lib/compiler.h"

// Counter values are of this width in bits; a counter overflows into an interrupt.
struct pmc_hardware {
    unsigned width;
    // Runs the guest with the counter at `start` (width bits) until it overflows, something else ends
    // the run, or, with `step`, one instruction is done. Returns the counter afterwards; *overflowed.
    uint64_t (*run)(void *arg, uint64_t start, bool step, bool *overflowed);
    void *arg;
};

enum pmc_result { PMC_REACHED, PMC_EXIT };

// An overflow interrupt comes late by up to this many branches ("skid"): armed that early, the rest is
// done in single steps.
#define PMC_SKID 256u

// Runs until `*count` is `target` branches: as far as the counter can be trusted, then by single steps.
// Adds what was executed to *count. PMC_REACHED, or PMC_EXIT: the guest exited for another reason first.
enum pmc_result pmc_run_to(const struct pmc_hardware *hw, uint64_t *count, uint64_t target);

// Looks whether a counter exists and advances by what a known program does. NULL: usable; else why not.
const char *clock_pmc_prove(void);
