// Kernel stacks with a guard page below, so that an overflow is a double fault and not a mystery.
#pragma once
#include "mm/layout.h"

#define KSTACK_SIZE (16 * KIB)

// Returns the lowest address, or NULL. May sleep.
void *kstack_alloc(void);
// Any context: the scheduler frees the stack of a dead world with interrupts off.
void kstack_free(void *stack);
// Maps device memory uncached (or write-combining), never unmapped. Boot and drivers. NULL: no space.
void *map_device(paddr_t base, size_t size, bool write_combining);
