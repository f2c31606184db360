// The tables of a stage2 themselves: walking, splitting, removing. For vmm/stage2*.c and the unit tests.
// All with s->lock held, if nothing else is said.
#pragma once
#include "mm/frame.h"
#include "mm/pte.h"
#include "vmm/stage2.h"

#define STAGE2_TOP 4 // level of the root

// In an entry that points to a last-level table, where processors ignore it: no page below is dirty that was not
// collected, nor can be before a walk for a write.
#define STAGE2_COLLECTED BIT(11)

struct stage2 {
    struct vm *vm;
    const struct stage2_format *format;
    paddr_t root;
    uint64_t small[8], large[8]; // leaf entries by rights, without address
    uint64_t *top;               // the root table
    uint64_t dirty;              // the D bit, or 0 where the processor has none
    struct spinlock lock;
    struct mutex flush_lock; // held during a flush; taken without the other
    bool flush_due;          // something that processors may have cached was taken away
    struct list_node doomed; // tables to be freed after that flush
    // The last-level table that the last walk for a write ended in, whose path allows writing: covers
    // gpa >> 21 == near_index. Forgotten when a table goes or protection comes.
    uint64_t near_index, *near;
    unsigned top_end; // entries of the root from here on were never used
    struct memory_slot *recent;
};

// Makes the walk reach the entry of `level` that translates gpa: makes missing tables, splits a larger
// page. write: all levels above will allow writing (pushes write protection one level down). NULL: no
// memory now.
uint64_t *stage2_descend(struct stage2 *s, uint64_t gpa, unsigned level, bool write);
// The entry that translates gpa (and its level), or NULL.
uint64_t *stage2_lookup(const struct stage2 *s, uint64_t gpa, unsigned *level);
// The last level's entry for `start`, whatever it holds; NULL: there is no last-level table, or no page of it has
// become dirty since it was collected. The caller collects [start, end), which lies in it. Also s->flush_lock held.
uint64_t *stage2_uncollected(struct stage2 *s, uint64_t start, uint64_t end);
// Removes all translations of [start, end), page aligned. logged: the slot that contains the range when
// it is logged, which gets the dirty pages; else NULL.
void stage2_zap(struct stage2 *s, uint64_t start, uint64_t end, struct memory_slot *logged);
// The same for any range: finds the slots that are logged.
void stage2_zap_pages(struct stage2 *s, uint64_t gpa, uint64_t size);
// Clears write permission in the root's entries.
void stage2_clear_write(struct stage2 *s);
// Takes a table out of service, with all below it; it is freed after the next flush.
void stage2_drop_table(struct stage2 *s, uint64_t entry, unsigned level);
// Without the lock: has processors forget what was taken away and frees tables; when it returns, what
// was taken away before the call is out of use, even if another flush took care of it. Sleeps.
void stage2_flush(struct stage2 *s);

static inline void slot_set_dirty(struct memory_slot *slot, uint64_t gpa) {
    uint64_t page = (gpa - slot->gpa) >> PAGE_SHIFT;
    __atomic_fetch_or(&slot->dirty[page / 64], BIT(page % 64), __ATOMIC_RELAXED);
}
