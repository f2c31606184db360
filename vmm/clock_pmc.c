// Reaching an exact count with a counter whose interrupt comes late (vmm/clock_pmc.h).
#include "vmm/clock_pmc.h"

struct pmc_plan pmc_plan(uint64_t branches, unsigned width) {
    // Half the counter's range at most: an overflow is seen by its top bit having changed.
    uint64_t half = BIT(width - 1);
    if (branches <= PMC_SKID)
        return (struct pmc_plan){.start = 0, .step = true};
    return (struct pmc_plan){.start = (0 - MIN(branches - PMC_SKID, half)) & (BIT(width) - 1)};
}

uint64_t pmc_passed(const struct pmc_plan *plan, uint64_t now, unsigned width) {
    return (now - plan->start) & (BIT(width) - 1);
}
