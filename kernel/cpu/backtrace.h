// Names of kernel functions, and who called whom.
#pragma once
#include "lib/compiler.h"

// The function that contains addr and how far into it; NULL when it is not kernel code.
const char *ksym_find(uint64_t addr, uint64_t *offset);
// Return addresses along the frame pointers, starting with the frame at `rbp`: at most `max`.
// Stops at anything that is not a kernel stack.
unsigned backtrace(uint64_t rbp, uint64_t *addresses, unsigned max);
