// mremap() and madvise().
#include "fs/file.h"
#include "lib/errno.h"
#include "mm/fault.h"
#include "mm/pagetable.h"
#include "mm/region.h"
#include "mm/remap.h"
#include "proc/process.h"

static uint64_t address_space_limit(void) {
    struct process *p = current_process();
    return p ? p->limits[RLIMIT_AS].rlim_cur : RLIM_INFINITY;
}

// [addr, addr + len) has nothing in it and is user space.
static bool is_hole(struct space *s, uint64_t addr, uint64_t len) {
    if (addr > USER_END || len > USER_END - addr)
        return false;
    struct region *r = region_from(s, addr);
    return !r || r->start >= addr + len;
}

// Makes [at, at + new_len) show what [old, old + old_len) of r does, with the pages. Lock held.
static long move_region(struct space *s, struct region *r, uint64_t old, uint64_t old_len,
                        uint64_t at, uint64_t new_len) {
    struct region copy = *r;
    copy.pgoff += (old - r->start) >> PAGE_SHIFT;
    copy.start = at;
    copy.end = at + new_len;
    if (copy.file)
        file_get(copy.file);
    struct region *target = region_add(s, &copy);
    if (!target) {
        if (copy.file)
            file_put(copy.file);
        return -ENOMEM;
    }
    if (target->ops && target->ops->open)
        target->ops->open(target);
    int err = pt_move(s, old, at, MIN(old_len, new_len));
    if (err) { // what did move moves back: the tables for it are still there
        (void)pt_move(s, at, old, MIN(old_len, new_len));
        (void)pt_zap(s, at, at + new_len);
        region_remove(target);
        return err;
    }
    region_merge(target);
    return space_unmap_locked(s, old, old + old_len) ?: (long)at;
}

// Grows where it is if the neighbourhood allows. Lock held.
static bool grow_in_place(struct space *s, struct region *r, uint64_t old, uint64_t old_len,
                          uint64_t new_len) {
    uint64_t end = old + old_len;
    if (r->end != end || !is_hole(s, end, new_len - old_len))
        return false;
    region_resize(r, r->start, old + new_len);
    region_merge(r);
    return true;
}

struct remap {
    uint64_t old, old_len, new_len, target;
    int flags;
};

static long remap_locked(struct space *s, const struct remap *m) {
    struct region *r = space_find(s, m->old);
    if (!r || m->old_len > r->end - m->old)
        return -EFAULT;
    bool fixed = m->flags & MREMAP_FIXED;
    uint64_t more = m->new_len > m->old_len ? m->new_len - m->old_len : 0;
    if (more && (s->pages_virtual << PAGE_SHIFT) + more > address_space_limit())
        return -ENOMEM;
    if (!m->old_len && !region_is_shared(r)) // a second mapping of private memory has no meaning
        return -EINVAL;
    if (!fixed && m->old_len && !more) { // shrink, or nothing to do
        uint64_t end = m->old + m->old_len;
        int err = m->new_len < m->old_len ? space_unmap_locked(s, m->old + m->new_len, end) : 0;
        return err ? err : (long)m->old;
    }
    if (!fixed && m->old_len && grow_in_place(s, r, m->old, m->old_len, m->new_len))
        return m->old;
    if (!(m->flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    uint64_t at = m->target;
    if (fixed) {
        int err = space_unmap_locked(s, at, at + m->new_len);
        if (err)
            return err;
        r = space_find(s, m->old);
    } else {
        // The same place within 2 MB lets 2 MB pages move as they are.
        at = region_find_hole(s, m->new_len,
                              m->new_len >= LARGE_PAGE_SIZE && IS_ALIGNED(m->old, LARGE_PAGE_SIZE)
                                  ? LARGE_PAGE_SIZE
                                  : PAGE_SIZE);
        if (!at)
            return -ENOMEM;
    }
    return move_region(s, r, m->old, m->old_len, at, m->new_len);
}

long space_remap(struct space *s, uint64_t old, uint64_t old_len, uint64_t new_len, int flags,
                 uint64_t new_addr) {
    bool fixed = flags & MREMAP_FIXED;
    if (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED) || (fixed && !(flags & MREMAP_MAYMOVE)) ||
        !IS_ALIGNED(old, PAGE_SIZE) || !new_len || old_len > USER_END || new_len > USER_END ||
        old >= USER_END)
        return -EINVAL;
    old_len = ROUND_UP(old_len, PAGE_SIZE);
    new_len = ROUND_UP(new_len, PAGE_SIZE);
    if (fixed &&
        (!IS_ALIGNED(new_addr, PAGE_SIZE) || new_addr < 64 * KIB || new_addr > USER_END - new_len ||
         (new_addr < old + old_len && old < new_addr + new_len)))
        return -EINVAL;
    struct remap m = {old, old_len, new_len, new_addr, flags};
    mutex_lock(&s->lock);
    long result = remap_locked(s, &m);
    mutex_unlock(&s->lock);
    return result;
}

// ---- madvise -----------------------------------------------------------------------------------

static int advise_region(struct region *r, int advice) {
    switch (advice) {
    case MADV_DONTNEED:
    case MADV_FREE: // at once: nothing would be gained by waiting
        if (advice == MADV_FREE && (r->ops || region_is_shared(r)))
            return -EINVAL;
        return pt_zap(r->space, r->start, r->end);
    case MADV_HUGEPAGE:
        r->want_huge = true;
        r->no_huge = false;
        return 0;
    case MADV_NOHUGEPAGE:
        r->no_huge = true;
        r->want_huge = false;
        return 0;
    case MADV_DONTFORK: r->dont_fork = true; return 0;
    case MADV_DOFORK: r->dont_fork = false; return 0;
    default: return 0;
    }
}

static bool advice_known(int advice) {
    switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_DONTNEED:
    case MADV_FREE:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE: return true;
    default: return false;
    }
}

int space_advise(struct space *s, uint64_t addr, uint64_t len, int advice) {
    uint64_t end = addr + ROUND_UP(len, PAGE_SIZE);
    if (!IS_ALIGNED(addr, PAGE_SIZE) || !advice_known(advice) || len > USER_END || end < addr ||
        end > USER_END)
        return -EINVAL;
    if (end == addr)
        return 0;
    mutex_lock(&s->lock);
    int err = region_split(s, addr);
    if (!err)
        err = region_split(s, end);
    uint64_t covered = addr; // Linux goes on over holes and says ENOMEM in the end
    bool hole = false;
    for (struct region *r = region_from(s, addr); !err && r && r->start < end;) {
        hole |= r->start > covered;
        covered = r->end;
        err = advise_region(r, advice);
        r = region_next(r);
    }
    // Not before: a neighbour that is still to be advised would go by unseen.
    for (struct region *r = region_from(s, addr); r && r->start < end; r = region_next(r))
        r = region_merge(r);
    hole |= covered < end;
    if (!err && !hole && (advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE))
        err = fault_populate(s, addr, end);
    mutex_unlock(&s->lock);
    return err ? err : hole ? -ENOMEM : 0;
}
