// Between the files that do the memory system calls. space->lock held.
#pragma once
#include "mm/space.h"

// Removes all of [start, end): regions and pages. 0 or -ENOMEM.
int space_unmap_locked(struct space *s, uint64_t start, uint64_t end);
// Every page of [start, end) belongs to a region.
bool space_fully_mapped(struct space *s, uint64_t start, uint64_t end);
