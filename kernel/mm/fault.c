// Page faults: what a region says should be there is put into the page tables.
#include "mm/fault.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "mm/pagetable.h"
#include "mm/region.h"
#include "proc/process.h"
#include "sched/world.h"

#define AROUND          16                // pages of a file mapped at once when they are in memory
#define STACK_GUARD     (256 * PAGE_SIZE) // kept free below a stack that grows, as in Linux
#define HUGE_FREE_SHARE 8                 // 2 MB pages unasked only while 1/8 of memory is free

static inline bool is_anon(const struct region *r) {
    return !r->ops;
}
static inline uint64_t source_page(const struct region *r, uint64_t va) {
    return r->pgoff + ((va - r->start) >> PAGE_SHIFT);
}

static struct frame *anon_frame(unsigned flags) {
    return frame_alloc(0, FRAME_USER | flags, FRAME_ANON);
}

// Whether the 2 MB around va may become one page.
static bool huge_candidate(const struct region *r, uint64_t va) {
    uint64_t start = ROUND_DOWN(va, LARGE_PAGE_SIZE);
    return is_anon(r) && !r->no_huge && !(r->flags & (MAP_GROWSDOWN | MAP_STACK)) &&
           start >= r->start && start + LARGE_PAGE_SIZE <= r->end;
}

static bool plenty_free(void) {
    struct memory_stats stats;
    memory_stats(&stats);
    return stats.free > stats.total / HUGE_FREE_SHARE;
}

// Tries to map 2 MB of zeros; false: the caller falls back to a small page.
static bool fault_huge(struct space *s, struct region *r, uint64_t *pde, uint64_t va) {
    if (!huge_candidate(r, va) || !(r->prot & PROT_WRITE) || (!r->want_huge && !plenty_free()))
        return false;
    struct frame *head = frame_alloc(ORDER_2M, FRAME_USER | FRAME_ATOMIC, FRAME_ANON);
    if (!head)
        return false;
    char *p = frame_virt(head);
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
        page_clear(p + i * PAGE_SIZE);
    frame_split(head, ORDER_2M);
    spin_lock(&tables_lock);
    bool empty = !*pde;
    if (empty)
        pt_set_large(s, pde, head, pt_bits(r->prot, false) | PTE_WRITE);
    spin_unlock(&tables_lock);
    if (!empty)
        frame_put_large(head);
    return empty;
}

static void map_around(struct region *r, uint64_t *pde, uint64_t va, uint64_t bits) {
    uint64_t first = MAX(ROUND_DOWN(va, AROUND * PAGE_SIZE), r->start);
    uint64_t last = MIN(ROUND_DOWN(va, AROUND * PAGE_SIZE) + AROUND * PAGE_SIZE, r->end);
    if (!rmap_reserve(AROUND))
        return;
    for (uint64_t at = first; at < last; at += PAGE_SIZE) {
        uint64_t *entry = pt_entry(pde, at);
        struct frame *f = *entry ? NULL : r->ops->peek(r, source_page(r, at));
        if (f)
            pt_set(r->space, entry, f, bits);
    }
}

// Puts f into the empty entry for va; takes over its reference. 0, -ENOMEM, or -EAGAIN: the entry is
// not empty any more. Also maps neighbours that the region's source has ready.
static int install(struct region *r, uint64_t *pde, uint64_t va, struct frame *f, uint64_t bits) {
    struct space *s = r->space;
    bool changed = false;
    spin_lock(&tables_lock);
    int err = likely(pde_is_table(*pde) && *pde & PTE_WRITE) ? 0
                                                             : pt_own_table(s, pde, va, &changed);
    uint64_t *entry = err ? NULL : pt_entry(pde, va);
    if (!err && unlikely(*entry))
        err = -EAGAIN;
    else if (!err && f->rmap && !rmap_reserve(1))
        err = -ENOMEM;
    if (!err) {
        pt_set(s, entry, f, bits);
        if (f->kind == FRAME_CACHE && r->ops->peek)
            map_around(r, pde, va, bits & ~PTE_WRITE);
    }
    spin_unlock(&tables_lock);
    if (changed)
        pt_flush(s, va, va + PAGE_SIZE);
    if (err)
        frame_put(f);
    return err;
}

// Nothing is mapped at va yet.
static int fault_empty(struct region *r, uint64_t *pde, uint64_t va, bool write) {
    bool shared = region_is_shared(r);
    uint64_t bits = pt_bits(r->prot, shared);
    struct frame *f = NULL, *source;
    if (is_anon(r)) {
        if (!*pde && fault_huge(r->space, r, pde, va))
            return 0;
        f = anon_frame(FRAME_ZERO);
        if (!f)
            return -ENOMEM;
        if (r->prot & PROT_WRITE)
            bits |= PTE_WRITE;
        return install(r, pde, va, f, bits);
    }
    if (write && !shared && !(f = anon_frame(0)))
        return -ENOMEM;
    int err = r->ops->fault(r, source_page(r, va), write && shared, &source);
    if (write && !shared) { // a private copy at once
        if (!err) {
            page_copy(frame_virt(f), frame_virt(source));
            frame_put(source);
            err = install(r, pde, va, f, bits | PTE_WRITE);
        } else {
            frame_put(f);
        }
        return err;
    }
    return err ? err : install(r, pde, va, source, bits | (write ? PTE_WRITE : 0));
}

// Replaces the private page f at va, of which the caller has a reference, by a copy.
static int copy_on_write(struct region *r, uint64_t *pde, uint64_t va, struct frame *f) {
    struct space *s = r->space;
    struct frame *copy = anon_frame(0);
    if (!copy) {
        frame_put(f);
        return -ENOMEM;
    }
    page_copy(frame_virt(copy), frame_virt(f));
    spin_lock(&tables_lock);
    bool changed = false;
    int err = pt_own_table(s, pde, va, &changed);
    uint64_t *entry = err ? NULL : pt_entry(pde, va);
    if (!err && *entry && entry_frame(*entry) == f) {
        pt_notify(s, va, va + PAGE_SIZE);
        rmap_remove(f, entry);
        *entry = frame_phys(copy) | pt_bits(r->prot, false) | PTE_WRITE;
        rmap_add(copy, entry);
    } else if (!err) {
        err = -EAGAIN;
    }
    spin_unlock(&tables_lock);
    pt_flush(s, va, va + PAGE_SIZE);
    if (!err)
        frame_put(f); // the entry's reference
    else
        frame_put(copy);
    frame_put(f);
    return err;
}

// A shared page is written for the first time (since it was written back).
static int upgrade_shared(struct region *r, uint64_t *pde, uint64_t va) {
    struct frame *f;
    int err = r->ops->fault(r, source_page(r, va), true, &f);
    if (err)
        return err;
    bool changed = false;
    spin_lock(&tables_lock);
    err = pt_own_table(r->space, pde, va, &changed);
    uint64_t *entry = err ? NULL : pt_entry(pde, va);
    if (!err && *entry && entry_frame(*entry) == f)
        *entry |= PTE_WRITE;
    else if (!err)
        err = -EAGAIN;
    spin_unlock(&tables_lock);
    pt_flush(r->space, va, va + PAGE_SIZE);
    frame_put(f);
    return err;
}

// Something is mapped at va, and a write may have met a read-only entry.
static int fault_write_present(struct region *r, uint64_t *pde, uint64_t va) {
    struct space *s = r->space;
    if (region_is_shared(r) && !is_anon(r)) {
        spin_lock(&tables_lock);
        bool fresh = *pde & PTE_WRITE && *pt_entry(pde, va) & PTE_WRITE;
        spin_unlock(&tables_lock);
        return fresh ? 0 : upgrade_shared(r, pde, va);
    }
    struct frame *copy_of = NULL;
    bool changed = false;
    int err = 0;
    spin_lock(&tables_lock);
    if (*pde & PTE_LARGE && rmap_single(entry_frame(*pde))) {
        *pde |= PTE_WRITE;
    } else if (!(err = pt_own_table(s, pde, va, &changed))) {
        uint64_t *entry = pt_entry(pde, va);
        struct frame *f = *entry ? entry_frame(*entry) : NULL;
        if (!f) {
            err = -EAGAIN;
        } else if (*entry & PTE_WRITE) {
            // only the table was shared, or the TLB is behind
        } else if (f->kind == FRAME_ANON && READ_ONCE(f->refs) == 1) {
            *entry |= PTE_WRITE;
        } else {
            frame_get(f);
            copy_of = f;
        }
    }
    spin_unlock(&tables_lock);
    if (copy_of)
        return copy_on_write(r, pde, va, copy_of);
    pt_flush(s, va, va + PAGE_SIZE);
    return err;
}

// The entry that translates va, or 0.
static uint64_t current_entry(const uint64_t *pde, uint64_t va) {
    uint64_t e = READ_ONCE(*pde);
    return pde_is_table(e) ? READ_ONCE(*pt_entry(&e, va)) : e;
}

// Lets a stack region grow down to addr. The region or NULL.
static struct region *grow_stack(struct space *s, uint64_t addr) {
    struct region *r = region_from(s, addr);
    if (!r || !(r->flags & MAP_GROWSDOWN) || addr < 64 * KIB)
        return NULL;
    struct process *p = current_process();
    struct region *below = region_prev(r);
    uint64_t start = ROUND_DOWN(addr, PAGE_SIZE), more = r->start - start;
    uint64_t limit = p ? p->limits[RLIMIT_STACK].rlim_cur : 8 * MIB;
    uint64_t total = p ? p->limits[RLIMIT_AS].rlim_cur : RLIM_INFINITY;
    if (r->end - start > limit || (s->pages_virtual << PAGE_SHIFT) + more > total ||
        (below && below->end + STACK_GUARD > start && below->prot != PROT_NONE))
        return NULL;
    if (below && below->end > start)
        return NULL;
    region_resize(r, start, r->end);
    return r;
}

static bool access_allowed(const struct region *r, unsigned access) {
    if (access & ACCESS_WRITE)
        return r->prot & PROT_WRITE;
    if (access & ACCESS_EXEC)
        return r->prot & PROT_EXEC;
    return r->prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
}

int fault_handle(struct space *s, uint64_t addr, unsigned access) {
    ASSERT(mutex_held(&s->lock));
    if (unlikely(addr >= USER_END))
        return -EFAULT;
    struct region *r = space_find(s, addr);
    if (unlikely(!r) && !(r = grow_stack(s, addr)))
        return -EFAULT;
    if (unlikely(!access_allowed(r, access)))
        return -EFAULT;
    uint64_t va = ROUND_DOWN(addr, PAGE_SIZE);
    bool write = access & ACCESS_WRITE;
    int err;
    do {
        uint64_t *pde = pt_pde(s, va, true);
        if (unlikely(!pde))
            return -ENOMEM;
        if (!current_entry(pde, va)) {
            err = fault_empty(r, pde, va, write);
        } else if (write) {
            err = fault_write_present(r, pde, va);
        } else { // present by now: another thread was faster
            pt_flush(s, va, va + PAGE_SIZE);
            err = 0;
        }
    } while (err == -EAGAIN); // a page went away or came meanwhile
    return err;
}

int fault_populate(struct space *s, uint64_t start, uint64_t end) {
    int err = 0;
    for (uint64_t va = start; va < end && !err; va += PAGE_SIZE) {
        struct region *r = space_find(s, va);
        if (!r)
            return -ENOMEM;
        if (r->prot == PROT_NONE) {
            va = r->end - PAGE_SIZE;
            continue;
        }
        const uint64_t *pde = pt_pde(s, va, false);
        bool write = r->prot & PROT_WRITE && !region_is_shared(r);
        if (!pde || !*pde || !current_entry(pde, va) || write)
            err = fault_handle(s, va, write ? ACCESS_WRITE : ACCESS_READ);
        cond_resched();
    }
    return err;
}

int space_fault(struct space *s, uint64_t addr, unsigned access) {
    mutex_lock(&s->lock);
    int err = fault_handle(s, addr, access);
    mutex_unlock(&s->lock);
    return err;
}
