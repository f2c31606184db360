// The kernel heap: size classes up to 2 KiB from slabs, whole pages above. Any context; never sleeps.
#pragma once
#include "lib/compiler.h"

// Uninitialised memory, 16-byte aligned (64 for sizes >= 64). NULL: out of memory.
void *kmalloc(size_t size) __attribute__((malloc, alloc_size(1)));
void *kzalloc(size_t size) __attribute__((malloc, alloc_size(1)));
// NULL is allowed. Freeing twice or a foreign pointer is our bug and is asserted.
void kfree(void *p);
char *kstrdup(const char *s);
// Boot only: before the first kmalloc(), after the page allocator is there.
void heap_init(void);
