// The kernel's own translations: made at boot, and later only for stacks and device memory. They
// are below PML4 entries that every address space shares, so a change is seen by all.
#pragma once
#include "mm/layout.h"

#define KMAP_WRITE    (1ull << 1)
#define KMAP_EXEC     (1ull << 62)                // ours: leaves NX clear
#define KMAP_UNCACHED ((1ull << 3) | (1ull << 4)) // PWT | PCD: PAT entry 3, UC
#define KMAP_COMBINE  (1ull << 3) // PWT: PAT entry 1, which cpu/features.c makes write-combining

extern paddr_t kernel_root; // PML4 with the kernel's half only; what processors load at their start

// Maps [va, va + size) to pa with the largest pages that alignment allows. All page aligned. false:
// no memory for a table (never at boot, where it panics). May be called with locks held.
bool kernel_map_range(uint64_t va, paddr_t pa, uint64_t size, uint64_t rights);
// Removes 4 KB mappings made before. The caller takes care of the TLBs.
void kernel_unmap_range(uint64_t va, uint64_t size);
// Physical address behind a 4 KB mapping made before.
paddr_t kernel_lookup(uint64_t va);
// The kernel's entries of a new space's PML4.
void kernel_map_copy_root(uint64_t *pml4);

// Boot (mm/init.c): until frames are there, tables come from `alloc`, which panics when out of memory.
void kernel_map_init(void *(*alloc)(void));
// Boot: everything is mapped: loads kernel_root, tables come from the page allocator from now on.
void kernel_map_activate(void);
