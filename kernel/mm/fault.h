// Making pages present. space->lock held.
#pragma once
#include "mm/space.h"

// Results as space_fault().
int fault_handle(struct space *s, uint64_t addr, unsigned access);
// Faults in all of [start, end) as far as the regions' rights allow (MAP_POPULATE, mlock).
// 0 or the first error.
int fault_populate(struct space *s, uint64_t start, uint64_t end);
