// The regions of an address space: a tree ordered by address, no two overlap. space->lock held (or
// the space is not in use) for all of these.
#pragma once
#include <linux/mman.h>
#include "mm/space.h"

// As region_insert without merging.
struct region *region_add(struct space *s, const struct region *what);
// Adds a copy of *what (start, end, prot, flags, pgoff, file, ops, data, ...); the copy takes over the
// caller's reference of the file. It may be merged with its neighbours: returns the region that now
// contains the range, or NULL: no memory.
struct region *region_insert(struct space *s, const struct region *what);
// Joins r with equal neighbours; returns the region that contains r's range.
struct region *region_merge(struct region *r);
// Cuts the region that spans `at`, if any, in two. 0 or -ENOMEM.
int region_split(struct space *s, uint64_t at);
// Takes it out, tells the source and frees it.
void region_remove(struct region *r);
// The first region that ends above addr; NULL: none.
struct region *region_from(struct space *s, uint64_t addr);
struct region *region_next(const struct region *r);
struct region *region_prev(const struct region *r);
// Address of a hole of len bytes for a new mapping, aligned to align; the highest below
// s->mmap_base, or else any. 0: none.
uint64_t region_find_hole(struct space *s, uint64_t len, uint64_t align);
// Moves the borders of a region; keeps the space's page counts. The caller knows that there is room.
void region_resize(struct region *r, uint64_t start, uint64_t end);
// Changes rights or flags, keeping the counts.
void region_set_prot(struct region *r, int prot);

static inline uint64_t region_pages(const struct region *r) {
    return (r->end - r->start) >> PAGE_SHIFT;
}
static inline bool region_is_shared(const struct region *r) {
    return r->flags & MAP_SHARED;
}
