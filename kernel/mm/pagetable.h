// The page tables of address spaces. The only code that reads and writes them.
//
// Names: a directory entry (PDE) covers 2 MB: it holds a last-level table ("table") or maps a 2 MB
// page. A table may be held by the directories of several spaces after fork(): frame->refs counts
// them, and the writable bit of all their PDEs is clear. Its entries count one reference to their
// frame whoever shares the table. Who wants to change a table makes it his own first
// (pt_own_table). The number of entries in use of every table is in its frame's flags.
//
// A 2 MB page is 512 frames with a reference each; its head's rmap has the PDEs that map it, after
// fork() several, read-only. They always agree in their bits and their address. Splitting turns it
// into one table, shared in the same way, so that no reference changes.
//
// Upper tables change only with space->lock held (and, for readers of frames, tables_lock).
#pragma once
#include <linux/mman.h>
#include "mm/notify.h"
#include "mm/pte.h"
#include "mm/rmap.h"
#include "mm/space.h"

// What was taken out of tables and can be freed when no TLB knows it any more.
#define GATHER_MAX 64
struct gather {
    struct space *space;
    uint64_t start, end; // range to flush
    unsigned count;
    struct gathered {
        struct frame *frame;
        enum { GATHER_FRAME, GATHER_TABLE, GATHER_LARGE, GATHER_SHARED } what;
    } items[GATHER_MAX];
};
static inline void gather_init(struct gather *g, struct space *s) {
    g->space = s;
    g->start = UINT64_MAX;
    g->end = 0;
    g->count = 0;
}
static inline void gather_range(struct gather *g, uint64_t start, uint64_t end) {
    g->start = MIN(g->start, start);
    g->end = MAX(g->end, end);
}
// Flushes the range from TLBs, then drops the shared tables that s left behind. No spin lock held.
void pt_flush(struct space *s, uint64_t start, uint64_t end);
// Flushes the range and frees what was gathered; g is empty again. No spin lock held.
void gather_finish(struct gather *g);

// The bits of an entry for PROT_* rights, without PTE_WRITE (which depends on sharing).
static inline uint64_t pt_bits(int prot, bool shared) {
    return PTE_USER | PTE_ACCESSED | PTE_DIRTY |
           (prot & (PROT_READ | PROT_WRITE | PROT_EXEC) ? PTE_PRESENT : 0) |
           (prot & PROT_EXEC ? 0 : PTE_NX) | (shared ? PTE_SHARED : 0);
}
// The table that an entry of an upper level holds.
static inline uint64_t *pt_table(uint64_t entry) {
    return phys_to_virt(entry & PTE_ADDR);
}

// All below with space->lock held (or the space not yet or no longer in use).
int pt_create(struct space *s);   // the root; -ENOMEM
void pt_destroy(struct space *s); // frees the root; everything was zapped
// The PDE for va; NULL: an upper table is missing (create: no memory). tables_lock held or not.
uint64_t *pt_pde_create(struct space *s, uint64_t va);
static inline uint64_t *pt_pde(struct space *s, uint64_t va, bool create) {
    uint64_t e4 = pt_table(s->root)[table_index(va, 4)];
    uint64_t e3 = likely(e4) ? pt_table(e4)[table_index(va, 3)] : 0;
    if (likely(e3))
        return &pt_table(e3)[table_index(va, 2)];
    return create ? pt_pde_create(s, va) : NULL;
}
// The first PDE in use that covers an address in [*va, end); advances *va to what it covers of
// the range. NULL: none.
uint64_t *pt_next(struct space *s, uint64_t *va, uint64_t end);

// The rest with tables_lock held as well.
static inline bool pde_is_table(uint64_t pde) {
    return pde && !(pde & PTE_LARGE);
}
static inline struct frame *entry_frame(uint64_t e) {
    return phys_frame(e & PTE_ADDR);
}
// The table's entry for va. *pde must hold a table.
static inline uint64_t *pt_entry(const uint64_t *pde, uint64_t va) {
    return (uint64_t *)phys_to_virt(*pde & PTE_ADDR) + table_index(va, 1);
}
static inline struct frame *table_of(const uint64_t *entry) {
    return phys_frame(virt_to_phys(entry));
}
// Makes *pde hold a table that belongs to s alone and is writable: creates it, splits a 2 MB page,
// copies a shared table. 0 or -ENOMEM. *changed is set when TLBs may know the old one: then pt_flush()
// must follow, and at most LEFT_TABLES tables may be copied before it.
int pt_own_table(struct space *s, uint64_t *pde, uint64_t va, bool *changed);
// Fills an empty entry of a table of s's own; f's reference passes to it.
void pt_set(struct space *s, uint64_t *entry, struct frame *f, uint64_t bits);
// Maps a 2 MB page at an empty PDE; the references of its 512 frames pass to it.
void pt_set_large(struct space *s, uint64_t *pde, struct frame *head, uint64_t bits);
// Splits a 2 MB page in all spaces that map it. 0 or -ENOMEM.
int pt_split_large(struct frame *head);
// The head of the 2 MB page that contains f, if f is mapped as a part of one; else NULL.
struct frame *pt_large_head(const struct frame *f);

// Work on ranges, with space->lock held and without tables_lock; page aligned, below USER_END.
int pt_zap(struct space *s, uint64_t start, uint64_t end); // 0 or -ENOMEM
int pt_protect(struct space *s, uint64_t start, uint64_t end, int prot, bool shared);
int pt_move(struct space *s, uint64_t from, uint64_t to, uint64_t len); // target is empty
// Makes child (empty, private to the caller) share what the parent has in [start, end) rounded to
// 2 MB. 0 or -ENOMEM. The caller flushes the parent's TLBs.
int pt_share(struct space *parent, struct space *child, uint64_t start, uint64_t end);
