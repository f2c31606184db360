// Representation of frame->rmap: 0: none. Bit 0 set: physical address of the only entry, plus 1.
// Else: a chain of cells with up to three entries each, newest first.
#include "mm/rmap.h"
#include "lib/assert.h"
#include "mm/heap.h"
#include "mm/notify.h"
#include "mm/pagetable.h"
#include "mm/tlb.h"

#define CELL_ENTRIES 3
// Enough for copying 16 tables: copies of a process that come and go, as a debugger's checkpoints, use the same
// cells again. (256 KB)
#define SPARE_MAX 8192

struct rmap_cell {
    uint64_t entries[CELL_ENTRIES]; // physical addresses; used ones first
    struct rmap_cell *next;
};

struct spinlock tables_lock = SPINLOCK_INIT;
static struct rmap_cell *spare; // covered by tables_lock
static unsigned spare_count;
static uint64_t cells_used;

static inline struct rmap_cell *cells_of(const struct frame *f) {
    return f->rmap & 1 ? NULL : (struct rmap_cell *)f->rmap;
}

static struct rmap_cell *cell_get(void) {
    struct rmap_cell *c = spare;
    ASSERT(c); // reserved before
    spare = c->next;
    spare_count--;
    cells_used++;
    return c;
}

static void cell_put(struct rmap_cell *c) {
    cells_used--;
    if (spare_count >= SPARE_MAX) {
        kfree(c);
        return;
    }
    c->next = spare;
    spare = c;
    spare_count++;
}

bool rmap_reserve(unsigned n) {
    while (spare_count < n) {
        struct rmap_cell *c = kmalloc(sizeof(*c));
        if (!c)
            return false;
        c->next = spare;
        spare = c;
        spare_count++;
    }
    return true;
}

void rmap_add(struct frame *f, uint64_t *entry) {
    uint64_t e = virt_to_phys(entry);
    if (likely(!f->rmap)) {
        f->rmap = e | 1;
        return;
    }
    struct rmap_cell *c = cells_of(f);
    if (c && !c->entries[CELL_ENTRIES - 1]) {
        c->entries[c->entries[1] ? 2 : 1] = e;
        return;
    }
    struct rmap_cell *head = cell_get();
    if (c)
        *head = (struct rmap_cell){{e}, c};
    else
        *head = (struct rmap_cell){{f->rmap & ~1ull, e}, NULL};
    f->rmap = (uint64_t)head;
}

// The entry is the one in slot i of c: fills the gap with the newest entry, which is in the first cell.
static void cell_remove(struct frame *f, struct rmap_cell *c, unsigned i) {
    struct rmap_cell *head = cells_of(f);
    unsigned last = head->entries[2] ? 2 : head->entries[1] ? 1 : 0;
    c->entries[i] = head->entries[last];
    head->entries[last] = 0;
    if (last == 0) {
        f->rmap = (uint64_t)head->next;
        cell_put(head);
        head = cells_of(f);
    }
    if (head && !head->next && !head->entries[1]) { // one is left: inline again
        f->rmap = head->entries[0] | 1;
        cell_put(head);
    }
}

void rmap_remove(struct frame *f, uint64_t *entry) {
    uint64_t e = virt_to_phys(entry);
    if (likely(f->rmap == (e | 1))) {
        f->rmap = 0;
        return;
    }
    for (struct rmap_cell *c = cells_of(f); c; c = c->next)
        for (unsigned i = 0; i < CELL_ENTRIES; i++)
            if (c->entries[i] == e) {
                cell_remove(f, c, i);
                return;
            }
    panic("rmap: the entry at %#llx is not known to frame %#llx", (unsigned long long)e,
          (unsigned long long)frame_phys(f));
}

uint64_t *rmap_first(const struct frame *f) {
    if (!f->rmap)
        return NULL;
    return phys_to_virt(f->rmap & 1 ? f->rmap & ~1ull : cells_of(f)->entries[0]);
}

unsigned rmap_count(const struct frame *f) {
    unsigned n = f->rmap & 1;
    for (const struct rmap_cell *c = cells_of(f); c; c = c->next)
        for (unsigned i = 0; i < CELL_ENTRIES; i++)
            n += c->entries[i] != 0;
    return n;
}

uint64_t rmap_cells(void) {
    return cells_used;
}

// Calls fn with every entry that points to f.
static bool each_entry(const struct frame *f, bool (*fn)(uint64_t *entry, void *arg), void *arg) {
    if (f->rmap & 1)
        return fn(phys_to_virt(f->rmap & ~1ull), arg);
    for (const struct rmap_cell *c = cells_of(f); c; c = c->next)
        for (unsigned i = 0; i < CELL_ENTRIES && c->entries[i]; i++)
            if (fn(phys_to_virt(c->entries[i]), arg))
                return true;
    return false;
}

struct walk {
    bool (*fn)(const struct mapping *m, void *arg);
    void *arg;
    struct mapping m;
};

static inline unsigned slot_of(const uint64_t *entry) {
    return (uint64_t)entry % PAGE_SIZE / sizeof(*entry);
}

static bool visit_directory_entry(uint64_t *pde, void *arg) {
    struct walk *w = arg;
    w->m.space = table_of(pde)->owner;
    return w->fn(&w->m, w->arg);
}

static bool visit_entry(uint64_t *entry, void *arg) {
    struct walk *w = arg;
    struct frame *table = table_of(entry);
    w->m.entry = entry;
    if (table->owner) { // an upper table: a 2 MB page
        w->m.size = LARGE_PAGE_SIZE;
        w->m.addr = table->index + slot_of(entry) * LARGE_PAGE_SIZE;
        return visit_directory_entry(entry, w);
    }
    w->m.size = PAGE_SIZE;
    w->m.addr = table->index + slot_of(entry) * PAGE_SIZE;
    return each_entry(table, visit_directory_entry, w);
}

bool rmap_for_each(struct frame *f, bool (*fn)(const struct mapping *m, void *arg), void *arg) {
    ASSERT(spin_held(&tables_lock));
    struct walk w = {.fn = fn, .arg = arg};
    struct frame *head = pt_large_head(f);
    return each_entry(head ? head : f, visit_entry, &w);
}

bool rmap_mapped(const struct frame *f) {
    return READ_ONCE(f->rmap);
}

static bool notify_space(const struct mapping *m, void *arg) {
    (void)arg;
    pt_notify(m->space, m->addr, m->addr + m->size);
    return false;
}

static bool note_cpus(const struct mapping *m, void *mask) {
    *(uint64_t *)mask |= READ_ONCE(m->space->cpus_active);
    return false;
}

static bool count_off(const struct mapping *m, void *arg) {
    (void)arg;
    m->space->pages_mapped--;
    return false;
}

static bool clear_entry(uint64_t *entry, void *arg) {
    (void)arg;
    *entry = 0;
    table_of(entry)->flags--;
    return false;
}

static bool clear_write(uint64_t *entry, void *arg) {
    (void)arg;
    *entry &= ~PTE_WRITE;
    return false;
}

// Changes all entries of f; returns the processors that may have the old ones in their TLBs: those
// that use one of the spaces after the change.
static uint64_t change_entries(struct frame *f, bool (*change)(uint64_t *entry, void *arg)) {
    uint64_t mask = 0;
    rmap_for_each(f, notify_space, NULL);
    each_entry(f, change, NULL);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    rmap_for_each(f, note_cpus, &mask);
    return mask;
}

// Splits the 2 MB page around f, if any. tables_lock held.
static bool make_small(struct frame *f) {
    struct frame *head = pt_large_head(f);
    return !head || pt_split_large(head) == 0;
}

bool rmap_unmap_all(struct frame *f) {
    uint64_t mask = 0;
    unsigned dropped = 0;
    spin_lock(&tables_lock);
    bool ok = make_small(f);
    if (ok) {
        mask = change_entries(f, clear_entry);
        rmap_for_each(f, count_off, NULL);
        for (uint64_t *entry; (entry = rmap_first(f)); dropped++)
            rmap_remove(f, entry);
    }
    spin_unlock(&tables_lock);
    tlb_flush_cpus(mask);
    while (dropped--)
        frame_put(f);
    return ok;
}

bool rmap_write_protect(struct frame *f) {
    uint64_t mask = 0;
    spin_lock(&tables_lock);
    bool ok = make_small(f);
    if (ok)
        mask = change_entries(f, clear_write);
    spin_unlock(&tables_lock);
    tlb_flush_cpus(mask);
    return ok;
}
