// Inodes in memory: their life, their times, their size.
#include "fs/inode.h"
#include "cpu/clock.h"
#include "fs/lock.h"
#include "fs/pagecache.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "proc/limits.h"

#define BUCKETS 1024u

// Covers sb->inodes, the hash, ->evicting, and the step of ->refs from 1 to 0.
static struct spinlock inode_list_lock = SPINLOCK_INIT;
static struct list_node buckets[BUCKETS];
static struct waitq evicted = WAITQ_INIT(evicted);

static struct list_node *bucket(const struct superblock *sb, uint64_t ino) {
    struct list_node *head = &buckets[(((uint64_t)sb >> 6) + ino) % BUCKETS];
    if (!head->next)
        list_init(head);
    return head;
}

struct inode *inode_alloc(struct superblock *sb, uint64_t ino, uint32_t mode) {
    struct inode *i = kzalloc(sizeof(*i));
    if (!i)
        return NULL;
    i->refs = 1;
    i->ino = ino;
    i->mode = mode;
    i->nlink = 1;
    i->sb = sb;
    i->atime = i->mtime = i->ctime = clock_realtime();
    mutex_init(&i->lock);
    spin_lock(&inode_list_lock);
    list_add_tail(&sb->inodes, &i->sb_node);
    list_add_head(bucket(sb, ino), &i->hash);
    spin_unlock(&inode_list_lock);
    return i;
}

// Looks in the hash. Sets *busy when there is one that is just being evicted. Lock held.
static struct inode *find_locked(struct superblock *sb, uint64_t ino, bool *busy) {
    struct inode *i;
    *busy = false;
    list_for_each (i, bucket(sb, ino), hash) {
        if (i->ino != ino || i->sb != sb)
            continue;
        *busy = i->evicting;
        return i->evicting ? NULL : i;
    }
    return NULL;
}

static bool still_evicting(struct superblock *sb, uint64_t ino) {
    bool busy;
    spin_lock(&inode_list_lock);
    find_locked(sb, ino, &busy);
    spin_unlock(&inode_list_lock);
    return busy;
}

struct inode *inode_find(struct superblock *sb, uint64_t ino) {
    for (;;) {
        bool busy;
        spin_lock(&inode_list_lock);
        struct inode *i = find_locked(sb, ino, &busy);
        if (i)
            inode_get(i);
        spin_unlock(&inode_list_lock);
        if (!busy)
            return i;
        wait_event(&evicted, !still_evicting(sb, ino));
    }
}

void inode_get(struct inode *i) {
    __atomic_fetch_add(&i->refs, 1, __ATOMIC_RELAXED);
}

static void evict(struct inode *i) {
    if (i->cache) {
        if (i->nlink)
            pagecache_sync(i->cache);
        else
            pagecache_truncate(i->cache, 0);
    }
    if (i->ops && i->ops->evict)
        i->ops->evict(i);
    if (i->cache)
        pagecache_destroy(i->cache);
    locks_free(i);
    spin_lock(&inode_list_lock);
    list_remove(&i->sb_node);
    list_remove(&i->hash);
    spin_unlock(&inode_list_lock);
    waitq_wake(&evicted, 0);
    kfree(i);
}

void inode_put(struct inode *i) {
    uint32_t refs = __atomic_load_n(&i->refs, __ATOMIC_RELAXED);
    while (refs > 1)
        if (__atomic_compare_exchange_n(&i->refs, &refs, refs - 1, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            return;
    spin_lock(&inode_list_lock);
    bool last = !__atomic_sub_fetch(&i->refs, 1, __ATOMIC_ACQ_REL);
    if (last)
        i->evicting = true;
    spin_unlock(&inode_list_lock);
    if (last)
        evict(i);
}

bool inode_tryget(struct inode *i) {
    uint32_t refs = __atomic_load_n(&i->refs, __ATOMIC_RELAXED);
    while (refs)
        if (__atomic_compare_exchange_n(&i->refs, &refs, refs + 1, true, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
    return false;
}

int inode_changed(struct inode *i) {
    return i->ops && i->ops->changed ? i->ops->changed(i) : 0;
}

void inode_accessed(struct inode *i) {
    const uint64_t day = 86400 * NSEC_PER_SEC;
    if (i->sb->read_only)
        return;
    if (i->atime > i->mtime && i->atime > i->ctime && clock_realtime() - i->atime < day)
        return;
    i->atime = clock_realtime();
    inode_changed(i);
}

void inode_modified(struct inode *i) {
    i->mtime = i->ctime = clock_realtime();
    inode_changed(i);
}

void inode_modified_names(struct inode *i) {
    i->ctime = clock_realtime();
}

int inode_truncate(struct inode *i, uint64_t size) {
    if (S_ISDIR(i->mode))
        return -EISDIR;
    if (!S_ISREG(i->mode) || !i->ops->truncate)
        return -EINVAL;
    if (i->sb->read_only)
        return -EROFS;
    if (size > i->size && size > 0) {
        ssize_t allowed = file_size_allowed(size - 1, 1);
        if (allowed < 0)
            return (int)allowed;
    }
    mutex_lock(&i->lock);
    int err = i->ops->truncate(i, size);
    if (!err)
        inode_modified(i);
    mutex_unlock(&i->lock);
    return err;
}

// One more on the side of `step` (1 writers, -1 executions), if nobody is on the other one.
static int count_use(struct inode *i, int step) {
    int old = READ_ONCE(i->writers);
    do {
        if (old * step < 0)
            return -ETXTBSY;
    } while (!__atomic_compare_exchange_n(&i->writers, &old, old + step, true, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED));
    return 0;
}

int inode_begin_write(struct inode *i) {
    return count_use(i, 1);
}
void inode_end_write(struct inode *i) {
    __atomic_fetch_sub(&i->writers, 1, __ATOMIC_RELEASE);
}
int inode_begin_exec(struct inode *i) {
    return count_use(i, -1);
}
void inode_end_exec(struct inode *i) {
    __atomic_fetch_add(&i->writers, 1, __ATOMIC_RELEASE);
}

int inode_may_exec(const struct inode *i) {
    return S_ISREG(i->mode) && (i->mode & 0111) ? 0 : -EACCES;
}
