// Page-table entries (Intel SDM vol. 3, 4.5) and what we keep in the bits that the processor ignores.
//
// An entry of a last-level table, or a 2 MB entry, is in use when it is not zero: memory that must
// not be touched (PROT_NONE) stays in its entry with PTE_PRESENT clear.
#pragma once
#include "mm/layout.h"

#define PTE_PRESENT  (1ull << 0)
#define PTE_WRITE    (1ull << 1)
#define PTE_USER     (1ull << 2)
#define PTE_ACCESSED (1ull << 5)
#define PTE_DIRTY    (1ull << 6)
#define PTE_LARGE    (1ull << 7) // in levels 2 and 3: a 2 MB or 1 GB page
#define PTE_GLOBAL   (1ull << 8)
#define PTE_SHARED   (1ull << 9) // ours: of a MAP_SHARED region, fork() keeps it writable
#define PTE_NX       (1ull << 63)
#define PTE_ADDR     0x000ffffffffff000ull

#define TABLE_ENTRIES 512u

// Index into the table of a level: 1 is the last level (4 KB pages), 4 the PML4.
static inline unsigned table_index(uint64_t va, unsigned level) {
    return va >> (PAGE_SHIFT + 9 * (level - 1)) & (TABLE_ENTRIES - 1);
}
// Bytes that one entry of a level covers.
static inline uint64_t level_size(unsigned level) {
    return PAGE_SIZE << 9 * (level - 1);
}
