// Which pages of a slot were written.
//
// With D bits: a page is dirty when its entry's D bit is set; collecting clears it, and a flush makes the
// processors set it again. Without: entries of a logged slot are read-only until a write faults, which
// marks the page; collecting takes write permission away again. In both cases a logged slot is mapped by
// 4 KB entries only: all of it is unmapped when logging starts.
//
// After a fork the processors cannot write to any page before a fault has opened the way to its last-level table
// (push_protection()). A table that is collected while it is closed needs no look until then: STAGE2_COLLECTED. So
// one checkpoint after another looks only at the tables that were written to in between.
#include "vmm/vendor.h"
#include "vmm/slots.h"
#include "vmm/stage2_table.h"

// Most pages have not been written: so many entries are looked at together.
#define GROUP 8

static bool none_marked(const uint64_t *e, uint64_t mark) {
    return !((e[0] | e[1] | e[2] | e[3] | e[4] | e[5] | e[6] | e[7]) & mark);
}

// What one last-level table holds of [start, end). s->lock held. True: some entry was changed.
static bool collect_table(struct stage2 *s, struct memory_slot *slot, uint64_t *bitmap,
                          uint64_t start, uint64_t end) {
    uint64_t mark = s->dirty ? s->dirty : s->format->write;
    uint64_t page = (start - slot->gpa) >> PAGE_SHIFT, *e = stage2_uncollected(s, start, end);
    uint64_t left = e ? (end - start) >> PAGE_SHIFT : 0, n;
    bool changed = false;
    for (; left > 0; left -= n, page += n, e += n) {
        n = MIN(left, GROUP);
        if (n == GROUP && none_marked(e, mark))
            continue;
        for (uint64_t i = 0; i < n; i++) {
            if (!(e[i] & mark))
                continue;
            __atomic_fetch_and(&e[i], ~mark, __ATOMIC_RELAXED);
            __atomic_fetch_or(&bitmap[(page + i) / 64], BIT((page + i) % 64), __ATOMIC_RELAXED);
            changed = true;
        }
    }
    return changed;
}

void stage2_collect_dirty(struct stage2 *s, struct memory_slot *slot, uint64_t *bitmap) {
    uint64_t end = slot->gpa + slot->size;
    bool changed = false;
    mutex_lock(
        &s->flush_lock); // what is closed and not to be flushed any more is closed for the processors, too
    for (uint64_t at = slot->gpa, next; at < end; at = next) {
        next = MIN(ROUND_DOWN(at, LARGE_PAGE_SIZE) + LARGE_PAGE_SIZE, end);
        spin_lock(&s->lock);
        changed |= collect_table(s, slot, bitmap, at, next);
        spin_unlock(&s->lock);
    }
    if (changed) {
        spin_lock(&s->lock);
        s->flush_due = true;
        spin_unlock(&s->lock);
    }
    mutex_unlock(&s->flush_lock);
    stage2_flush(s);
}

void stage2_zap_pages(struct stage2 *s, uint64_t gpa, uint64_t size) {
    for (unsigned i = 0; i < s->vm->slot_count; i++) {
        struct memory_slot *slot = s->vm->slots[i];
        uint64_t start = MAX(gpa, slot->gpa), end = MIN(gpa + size, slot->gpa + slot->size);
        if (slot->dirty && start < end)
            stage2_zap(s, start, end, slot);
    }
    stage2_zap(s, gpa, gpa + size, NULL);
}

void stage2_mark_dirty(struct stage2 *s, uint64_t gpa, uint64_t n) {
    spin_lock(&s->lock);
    struct memory_slot *slot = slot_find(s->vm, gpa);
    if (slot && slot->dirty)
        for (uint64_t at = ROUND_DOWN(gpa, PAGE_SIZE); at < gpa + n && at - slot->gpa < slot->size;
             at += PAGE_SIZE)
            slot_set_dirty(slot, at);
    spin_unlock(&s->lock);
}
