// The instruction clock by a performance counter that counts retired conditional branches in the guest
// alone (docs/clock.md). Written after the manuals, and tested against a mocked counter with skid;
// never seen on hardware.
//
// A passage of at most n branches: the counter is set to overflow PMC_SKID branches before, since the
// overflow's interrupt comes late; what then remains is done in single steps.
#pragma once
#include "lib/compiler.h"

#define PMC_SKID 256u // branches; Intel's processors stay below 130

struct pmc_plan {
    uint64_t start; // what to write into the counter
    bool step;      // one instruction only: the target is near
};

// For the next passage, which may execute at most `branches` (not 0). width: of the counter, in bits.
struct pmc_plan pmc_plan(uint64_t branches, unsigned width);
// Branches that passed when the counter is `now` after a passage that began with the plan.
uint64_t pmc_passed(const struct pmc_plan *plan, uint64_t now, unsigned width);

// Looks whether a counter exists, counts only in the guest, and agrees with a known program. NULL: usable,
// and vmx_pmc is set up; else the reason why not (vmm/intel/pmc.c).
const char *clock_pmc_prove(void);
