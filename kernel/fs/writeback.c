// Dirty pages: which caches have them, writing them back, now and in the background.
#include "fs/pagecache_internal.h"
#include "cpu/clock.h"
#include "fs/procfs.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "mm/rmap.h"

#define INTERVAL (5 * NSEC_PER_SEC)

static struct spinlock dirty_lock = SPINLOCK_INIT; // taken after a cache's lock
static struct list_node dirty_caches = LIST_INIT(dirty_caches);
static uint64_t dirty_pages; // in all; atomic

void pagecache_set_dirty(struct pagecache *c, uintptr_t *slot, bool dirty) {
    if (dirty == (*slot & PAGE_DIRTY))
        return;
    *slot ^= PAGE_DIRTY;
    c->dirty += dirty ? 1 : -1;
    __atomic_fetch_add(&dirty_pages, dirty ? 1 : -1, __ATOMIC_RELAXED);
    if (c->dirty != (dirty ? 1 : 0))
        return;
    spin_lock(&dirty_lock);
    if (dirty)
        list_add_tail(&dirty_caches, &c->dirty_node);
    else
        list_remove(&c->dirty_node);
    spin_unlock(&dirty_lock);
}

void pagecache_dirty(struct pagecache *c, uint64_t index) {
    if (!c->ops->write_page)
        return;
    spin_lock(&c->lock);
    uintptr_t *slot = cachetree_find(c, index);
    if (slot && *slot)
        pagecache_set_dirty(c, slot, true);
    spin_unlock(&c->lock);
}

// The next dirty page at or behind *index, marked clean, with a reference; NULL: none.
static struct frame *take_dirty(struct pagecache *c, uint64_t *index) {
    struct frame *f = NULL;
    uintptr_t *slot;
    spin_lock(&c->lock);
    for (unsigned seen = 0; c->dirty && (slot = cachetree_next(c, index)); ++*index) {
        if (*slot & PAGE_DIRTY) {
            f = page_frame(*slot);
            frame_get(f);
            pagecache_set_dirty(c, slot, false);
            break;
        }
        if (++seen % 512 == 0) { // let interrupts in
            spin_unlock(&c->lock);
            spin_lock(&c->lock);
        }
    }
    spin_unlock(&c->lock);
    return f;
}

int pagecache_sync(struct pagecache *c) {
    struct frame *f;
    int result = 0;
    if (!c->ops->write_page)
        return 0;
    mutex_lock(&c->writeback);
    for (uint64_t index = 0; (f = take_dirty(c, &index)); index++) {
        // From here on a write through a mapping faults and marks the page dirty again.
        if (rmap_mapped(f))
            rmap_write_protect(f);
        uint64_t size = READ_ONCE(c->inode->size), at = index * PAGE_SIZE;
        int err = 0;
        if (at < size)
            err = c->ops->write_page(c->inode, index, f, MIN(PAGE_SIZE, size - at));
        if (err) {
            pagecache_dirty(c, index);
            result = result ? result : err;
        }
        frame_put(f);
        cond_resched();
    }
    mutex_unlock(&c->writeback);
    return result;
}

// Takes the first dirty cache, with a reference to its inode, and puts it last. NULL: none, or it is
// just being evicted, which writes it back as well.
static struct inode *next_dirty(void) {
    struct inode *i = NULL;
    spin_lock(&dirty_lock);
    struct pagecache *c = list_first(&dirty_caches, struct pagecache, dirty_node);
    if (c) {
        list_remove(&c->dirty_node);
        list_add_tail(&dirty_caches, &c->dirty_node);
        if (inode_tryget(c->inode))
            i = c->inode;
    }
    spin_unlock(&dirty_lock);
    return i;
}

int pagecache_sync_all(void) {
    struct list_node *n;
    unsigned count = 0;
    int result = 0;
    spin_lock(&dirty_lock);
    for (n = dirty_caches.next; n != &dirty_caches; n = n->next)
        count++;
    spin_unlock(&dirty_lock);
    while (count--) {
        struct inode *i = next_dirty();
        if (!i)
            continue;
        int err = pagecache_sync(i->cache);
        result = result ? result : err;
        inode_put(i);
    }
    return result;
}

void pagecache_throttle(struct pagecache *c) {
    if (!c->dirty)
        return;
    struct memory_stats m;
    if (READ_ONCE(dirty_pages) < 1024)
        return;
    memory_stats(&m);
    if (READ_ONCE(dirty_pages) > m.total / 8)
        pagecache_sync(c);
}

uint64_t pagecache_dirty_pages(void) {
    return READ_ONCE(dirty_pages);
}

static void writeback_world(void *arg) {
    uint64_t next = clock_monotonic();
    int last_error = 0;
    for (;;) {
        next += INTERVAL;
        world_sleep_until(next);
        loadavg_sample();
        if (!READ_ONCE(dirty_pages))
            continue;
        int err = pagecache_sync_all();
        if (err && err != last_error)
            log_error("fs: write-back failed, error %d; the data stays in memory", -err);
        last_error = err;
    }
}

void pagecache_start_writeback(void) {
    if (!world_create_kernel("writeback", writeback_world, NULL))
        panic("fs: no memory for the writeback world");
}
