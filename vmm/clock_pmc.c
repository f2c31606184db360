// Reaching an exact count with a counter whose interrupt comes late (vmm/clock_pmc.h).
#include "vmm/clock_pmc.h"

static uint64_t mask(const struct pmc_hardware *hw) {
    return BIT(hw->width) - 1;
}

// Runs with the counter set to overflow after `branches`; returns how many passed.
static uint64_t run(const struct pmc_hardware *hw, uint64_t branches, bool step, bool *overflowed) {
    uint64_t start = (0 - branches) & mask(hw);
    uint64_t end = hw->run(hw->arg, start, step, overflowed);
    return (end - start) & mask(hw);
}

enum pmc_result pmc_run_to(const struct pmc_hardware *hw, uint64_t *count, uint64_t target) {
    bool overflowed = true;
    // Half the counter's range at most: what passed must be distinguishable from what did not.
    while (target - *count > PMC_SKID) {
        uint64_t ahead = target - *count - PMC_SKID;
        ahead = ahead < mask(hw) / 2 ? ahead : mask(hw) / 2;
        *count += run(hw, ahead, false, &overflowed);
        if (!overflowed)
            return PMC_EXIT;
        if (*count > target) // more skid than any processor known: the landmark is lost
            return PMC_EXIT;
    }
    while (*count < target) {
        bool stepped;
        *count += run(hw, mask(hw) / 2, true, &stepped);
        if (!stepped)
            return PMC_EXIT;
    }
    return PMC_REACHED;
}
