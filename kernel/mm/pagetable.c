#include "mm/pagetable.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "mm/kernel_map.h"
#include "mm/tlb.h"

#define LINK (PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED) // of an entry that holds a table

// Drops a reference to a table that was shared. When all others have made copies meanwhile, what is in
// it goes too.
static void release_shared(struct frame *table) {
    spin_lock(&tables_lock);
    if (table->refs == 1) {
        uint64_t *entry = frame_virt(table);
        for (; table->flags; entry++) {
            if (!*entry)
                continue;
            struct frame *f = entry_frame(*entry);
            *entry = 0;
            rmap_remove(f, entry);
            frame_put(f);
            table->flags--;
        }
    }
    frame_put(table);
    spin_unlock(&tables_lock);
}

void pt_flush(struct space *s, uint64_t start, uint64_t end) {
    tlb_flush(s, start, end);
    while (s->left_count)
        release_shared(s->left_tables[--s->left_count]);
}

void gather_finish(struct gather *g) {
    if (g->start < g->end)
        pt_flush(g->space, g->start, g->end);
    else
        notify_flush(g->space); // told of a range in which nothing was mapped
    for (unsigned i = 0; i < g->count; i++) {
        struct frame *f = g->items[i].frame;
        switch (g->items[i].what) {
        case GATHER_FRAME: frame_put(f); break;
        case GATHER_TABLE: frame_put_zeroed(f); break;
        case GATHER_LARGE: frame_put_large(f); break;
        case GATHER_SHARED: release_shared(f); break;
        }
    }
    gather_init(g, g->space);
}

static void gather(struct gather *g, struct frame *f, int what) {
    ASSERT(g->count < GATHER_MAX);
    g->items[g->count++] = (struct gathered){f, what};
}

// A PDE can take a table and two upper tables with it.
static inline bool gather_full(const struct gather *g) {
    return g->count + 4 > GATHER_MAX;
}

// ---- upper levels ------------------------------------------------------------------------------

static struct frame *table_alloc(struct space *owner, uint64_t first) {
    struct frame *f = frame_alloc(0, FRAME_ZERO | FRAME_ATOMIC, FRAME_TABLE_PAGE);
    if (f) {
        f->owner = owner;
        f->index = first;
    }
    return f;
}

int pt_create(struct space *s) {
    struct frame *f = table_alloc(s, 0);
    if (!f)
        return -ENOMEM;
    s->root = frame_phys(f);
    kernel_map_copy_root(frame_virt(f));
    return 0;
}

uint64_t *pt_pde_create(struct space *s, uint64_t va) {
    uint64_t *table = phys_to_virt(s->root);
    for (unsigned level = 4; level > 2; level--) {
        uint64_t *entry = &table[table_index(va, level)];
        if (unlikely(!*entry)) {
            struct frame *f = table_alloc(s, ROUND_DOWN(va, level_size(level)));
            if (!f)
                return NULL;
            *entry = frame_phys(f) | LINK;
            table_of(entry)->flags++;
        }
        table = pt_table(*entry);
    }
    return &table[table_index(va, 2)];
}

uint64_t *pt_next(struct space *s, uint64_t *va, uint64_t end) {
    const uint64_t *root = phys_to_virt(s->root);
    uint64_t at = *va;
    while (at < end) {
        uint64_t e4 = root[table_index(at, 4)];
        uint64_t e3 = e4 ? pt_table(e4)[table_index(at, 3)] : 0;
        if (!e3) {
            at = ROUND_DOWN(at, level_size(e4 ? 3 : 4)) + level_size(e4 ? 3 : 4);
            continue;
        }
        uint64_t *directory = pt_table(e3);
        for (unsigned i = table_index(at, 2); i < TABLE_ENTRIES && at < end; i++) {
            if (directory[i]) {
                *va = at;
                return &directory[i];
            }
            at = ROUND_DOWN(at, LARGE_PAGE_SIZE) + LARGE_PAGE_SIZE;
        }
    }
    return NULL;
}

void pt_destroy(struct space *s) {
    // Normally nothing is left below the root; but directories may have been made for naught.
    struct frame *root = phys_frame(s->root);
    uint64_t *e4 = frame_virt(root);
    for (unsigned i = 0; root->flags && i < TABLE_ENTRIES / 2; i++) {
        if (!e4[i])
            continue;
        struct frame *upper = entry_frame(e4[i]);
        uint64_t *e3 = frame_virt(upper);
        for (unsigned k = 0; upper->flags && k < TABLE_ENTRIES; k++) {
            if (!e3[k])
                continue;
            ASSERT(entry_frame(e3[k])->flags == 0);
            frame_put(entry_frame(e3[k]));
            upper->flags--;
        }
        frame_put(upper);
        root->flags--;
    }
    ASSERTF(s->pages_mapped == 0, "%llu pages left", (unsigned long long)s->pages_mapped);
    frame_put(root);
}

// Frees the upper tables for va that have become empty.
static void prune_upper(struct gather *g, uint64_t va) {
    uint64_t *e4 = (uint64_t *)phys_to_virt(g->space->root) + table_index(va, 4);
    uint64_t *e3 = pt_table(*e4) + table_index(va, 3);
    if (entry_frame(*e3)->flags)
        return;
    gather(g, entry_frame(*e3), GATHER_TABLE);
    *e3 = 0;
    if (--table_of(e3)->flags)
        return;
    gather(g, entry_frame(*e4), GATHER_TABLE);
    *e4 = 0;
    table_of(e4)->flags--;
}

// ---- tables and entries ------------------------------------------------------------------------

static void link_table(uint64_t *pde, struct frame *table, bool writable) {
    if (!*pde)
        table_of(pde)->flags++;
    *pde = frame_phys(table) | (writable ? LINK : LINK & ~PTE_WRITE);
    rmap_add(table, pde);
}

// Copies a table that other spaces share into one for s. Private entries become read-only in both. The
// reference to the old one is dropped at the flush: until then a processor may walk it.
static int copy_table(struct space *s, uint64_t *pde, uint64_t va) {
    struct frame *old = entry_frame(*pde);
    unsigned left = old->flags;
    ASSERT(s->left_count < LEFT_TABLES);
    struct frame *copy = rmap_reserve(left + 1) ? table_alloc(NULL, ROUND_DOWN(va, LARGE_PAGE_SIZE))
                                                : NULL;
    if (!copy)
        return -ENOMEM;
    uint64_t *from = frame_virt(old), *to = frame_virt(copy);
    copy->flags = left;
    for (; left; from++, to++) {
        uint64_t e = *from;
        if (!e)
            continue;
        left--;
        if ((e & (PTE_WRITE | PTE_SHARED)) == PTE_WRITE)
            *from = e &= ~PTE_WRITE;
        *to = e;
        struct frame *f = entry_frame(e);
        frame_get(f);
        rmap_add(f, to);
    }
    rmap_remove(old, pde);
    s->left_tables[s->left_count++] = old;
    link_table(pde, copy, true);
    return 0;
}

struct frame *pt_large_head(const struct frame *f) {
    struct frame *head = phys_frame(ROUND_DOWN(frame_phys(f), LARGE_PAGE_SIZE));
    if (f->kind != FRAME_ANON || head->kind != FRAME_ANON || !head->rmap)
        return NULL;
    return table_of(rmap_first(head))->owner ? head : NULL; // an upper table maps it
}

int pt_split_large(struct frame *head) {
    unsigned holders = rmap_count(head);
    uint64_t *pde = rmap_first(head);
    if (!rmap_reserve(holders))
        return -ENOMEM;
    uint64_t first = table_of(pde)->index + (uint64_t)pde % PAGE_SIZE / 8 * LARGE_PAGE_SIZE;
    struct frame *table = table_alloc(NULL, first);
    if (!table)
        return -ENOMEM;
    uint64_t bits = *pde & ~(PTE_ADDR | PTE_LARGE), *entries = frame_virt(table);
    for (unsigned i = 0; i < holders; i++) {
        pde = rmap_first(head);
        rmap_remove(head, pde);
        link_table(pde, table, holders == 1);
    }
    table->refs = holders;
    table->flags = TABLE_ENTRIES;
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        entries[i] = frame_phys(&head[i]) | bits;
        rmap_add(&head[i], &entries[i]);
    }
    return 0;
}

int pt_own_table(struct space *s, uint64_t *pde, uint64_t va, bool *changed) {
    if (!*pde) {
        struct frame *table = table_alloc(NULL, ROUND_DOWN(va, LARGE_PAGE_SIZE));
        if (!table)
            return -ENOMEM;
        link_table(pde, table, true);
        return 0;
    }
    if (*pde & PTE_LARGE) {
        *changed = true;
        int err = pt_split_large(entry_frame(*pde));
        if (err)
            return err;
    }
    if (*pde & PTE_WRITE)
        return 0;
    *changed = true;
    if (entry_frame(*pde)->refs > 1)
        return copy_table(s, pde, va);
    *pde |= PTE_WRITE; // the others are gone
    return 0;
}

void pt_set(struct space *s, uint64_t *entry, struct frame *f, uint64_t bits) {
    ASSERT(!*entry);
    *entry = frame_phys(f) | bits;
    rmap_add(f, entry);
    table_of(entry)->flags++;
    s->pages_mapped++;
}

void pt_set_large(struct space *s, uint64_t *pde, struct frame *head, uint64_t bits) {
    ASSERT(!*pde);
    *pde = frame_phys(head) | bits | PTE_LARGE;
    rmap_add(head, pde);
    table_of(pde)->flags++;
    s->pages_mapped += TABLE_ENTRIES;
}

// ---- ranges ------------------------------------------------------------------------------------

// Clears the PDE, whose content is accounted for already.
static void unlink_pde(struct gather *g, uint64_t *pde, uint64_t va) {
    *pde = 0;
    if (--table_of(pde)->flags == 0)
        prune_upper(g, va);
}

// No processor uses it, nor will: not for a virtual machine either, which runs in its own process only.
static inline bool is_dead(const struct space *s) {
    return !s->refs;
}

static void zap_large(struct gather *g, uint64_t *pde, uint64_t va) {
    struct frame *head = entry_frame(*pde);
    rmap_remove(head, pde);
    bool shared = head->rmap, hold = shared && !is_dead(g->space);
    // Another space that has it too may free it before this one's TLBs are flushed: hold on till then.
    for (unsigned i = 0; hold && i < TABLE_ENTRIES; i++)
        frame_get(&head[i]);
    if (!shared || hold)
        gather(g, head, GATHER_LARGE);
    g->space->pages_mapped -= TABLE_ENTRIES;
    unlink_pde(g, pde, va);
}

// Lets go of a table that others share, with all that is in it. Its reference is dropped after the
// flush: until then the others find it shared and change copies only, which keeps its frames.
static void zap_shared_table(struct gather *g, uint64_t *pde, uint64_t va) {
    struct frame *table = entry_frame(*pde);
    rmap_remove(table, pde);
    gather(g, table, GATHER_SHARED);
    g->space->pages_mapped -= table->flags;
    unlink_pde(g, pde, va);
}

// Clears entries of s's own table for [va, end); returns how far it came before g was full.
static uint64_t zap_entries(struct gather *g, uint64_t *pde, uint64_t va, uint64_t end) {
    struct frame *table = entry_frame(*pde);
    uint64_t start = va;
    for (uint64_t *entry = pt_entry(pde, va); va < end && table->flags; va += PAGE_SIZE, entry++) {
        if (!*entry)
            continue;
        if (gather_full(g))
            return va;
        struct frame *f = entry_frame(*entry);
        *entry = 0;
        rmap_remove(f, entry);
        table->flags--;
        g->space->pages_mapped--;
        gather(g, f, GATHER_FRAME);
    }
    if (table->flags == 0) {
        rmap_remove(table, pde);
        gather(g, table, GATHER_TABLE);
        unlink_pde(g, pde, start);
    }
    return end;
}

// One step of pt_zap: what one PDE covers of the range. Advances *va by what is done.
static int zap_pde(struct gather *g, uint64_t *pde, uint64_t *va, uint64_t end) {
    uint64_t next = MIN(ROUND_DOWN(*va, LARGE_PAGE_SIZE) + LARGE_PAGE_SIZE, end);
    bool whole = next - *va == LARGE_PAGE_SIZE;
    gather_range(g, *va, next);
    if (whole && *pde & PTE_LARGE) {
        zap_large(g, pde, *va);
    } else if (whole && entry_frame(*pde)->refs > 1) {
        zap_shared_table(g, pde, *va);
    } else {
        bool changed;
        int err = pt_own_table(g->space, pde, *va, &changed);
        if (err)
            return err;
        next = zap_entries(g, pde, *va, next);
    }
    *va = next;
    return 0;
}

int pt_zap(struct space *s, uint64_t start, uint64_t end) {
    struct gather g;
    int err = 0;
    gather_init(&g, s);
    while (start < end && !err) {
        spin_lock(&tables_lock);
        pt_notify(s, start, end);
        uint64_t *pde = NULL;
        while (!err && !gather_full(&g) && (pde = pt_next(s, &start, end)))
            err = zap_pde(&g, pde, &start, end);
        spin_unlock(&tables_lock);
        gather_finish(&g);
        if (!pde)
            break;
    }
    return err;
}

// New rights for an entry: writing is only taken away; a fault gives it where the page may be written.
static inline uint64_t with_rights(uint64_t e, uint64_t bits, bool may_write) {
    return (e & (PTE_ADDR | PTE_LARGE)) | bits | (may_write ? e & PTE_WRITE : 0);
}

static int protect_pde(struct space *s, uint64_t *pde, uint64_t va, uint64_t end, uint64_t bits,
                       bool may_write) {
    if (*pde & PTE_LARGE && end - va == LARGE_PAGE_SIZE && rmap_single(entry_frame(*pde))) {
        *pde = with_rights(*pde, bits, may_write);
        return 0;
    }
    bool changed;
    int err = pt_own_table(s, pde, va, &changed);
    if (err)
        return err;
    for (uint64_t *entry = pt_entry(pde, va); va < end; va += PAGE_SIZE, entry++)
        if (*entry)
            *entry = with_rights(*entry, bits, may_write);
    return 0;
}

int pt_protect(struct space *s, uint64_t start, uint64_t end, int prot, bool shared) {
    uint64_t va = start, *pde, bits = pt_bits(prot, shared);
    int err = 0;
    while (va < end && !err) {
        uint64_t from = va;
        spin_lock(&tables_lock);
        pt_notify(s, va, end);
        for (unsigned n = 0; n < LEFT_TABLES && !err && (pde = pt_next(s, &va, end)); n++) {
            uint64_t next = MIN(ROUND_DOWN(va, LARGE_PAGE_SIZE) + LARGE_PAGE_SIZE, end);
            err = protect_pde(s, pde, va, next, bits, prot & PROT_WRITE);
            va = next;
        }
        if (!pde)
            va = end;
        spin_unlock(&tables_lock);
        pt_flush(s, from, va);
    }
    return err;
}

// Moves a 2 MB page as a whole if that is possible.
static bool move_large(struct gather *g, uint64_t *from, uint64_t *to, uint64_t va, uint64_t len,
                       uint64_t target) {
    if (!(*from & PTE_LARGE) || *to || len < LARGE_PAGE_SIZE ||
        !IS_ALIGNED(va | target, LARGE_PAGE_SIZE) || !rmap_single(entry_frame(*from)))
        return false;
    struct frame *head = entry_frame(*from);
    rmap_remove(head, from);
    *to = *from;
    rmap_add(head, to);
    table_of(to)->flags++;
    unlink_pde(g, from, va);
    return true;
}

static int move_entry(struct space *s, uint64_t *from_pde, uint64_t *to_pde, uint64_t va,
                      uint64_t target) {
    bool changed;
    int err = pt_own_table(s, from_pde, va, &changed);
    if (err)
        return err;
    uint64_t *from = pt_entry(from_pde, va);
    if (!*from)
        return 0;
    err = pt_own_table(s, to_pde, target, &changed);
    if (err)
        return err;
    uint64_t *to = pt_entry(to_pde, target);
    struct frame *f = entry_frame(*from);
    if (!rmap_reserve(1))
        return -ENOMEM;
    ASSERT(!*to);
    *to = *from;
    *from = 0;
    rmap_remove(f, from);
    rmap_add(f, to);
    table_of(to)->flags++;
    table_of(from)->flags--;
    return 0;
}

int pt_move(struct space *s, uint64_t from, uint64_t to, uint64_t len) {
    struct gather g;
    uint64_t va = from, end = from + len;
    int err = 0;
    gather_init(&g, s);
    while (va < end && !err) {
        spin_lock(&tables_lock);
        pt_notify(s, from, end);
        gather_range(&g, from, end);
        for (unsigned n = 0; n < TABLE_ENTRIES && !gather_full(&g) && va < end && !err; n++) {
            uint64_t *from_pde = pt_next(s, &va, end);
            if (!from_pde) {
                va = end;
                break;
            }
            uint64_t target = to + (va - from);
            uint64_t *to_pde = pt_pde(s, target, true);
            if (!to_pde) {
                err = -ENOMEM;
            } else if (move_large(&g, from_pde, to_pde, va, end - va, target)) {
                va += LARGE_PAGE_SIZE;
            } else {
                err = move_entry(s, from_pde, to_pde, va, target);
                va += PAGE_SIZE;
            }
        }
        spin_unlock(&tables_lock);
        gather_finish(&g);
    }
    return err;
}

// ---- fork --------------------------------------------------------------------------------------

static int share_pde(struct space *parent, struct space *child, uint64_t *pde, uint64_t va) {
    (void)parent;
    uint64_t *to = pt_pde(child, va, true);
    if (!to || !rmap_reserve(1))
        return -ENOMEM;
    if (*to)
        return 0; // two regions in the same 2 MB
    struct frame *f = entry_frame(*pde);
    *pde &= ~PTE_WRITE;
    *to = *pde;
    table_of(to)->flags++;
    rmap_add(f, to);
    if (*pde & PTE_LARGE) {
        child->pages_mapped += TABLE_ENTRIES;
    } else {
        frame_get(f);
        child->pages_mapped += f->flags;
    }
    return 0;
}

int pt_share(struct space *parent, struct space *child, uint64_t start, uint64_t end) {
    uint64_t va = ROUND_DOWN(start, LARGE_PAGE_SIZE), *pde;
    int err = 0;
    end = ROUND_UP(end, LARGE_PAGE_SIZE);
    do {
        spin_lock(&tables_lock);
        for (unsigned n = 0; n < 64 && !err && (pde = pt_next(parent, &va, end)); n++) {
            err = share_pde(parent, child, pde, va);
            va += LARGE_PAGE_SIZE;
        }
        spin_unlock(&tables_lock);
    } while (!err && pde);
    return err;
}
