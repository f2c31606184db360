#include "vmm/stage2_table.h"
#include "lib/assert.h"
#include "vmm/vendor.h"

#define ALL_RIGHTS (ACCESS_READ | ACCESS_WRITE | ACCESS_EXEC)

static inline bool is_leaf(const struct stage2 *s, uint64_t e, unsigned level) {
    return level == 1 || (level == 2 && e & s->format->large);
}

static inline uint64_t *table_at(const struct stage2 *s, uint64_t e) {
    return phys_to_virt(e & s->format->address);
}

static struct frame *table_alloc(void) {
    return frame_alloc(0, FRAME_ZERO | FRAME_ATOMIC, FRAME_TABLE_PAGE);
}

static inline void set_table(const struct stage2 *s, uint64_t *e, struct frame *table,
                             unsigned level) {
    WRITE_ONCE(*e, s->format->make(frame_phys(table), level, ALL_RIGHTS, false, false));
}

// The table's entries for the 2 MB page of `e`. Nothing that is cached becomes wrong by it.
static bool split(struct stage2 *s, uint64_t *e) {
    const struct stage2_format *f = s->format;
    struct frame *table = table_alloc();
    if (!table)
        return false;
    uint64_t old = *e, *entries = frame_virt(table);
    uint64_t small = f->make(old & f->address, 1, f->rights(old), true, false);
    small |= old & (f->accessed | s->dirty);
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
        entries[i] = small + i * PAGE_SIZE;
    set_table(s, e, table, 2);
    return true;
}

// The entries below *e lose write permission, and *e gets it.
static void push_protection(struct stage2 *s, uint64_t *e) {
    uint64_t *table = table_at(s, *e), write = s->format->write;
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
        if (table[i] & write)
            __atomic_fetch_and(&table[i], ~write, __ATOMIC_RELAXED); // the processor may set D now
    WRITE_ONCE(*e, (*e | write) & ~STAGE2_COLLECTED);
}

uint64_t *stage2_descend(struct stage2 *s, uint64_t gpa, unsigned level, bool write) {
    if (likely(s->near && gpa >> 21 == s->near_index && level == 1))
        return &s->near[table_index(gpa, 1)];
    const struct stage2_format *f = s->format;
    uint64_t *table = s->top;
    for (unsigned l = STAGE2_TOP;; l--) {
        uint64_t *e = &table[table_index(gpa, l)];
        if (l == level) {
            if (write && level == 1) {
                s->near_index = gpa >> 21;
                s->near = table;
            }
            return e;
        }
        if (unlikely(!(*e & f->present))) {
            struct frame *child = table_alloc();
            if (!child)
                return NULL;
            set_table(s, e, child, l);
            if (l == STAGE2_TOP)
                s->top_end = MAX(s->top_end, table_index(gpa, l) + 1);
        } else if (unlikely(is_leaf(s, *e, l)) && !split(s, e)) {
            return NULL;
        }
        if (unlikely(write && !(*e & f->write)))
            push_protection(s, e);
        table = table_at(s, *e);
    }
}

uint64_t *stage2_lookup(const struct stage2 *s, uint64_t gpa, unsigned *level) {
    uint64_t *table = s->top;
    for (*level = STAGE2_TOP;; (*level)--) {
        uint64_t *e = &table[table_index(gpa, *level)];
        if (!(*e & s->format->present))
            return NULL;
        if (is_leaf(s, *e, *level))
            return e;
        table = table_at(s, *e);
    }
}

uint64_t *stage2_uncollected(struct stage2 *s, uint64_t start, uint64_t end) {
    uint64_t *table = s->top, write = s->format->write;
    for (unsigned level = STAGE2_TOP; level > 1; level--) {
        uint64_t *e = &table[table_index(start, level)], old = *e;
        if (!(old & s->format->present) || is_leaf(s, old, level) || old & STAGE2_COLLECTED)
            return NULL;
        write &= old;
        if (level == 2 && !write && !s->flush_due && end - start == LARGE_PAGE_SIZE)
            *e |= STAGE2_COLLECTED;
        table = table_at(s, old);
    }
    return &table[table_index(start, 1)];
}

static inline void doom(struct stage2 *s, struct frame *table) {
    s->near = NULL;
    list_add_tail(&s->doomed, &table->node);
    s->flush_due = true;
}

// What is below a table entry that was taken out. gpa: first address that it covered; only for `logged`.
static void drop_below(struct stage2 *s, uint64_t entry, unsigned level, uint64_t gpa,
                       struct memory_slot *logged) {
    uint64_t *table = table_at(s, entry);
    unsigned below = level - 1;
    for (unsigned i = 0; i < TABLE_ENTRIES && (below > 1 || logged); i++) {
        uint64_t e = table[i], at = gpa + i * level_size(below);
        if (!(e & s->format->present))
            continue;
        if (!is_leaf(s, e, below))
            drop_below(s, e, below, at, logged);
        else if (logged && __atomic_exchange_n(&table[i], 0, __ATOMIC_RELAXED) & s->dirty)
            slot_set_dirty(logged, at);
    }
    doom(s, phys_frame(entry & s->format->address));
}

void stage2_drop_table(struct stage2 *s, uint64_t entry, unsigned level) {
    drop_below(s, entry, level, 0, NULL);
}

static void zap_leaf(struct stage2 *s, uint64_t *e, uint64_t gpa, struct memory_slot *logged) {
    uint64_t old = __atomic_exchange_n(e, 0, __ATOMIC_RELAXED);
    if (logged && old & s->dirty)
        slot_set_dirty(logged, gpa);
    s->flush_due = true;
}

static void zap_table(struct stage2 *s, uint64_t *table, unsigned level, uint64_t start,
                      uint64_t end, struct memory_slot *logged) {
    uint64_t size = level_size(level);
    for (uint64_t at = start, next; at < end; at = next) {
        next = MIN(ROUND_DOWN(at, size) + size, end);
        uint64_t *e = &table[table_index(at, level)], old = *e;
        bool whole = next - at == size;
        if (!(old & s->format->present))
            continue;
        if (is_leaf(s, old, level)) {
            // Without memory for a table the whole 2 MB go; faults bring the rest back.
            if (whole || !split(s, e))
                zap_leaf(s, e, at, logged);
            else
                zap_table(s, table_at(s, *e), level - 1, at, next, logged);
        } else if (whole) {
            WRITE_ONCE(*e, 0);
            drop_below(s, old, level, at, logged);
        } else {
            zap_table(s, table_at(s, old), level - 1, at, next, logged);
        }
    }
}

void stage2_zap(struct stage2 *s, uint64_t start, uint64_t end, struct memory_slot *logged) {
    ASSERT(spin_held(&s->lock));
    end = MIN(end, (uint64_t)s->top_end * level_size(STAGE2_TOP));
    zap_table(s, s->top, STAGE2_TOP, start, end, logged);
}

void stage2_clear_write(struct stage2 *s) {
    ASSERT(spin_held(&s->lock));
    s->near = NULL;
    for (unsigned i = 0; i < s->top_end; i++) {
        if (!(s->top[i] & s->format->write))
            continue;
        s->top[i] &= ~s->format->write;
        s->flush_due = true;
    }
}

void stage2_flush(struct stage2 *s) {
    mutex_lock(&s->flush_lock);
    struct list_node doomed = LIST_INIT(doomed);
    spin_lock(&s->lock);
    bool due = s->flush_due;
    s->flush_due = false;
    while (!list_empty(&s->doomed)) {
        struct list_node *n = s->doomed.next;
        list_remove(n);
        list_add_tail(&doomed, n);
    }
    spin_unlock(&s->lock);
    if (due)
        vmm_vendor->flush_stage2(s->vm, s->root);
    while (!list_empty(&doomed)) {
        struct frame *table = list_entry(doomed.next, struct frame, node);
        list_remove(&table->node);
        frame_put(table);
    }
    mutex_unlock(&s->flush_lock);
}
