// fork(): regions are copied, page tables are shared copy-on-write (mm/pagetable.h).
#include "fs/file.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "mm/pagetable.h"
#include "mm/region.h"
#include "mm/tlb.h"

static int copy_region(struct space *child, const struct region *r) {
    if (r->dont_fork)
        return 0;
    if (r->file)
        file_get(r->file);
    struct region *copy = region_add(child, r);
    if (!copy) {
        if (r->file)
            file_put(r->file);
        return -ENOMEM;
    }
    if (copy->ops && copy->ops->open)
        copy->ops->open(copy);
    return 0;
}

static int copy_all(struct space *parent, struct space *child) {
    int err = 0;
    bool holes = false;
    struct tree_node *n;
    for (n = tree_first(&parent->regions); n && !err; n = tree_next(n)) {
        const struct region *r = tree_entry(n, struct region, node);
        holes |= r->dont_fork;
        err = copy_region(child, r);
    }
    for (n = tree_first(&parent->regions); n && !err; n = tree_next(n)) {
        const struct region *r = tree_entry(n, struct region, node);
        if (!r->dont_fork)
            err = pt_share(parent, child, r->start, r->end);
    }
    // A shared table may hold pages of a neighbour that the child must not see.
    for (n = tree_first(&parent->regions); holes && n && !err; n = tree_next(n)) {
        const struct region *r = tree_entry(n, struct region, node);
        if (r->dont_fork)
            err = pt_zap(child, r->start, r->end);
    }
    return err;
}

struct space *space_fork(struct space *parent) {
    struct space *child = space_create();
    if (!child)
        return ERR_PTR(-ENOMEM);
    mutex_lock(&parent->lock);
    child->brk_start = parent->brk_start;
    child->brk = parent->brk;
    child->mmap_base = parent->mmap_base;
    child->arg_start = parent->arg_start;
    child->arg_end = parent->arg_end;
    child->env_start = parent->env_start;
    child->env_end = parent->env_end;
    int err = copy_all(parent, child);
    notify_write_protect_all(parent); // now that who looks at the tables finds everything read-only
    tlb_flush(parent, 0, USER_END);
    mutex_unlock(&parent->lock);
    if (err) {
        space_put(child);
        return ERR_PTR(err);
    }
    return child;
}
