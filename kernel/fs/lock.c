// Advisory locks. A lock is a range of bytes, shared or exclusive, with an owner: the descriptor
// table for POSIX record locks, the open file for OFD locks and for flock() (which locks the whole
// file in a space of its own). One spin lock covers all of them: lists are short and calls rare.
#include "fs/lock.h"
#include <linux/fs.h>
#include "fs/current.h"
#include "fs/procfs.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "sync/waitq.h"

#define LAST_BYTE INT64_MAX

struct lock {
    struct list_node node; // of its inode, by owner and start
    struct list_node all_node;
    struct inode *inode;
    const void *owner;
    bool flock, exclusive;
    int pid;            // for F_GETLK; -1 for OFD locks
    int64_t start, end; // inclusive
};

struct inode_locks {
    struct list_node locks;
    struct waitq changed; // a lock was released
};

// A blocked F_SETLKW, for finding deadlocks: `owner` waits for `blocker`.
struct lock_wait {
    struct list_node node;
    const void *owner, *blocker;
};

static struct spinlock lock_lock = SPINLOCK_INIT; // all of the above
static struct list_node all_locks = LIST_INIT(all_locks);
static struct list_node waits = LIST_INIT(waits);

// The lock list of an inode, made at the first use. NULL: out of memory.
static struct inode_locks *inode_locks(struct inode *i) {
    struct inode_locks *l = __atomic_load_n(&i->locks, __ATOMIC_ACQUIRE);
    if (l)
        return l;
    struct inode_locks *fresh = kzalloc(sizeof(*fresh));
    if (!fresh)
        return NULL;
    list_init(&fresh->locks);
    waitq_init(&fresh->changed);
    if (__atomic_compare_exchange_n(&i->locks, &l, fresh, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return fresh;
    kfree(fresh);
    return l;
}

static bool overlap(const struct lock *a, const struct lock *b) {
    return a->start <= b->end && b->start <= a->end;
}

// A lock of somebody else that keeps `want` from being granted, or NULL.
static struct lock *conflict(struct inode_locks *l, const struct lock *want) {
    struct lock *o;
    list_for_each (o, &l->locks, node) {
        if (o->flock == want->flock && o->owner != want->owner && overlap(o, want) &&
            (o->exclusive || want->exclusive))
            return o;
    }
    return NULL;
}

static void unlink_lock(struct lock *o) {
    list_remove(&o->node);
    list_remove(&o->all_node);
}

static void link_lock(struct inode_locks *l, struct lock *o) {
    list_add_tail(&l->locks, &o->node);
    list_add_tail(&all_locks, &o->all_node);
}

// Removes the owner's locks in the range of `want`, cutting those that reach out of it. `spare` is
// used when one lock is cut in two. Returns the spare if it is left. lock_lock held.
static struct lock *carve(struct inode_locks *l, const struct lock *want, struct lock *spare,
                          struct list_node *dead) {
    struct lock *o, *next;
    list_for_each_safe(o, next, &l->locks, node) {
        if (o->owner != want->owner || o->flock != want->flock || !overlap(o, want))
            continue;
        bool before = o->start<want->start, after = o->end> want->end;
        if (before && after) {
            *spare = *o;
            spare->start = want->end + 1;
            o->end = want->start - 1;
            link_lock(l, spare);
            spare = NULL;
        } else if (before) {
            o->end = want->start - 1;
        } else if (after) {
            o->start = want->end + 1;
        } else {
            unlink_lock(o);
            list_add_tail(dead, &o->node);
        }
    }
    return spare;
}

// Joins `o` with the owner's locks of the same kind that touch it. lock_lock held.
static void merge(struct inode_locks *l, struct lock *o, struct list_node *dead) {
    struct lock *n, *next;
    list_for_each_safe(n, next, &l->locks, node) {
        if (n == o || n->owner != o->owner || n->flock != o->flock || n->exclusive != o->exclusive)
            continue;
        if (n->end != LAST_BYTE && n->end + 1 == o->start)
            o->start = n->start;
        else if (o->end != LAST_BYTE && o->end + 1 == n->start)
            o->end = n->end;
        else
            continue;
        unlink_lock(n);
        list_add_tail(dead, &n->node);
    }
}

static void free_all(struct list_node *dead) {
    struct lock *o, *next;
    list_for_each_safe(o, next, dead, node) {
        list_remove(&o->node);
        kfree(o);
    }
}

// Would waiting for `blocker` make `owner` wait for itself? lock_lock held.
static bool deadlock(const void *owner, const void *blocker) {
    struct lock_wait *w;
    for (unsigned steps = 0; steps < 64; steps++) {
        if (blocker == owner)
            return true;
        const void *next = NULL;
        list_for_each (w, &waits, node) {
            if (w->owner == blocker) {
                next = w->blocker;
                break;
            }
        }
        if (!next)
            return false;
        blocker = next;
    }
    return false;
}

// Grants `want` if nobody is in the way. 0 (it took over fresh[0] and perhaps fresh[1], which are
// then NULL) or -EAGAIN with *blocker set.
static int try_set(struct inode_locks *l, const struct lock *want, struct lock **fresh,
                   const void **blocker) {
    struct list_node dead = LIST_INIT(dead);
    spin_lock(&lock_lock);
    struct lock *c = conflict(l, want);
    if (c) {
        *blocker = c->owner;
        spin_unlock(&lock_lock);
        return -EAGAIN;
    }
    fresh[1] = carve(l, want, fresh[1], &dead);
    *fresh[0] = *want;
    link_lock(l, fresh[0]);
    merge(l, fresh[0], &dead);
    fresh[0] = NULL;
    spin_unlock(&lock_lock);
    // A weaker or shorter lock than before may let others in.
    waitq_wake(&l->changed, 0);
    free_all(&dead);
    return 0;
}

static bool is_blocked(struct inode_locks *l, const struct lock *want) {
    spin_lock(&lock_lock);
    bool blocked = conflict(l, want);
    spin_unlock(&lock_lock);
    return blocked;
}

// Waits until `want` may be granted, as the caller sees it now. 0, -EDEADLK, -ERESTARTSYS.
static int wait_for(struct inode_locks *l, const struct lock *want, const void *blocker) {
    struct lock_wait w = {.owner = want->owner, .blocker = blocker};
    spin_lock(&lock_lock);
    if (!want->flock && deadlock(want->owner, blocker)) {
        spin_unlock(&lock_lock);
        return -EDEADLK;
    }
    list_add_tail(&waits, &w.node);
    spin_unlock(&lock_lock);
    int err = wait_event_interruptible(&l->changed, !is_blocked(l, want));
    spin_lock(&lock_lock);
    list_remove(&w.node);
    spin_unlock(&lock_lock);
    return err;
}

static int unset_lock(struct inode *i, const struct lock *range) {
    struct inode_locks *l = __atomic_load_n(&i->locks, __ATOMIC_ACQUIRE);
    struct list_node dead = LIST_INIT(dead);
    if (!l)
        return 0;
    struct lock *spare = kmalloc(sizeof(*spare));
    if (!spare)
        return -ENOMEM;
    spin_lock(&lock_lock);
    spare = carve(l, range, spare, &dead);
    spin_unlock(&lock_lock);
    waitq_wake(&l->changed, 0);
    free_all(&dead);
    kfree(spare);
    return 0;
}

static int set_lock(struct inode *i, const struct lock *want, bool wait) {
    struct inode_locks *l = inode_locks(i);
    struct lock *fresh[2] = {kmalloc(sizeof(struct lock)), kmalloc(sizeof(struct lock))};
    const void *blocker;
    int err = l && fresh[0] && fresh[1] ? -EAGAIN : -ENOMEM;
    while (err == -EAGAIN) {
        err = try_set(l, want, fresh, &blocker);
        // As in Linux, a flock() that has to wait gives up the one that it would change: two that
        // both want to go from shared to exclusive must not wait for each other.
        if (err == -EAGAIN && want->flock)
            unset_lock(i, want);
        if (err != -EAGAIN || !wait)
            break;
        err = wait_for(l, want, blocker);
        if (!err)
            err = -EAGAIN; // try again
    }
    kfree(fresh[0]);
    kfree(fresh[1]);
    return err;
}

// The range of a struct flock in bytes of the file. 0, -EINVAL, -EOVERFLOW.
static int flock_range(struct file *f, const struct flock *u, struct lock *out) {
    int64_t base = u->l_whence == SEEK_SET   ? 0
                   : u->l_whence == SEEK_CUR ? (int64_t)f->pos
                   : u->l_whence == SEEK_END ? (int64_t)f->inode->size
                                             : -1;
    int64_t start, end;
    if (base < 0)
        return -EINVAL;
    if (__builtin_add_overflow(base, u->l_start, &start))
        return -EOVERFLOW;
    if (u->l_len > 0) {
        if (__builtin_add_overflow(start, u->l_len - 1, &end))
            return -EOVERFLOW;
    } else if (u->l_len == 0) {
        end = LAST_BYTE;
    } else { // the bytes before
        end = start - 1;
        if (__builtin_add_overflow(start, u->l_len, &start))
            return -EINVAL;
    }
    if (start < 0)
        return -EINVAL;
    out->start = start;
    out->end = end;
    return 0;
}

// F_GETLK: tells who is in the way, or says F_UNLCK.
static int test_lock(struct inode *i, const struct lock *want, struct flock *u) {
    struct inode_locks *l = __atomic_load_n(&i->locks, __ATOMIC_ACQUIRE);
    spin_lock(&lock_lock);
    struct lock *c = l ? conflict(l, want) : NULL;
    if (c) {
        u->l_type = c->exclusive ? F_WRLCK : F_RDLCK;
        u->l_whence = SEEK_SET;
        u->l_start = c->start;
        u->l_len = c->end == LAST_BYTE ? 0 : c->end - c->start + 1;
        u->l_pid = c->pid;
    } else {
        u->l_type = F_UNLCK;
    }
    spin_unlock(&lock_lock);
    return 0;
}

int lock_fcntl(struct file *f, unsigned cmd, struct flock *u) {
    bool ofd = cmd == F_OFD_GETLK || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW;
    struct lock want = {
        .inode = f->inode,
        .owner = ofd ? (void *)f : current_files(),
        .exclusive = u->l_type == F_WRLCK,
        .pid = ofd ? -1 : current_pid(),
    };
    if (ofd && u->l_pid)
        return -EINVAL;
    int err = flock_range(f, u, &want);
    if (err)
        return err;
    if (cmd == F_GETLK || cmd == F_OFD_GETLK)
        return u->l_type == F_RDLCK || u->l_type == F_WRLCK ? test_lock(f->inode, &want, u)
                                                            : -EINVAL;
    switch (u->l_type) {
    case F_UNLCK: return unset_lock(f->inode, &want);
    case F_RDLCK:
        if (!file_readable(f))
            return -EBADF;
        break;
    case F_WRLCK:
        if (!file_writable(f))
            return -EBADF;
        break;
    default: return -EINVAL;
    }
    if (ofd)
        f->locked = true;
    return set_lock(f->inode, &want, cmd == F_SETLKW || cmd == F_OFD_SETLKW);
}

int lock_flock(struct file *f, int op) {
    struct lock want = {.inode = f->inode,
                        .owner = f,
                        .flock = true,
                        .exclusive = (op & ~LOCK_NB) == LOCK_EX,
                        .pid = current_pid(),
                        .start = 0,
                        .end = LAST_BYTE};
    switch (op & ~LOCK_NB) {
    case LOCK_UN: return unset_lock(f->inode, &want);
    case LOCK_SH:
    case LOCK_EX: break;
    default: return -EINVAL;
    }
    f->locked = true;
    return set_lock(f->inode, &want, !(op & LOCK_NB));
}

// Drops every lock of an owner on one inode.
static void release(struct inode *i, const void *owner) {
    struct inode_locks *l = __atomic_load_n(&i->locks, __ATOMIC_ACQUIRE);
    struct list_node dead = LIST_INIT(dead);
    struct lock *o, *next;
    if (!l)
        return;
    spin_lock(&lock_lock);
    list_for_each_safe(o, next, &l->locks, node) {
        if (o->owner == owner) {
            unlink_lock(o);
            list_add_tail(&dead, &o->node);
        }
    }
    spin_unlock(&lock_lock);
    if (list_empty(&dead))
        return;
    waitq_wake(&l->changed, 0);
    free_all(&dead);
}

void locks_release_owner(struct inode *i, const void *owner) {
    if (__atomic_load_n(&i->locks, __ATOMIC_RELAXED))
        release(i, owner);
}

void locks_release_file(struct file *f) {
    release(f->inode, f);
}

void locks_free(struct inode *i) {
    if (!i->locks)
        return;
    ASSERT(list_empty(&i->locks->locks));
    kfree(i->locks);
}

void locks_show(struct textbuf *b) {
    struct lock *o;
    unsigned n = 0;
    spin_lock(&lock_lock);
    list_for_each (o, &all_locks, all_node) {
        text_printf(b, "%u: %s  ADVISORY  %s %d %02x:%02x:%lu %ld ", ++n,
                    o->flock     ? "FLOCK"
                    : o->pid < 0 ? "OFDLCK"
                                 : "POSIX ",
                    o->exclusive ? "WRITE" : "READ ", o->pid, (unsigned)(o->inode->sb->dev >> 8),
                    (unsigned)(o->inode->sb->dev & 0xff), o->inode->ino, o->start);
        if (o->end == LAST_BYTE)
            text_printf(b, "EOF\n");
        else
            text_printf(b, "%ld\n", o->end);
    }
    spin_unlock(&lock_lock);
}
