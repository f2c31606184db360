// Renaming.
//
// Locks: a directory that changes its parent changes what is below what, so such renames exclude
// each other through rename_lock; then the two directories, an ancestor first, else by address; then
// a directory that is replaced (its emptiness must not change).
#include "fs/namei.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"

static struct mutex rename_lock = MUTEX_INIT(rename_lock);

struct rename {
    struct dentry *old_dir, *new_dir; // referenced, locked
    struct path_last old_last, new_last;
    struct dentry *old, *new; // looked up, referenced
};

static void lock_both(struct dentry *a, struct dentry *b) {
    if (a == b) {
        mutex_lock(&a->inode->lock);
        return;
    }
    bool b_first = dentry_is_below(a, b) || (!dentry_is_below(b, a) && b < a);
    mutex_lock(b_first ? &b->inode->lock : &a->inode->lock);
    mutex_lock(b_first ? &a->inode->lock : &b->inode->lock);
}

static void unlock_both(struct dentry *a, struct dentry *b) {
    mutex_unlock(&a->inode->lock);
    if (a != b)
        mutex_unlock(&b->inode->lock);
}

// May `old` become `new`? 0, or -errno; 1: they are the same file, nothing is to be done.
static int check(const struct rename *r, bool no_replace) {
    struct inode *moved = r->old->inode, *replaced = r->new->inode;
    if (!moved)
        return -ENOENT;
    if (r->old_dir->sb != r->new_dir->sb)
        return -EXDEV;
    if (r->old_dir->sb->read_only)
        return -EROFS;
    if (!r->old_dir->inode->ops->rename)
        return -EPERM;
    if ((r->old_last.slash || r->new_last.slash) && !S_ISDIR(moved->mode))
        return -ENOTDIR;
    if (dentry_is_below(r->new_dir, r->old)) // into itself
        return -EINVAL;
    if (r->old->mounted || r->new->mounted)
        return -EBUSY;
    if (!replaced)
        return 0;
    if (no_replace)
        return -EEXIST;
    if (moved == replaced)
        return 1;
    if (dentry_is_below(r->old_dir, r->new)) // onto a directory that contains it
        return -ENOTEMPTY;
    if (S_ISDIR(moved->mode) && !S_ISDIR(replaced->mode))
        return -ENOTDIR;
    if (!S_ISDIR(moved->mode) && S_ISDIR(replaced->mode))
        return -EISDIR;
    return 0;
}

// The rename itself, all locks held. The file system changes its entries, then the cache follows.
static int perform(struct rename *r) {
    struct inode *from = r->old_dir->inode, *to = r->new_dir->inode;
    struct inode *moved = r->old->inode, *replaced = r->new->inode;
    char *name = kstrdup(r->new_last.name);
    if (!name)
        return -ENOMEM;
    bool lock_replaced = replaced && S_ISDIR(replaced->mode);
    if (lock_replaced)
        mutex_lock(&replaced->lock);
    int err = from->ops->rename(from, r->old_last.name, r->old_last.len, to, r->new_last.name,
                                r->new_last.len, moved, replaced);
    if (lock_replaced)
        mutex_unlock(&replaced->lock);
    if (err) {
        kfree(name);
        return err;
    }
    dentry_delete(r->new); // the replaced file's, or the cached "no such name"
    dentry_move(r->old, r->new_dir, name);
    inode_modified(from);
    if (to != from)
        inode_modified(to);
    return 0;
}

static int rename_locked(struct rename *r, bool no_replace) {
    r->old = dentry_lookup(r->old_dir, r->old_last.name, r->old_last.len);
    if (IS_ERR(r->old))
        return PTR_ERR(r->old);
    r->new = dentry_lookup(r->new_dir, r->new_last.name, r->new_last.len);
    int err = IS_ERR(r->new) ? PTR_ERR(r->new) : check(r, no_replace);
    if (!err)
        err = perform(r);
    dentry_put(r->old);
    if (!IS_ERR(r->new))
        dentry_put(r->new);
    return err > 0 ? 0 : err;
}

int name_rename(struct dentry *old_at, const char *old, struct dentry *new_at, const char *new,
                bool no_replace) {
    struct rename *r = kmalloc(sizeof(*r)); // two names: too large for the stack
    if (!r)
        return -ENOMEM;
    int err = 0;
    r->old_dir = path_walk_parent(old_at, old, &r->old_last);
    if (IS_ERR(r->old_dir)) {
        err = PTR_ERR(r->old_dir);
        goto out;
    }
    r->new_dir = path_walk_parent(new_at, new, &r->new_last);
    if (IS_ERR(r->new_dir)) {
        err = PTR_ERR(r->new_dir);
        goto out_old;
    }
    if (r->old_dir->sb != r->new_dir->sb)
        err = -EXDEV;
    else if (path_last_is_dots(&r->old_last) || path_last_is_dots(&r->new_last))
        err = no_replace && !path_last_is_dots(&r->old_last) ? -EEXIST : -EBUSY;
    if (!err) {
        mutex_lock(&rename_lock);
        lock_both(r->old_dir, r->new_dir);
        err = rename_locked(r, no_replace);
        unlock_both(r->old_dir, r->new_dir);
        mutex_unlock(&rename_lock);
    }
    dentry_put(r->new_dir);
out_old:
    dentry_put(r->old_dir);
out:
    kfree(r);
    return err;
}
