// Reverse mapping: from a frame to the page-table entries that point to it.
//
// A frame knows its entries (frame->rmap), whether they are in a last-level table or 2 MB entries. A
// last-level table is a frame too: its entries are the page-directory entries that hold it, one per
// address space that shares it. Upper tables belong to one space. So the way up from a frame is: its
// entries -> their tables -> the directories' entries -> the directories' spaces; and fork(), which
// shares last-level tables, does not touch the frames at all.
#pragma once
#include "mm/frame.h"
#include "sync/spinlock.h"

struct space;

// One lock for all that several spaces may share: entries and tables, rmaps, spaces' pages_mapped and
// notifiers. Held for short, bounded sections only. Taken after space->lock, before the locks of the
// allocators.
extern struct spinlock tables_lock;

// ---- for mm/ itself; tables_lock held ----------------------------------------------------------
// Makes sure that the next n rmap_add() find memory. False: there is none.
bool rmap_reserve(unsigned n) must_check;
void rmap_add(struct frame *f, uint64_t *entry);
void rmap_remove(struct frame *f, uint64_t *entry);
// True when exactly one entry points to f.
static inline bool rmap_single(const struct frame *f) {
    return f->rmap & 1;
}
// Any one of the entries; NULL: none.
uint64_t *rmap_first(const struct frame *f);
unsigned rmap_count(const struct frame *f);
// List cells in use, for tests.
uint64_t rmap_cells(void);

// ---- for everybody -----------------------------------------------------------------------------
struct mapping {
    struct space *space;
    uint64_t addr;   // first address that shows the frame (or the 2 MB block that contains it)
    uint64_t size;   // PAGE_SIZE or LARGE_PAGE_SIZE
    uint64_t *entry; // may be shared by several mappings
};
// Calls fn for each mapping of the frame until it returns true; returns whether it did. tables_lock
// held; fn must not change mappings.
bool rmap_for_each(struct frame *f, bool (*fn)(const struct mapping *m, void *arg), void *arg);
// True when a space maps the frame as a 4 KB page. A hint unless tables_lock is held.
bool rmap_mapped(const struct frame *f);
// Removes all mappings (and their references; the caller has its own). For truncation, reclaim,
// compression, swapping. Spin locks may not be held. False: a 2 MB mapping could not be split for
// lack of memory.
bool rmap_unmap_all(struct frame *f);
// Makes all mappings read-only, so that the next write faults: for writing back dirty pages of
// shared mappings and for sharing by content. As above.
bool rmap_write_protect(struct frame *f);
