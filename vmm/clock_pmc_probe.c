#include "vmm/clock_pmc.h"
const char *clock_pmc_prove(void) {
    return "no counter";
}
