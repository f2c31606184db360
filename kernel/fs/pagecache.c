// The pages of files and block devices in memory: finding, reading, reclaim. Writing back is in
// writeback.c, the file operations are in pagecache_io.c, the tree of pages is in cachetree.c.
#include "fs/pagecache_internal.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/rmap.h"

// All caches whose pages can be dropped, in the order in which reclaim visits them.
static struct spinlock list_lock = SPINLOCK_INIT; // taken before a cache's lock
static struct list_node caches = LIST_INIT(caches);
static struct waitq page_ready = WAITQ_INIT(page_ready); // some page is no longer BUSY
static uint64_t ram_pages;

struct pagecache *pagecache_create(struct inode *i, const struct pagecache_ops *ops) {
    struct pagecache *c = kzalloc(sizeof(*c));
    if (!c)
        return NULL;
    c->inode = i;
    c->ops = ops;
    mutex_init(&c->writeback);
    list_init(&c->node);
    list_init(&c->dirty_node);
    if (ops->write_page || ops->read_page) {
        spin_lock(&list_lock);
        list_add_tail(&caches, &c->node);
        spin_unlock(&list_lock);
    }
    return c;
}

static void count(struct pagecache *c, int64_t pages) {
    if (!c->ops->write_page && !c->ops->read_page)
        __atomic_fetch_add(&ram_pages, pages, __ATOMIC_RELAXED);
    if (pages < 0 && c->ops->charge)
        c->ops->charge(c->inode, pages);
}

uint64_t pagecache_ram_pages(void) {
    return READ_ONCE(ram_pages);
}

// Takes a page that left the tree from its mappings and frees it.
static void discard(struct pagecache *c, struct frame *f) {
    f->owner = NULL;
    if (rmap_mapped(f))
        rmap_unmap_all(f);
    frame_put(f);
    count(c, -1);
}

static bool is_busy(struct pagecache *c, uint64_t index) {
    spin_lock(&c->lock);
    uintptr_t *slot = cachetree_find(c, index);
    bool busy = slot && (*slot & PAGE_BUSY);
    spin_unlock(&c->lock);
    return busy;
}

void pagecache_truncate(struct pagecache *c, uint64_t size) {
    uint64_t index = DIV_ROUND_UP(size, PAGE_SIZE), cut = size % PAGE_SIZE;
    struct frame *f;
    mutex_lock(&c->writeback);
    for (;;) {
        spin_lock(&c->lock);
        uintptr_t *slot = cachetree_next(c, &index);
        bool busy = slot && (*slot & PAGE_BUSY);
        f = NULL;
        if (slot && !busy) {
            f = page_frame(*slot);
            pagecache_set_dirty(c, slot, false);
            *slot = 0;
            c->pages--;
        }
        spin_unlock(&c->lock);
        if (!slot)
            break;
        if (busy)
            wait_event(&page_ready, !is_busy(c, index));
        else
            discard(c, f);
        cond_resched();
    }
    if (!size)
        cachetree_free(c);
    mutex_unlock(&c->writeback);
    if (!cut)
        return;
    // What lies behind the end must read as zero when the file grows again.
    f = c->ops->read_page ? NULL : pagecache_find(c, size / PAGE_SIZE);
    if (!f && (!c->ops->read_page || pagecache_get(c, size / PAGE_SIZE, &f)))
        return;
    memset((char *)frame_virt(f) + cut, 0, PAGE_SIZE - cut);
    pagecache_dirty(c, size / PAGE_SIZE);
    frame_put(f);
}

void pagecache_destroy(struct pagecache *c) {
    pagecache_truncate(c, 0);
    spin_lock(&list_lock);
    list_remove(&c->node);
    spin_unlock(&list_lock);
    kfree(c);
}

struct frame *pagecache_find(struct pagecache *c, uint64_t index) {
    struct frame *f = NULL;
    spin_lock(&c->lock);
    uintptr_t *slot = cachetree_find(c, index);
    if (slot && *slot && !(*slot & PAGE_BUSY)) {
        *slot |= PAGE_REFERENCED;
        f = page_frame(*slot);
        frame_get(f);
    }
    spin_unlock(&c->lock);
    return f;
}

// Puts a new frame into the tree. 0, -EEXIST (somebody was faster) or -ENOMEM.
static int insert(struct pagecache *c, uint64_t index, struct frame *f, uintptr_t flags) {
    int err = 0;
    f->owner = c;
    f->index = index;
    spin_lock(&c->lock);
    uintptr_t *slot = cachetree_make(c, index);
    if (!slot) {
        err = -ENOMEM;
    } else if (*slot) {
        err = -EEXIST;
    } else {
        *slot = (uintptr_t)f | flags;
        c->pages++;
    }
    spin_unlock(&c->lock);
    return err;
}

// Reads a page that is in the tree as BUSY and makes it usable, or takes it out again.
static int read_in(struct pagecache *c, uint64_t index, struct frame *f) {
    int err = c->ops->read_page(c->inode, index, f);
    spin_lock(&c->lock);
    uintptr_t *slot = cachetree_find(c, index);
    ASSERT(slot && page_frame(*slot) == f);
    if (err) {
        *slot = 0;
        c->pages--;
    } else {
        *slot &= ~(uintptr_t)PAGE_BUSY;
    }
    spin_unlock(&c->lock);
    waitq_wake(&page_ready, 0);
    if (err)
        discard(c, f);
    return err;
}

// Makes the page, with its content when `read`. 0, -EEXIST or an error. *out: with a reference.
static int make(struct pagecache *c, uint64_t index, bool read, struct frame **out) {
    int err = c->ops->charge ? c->ops->charge(c->inode, 1) : 0;
    if (err)
        return err;
    struct frame *f = frame_alloc(0, read ? 0 : FRAME_ZERO, FRAME_CACHE);
    if (!f) {
        if (c->ops->charge)
            c->ops->charge(c->inode, -1);
        return -ENOMEM;
    }
    frame_get(f); // one for the tree, one for the caller
    err = insert(c, index, f, read ? PAGE_BUSY | PAGE_REFERENCED : PAGE_REFERENCED);
    if (err) {
        f->owner = NULL;
        frame_put(f);
        frame_put(f);
        if (c->ops->charge)
            c->ops->charge(c->inode, -1);
        return err;
    }
    if (!c->ops->write_page && !c->ops->read_page)
        __atomic_fetch_add(&ram_pages, 1, __ATOMIC_RELAXED);
    if (read && (err = read_in(c, index, f)))
        frame_put(f);
    *out = f;
    return err;
}

int pagecache_get_page(struct pagecache *c, uint64_t index, bool need_content, struct frame **out) {
    for (;;) {
        *out = pagecache_find(c, index);
        if (*out)
            return 0;
        int err = make(c, index, need_content && c->ops->read_page, out);
        if (err != -EEXIST)
            return err;
        wait_event(&page_ready, !is_busy(c, index));
    }
}

int pagecache_get(struct pagecache *c, uint64_t index, struct frame **out) {
    return pagecache_get_page(c, index, true, out);
}

// Frees up to n clean unused pages of one cache, second chance for those used since the last visit.
static size_t reclaim_cache(struct pagecache *c, size_t n) {
    size_t freed = 0, seen = 0;
    spin_lock(&c->lock);
    uintptr_t *slot;
    while (freed < n && seen < 256 && (slot = cachetree_next(c, &c->clock_hand))) {
        struct frame *f = page_frame(*slot);
        seen++;
        c->clock_hand++;
        if (*slot & PAGE_REFERENCED) {
            *slot &= ~(uintptr_t)PAGE_REFERENCED;
        } else if (!(*slot & (PAGE_BUSY | PAGE_DIRTY)) &&
                   __atomic_load_n(&f->refs, __ATOMIC_ACQUIRE) == 1) {
            *slot = 0;
            c->pages--;
            f->owner = NULL;
            frame_put(f);
            freed++;
        }
    }
    if (freed < n && seen < 256)
        c->clock_hand = 0;
    spin_unlock(&c->lock);
    return freed;
}

size_t pagecache_reclaim(size_t n) {
    size_t freed = 0, rounds = 0;
    spin_lock(&list_lock);
    struct pagecache *c;
    size_t total = 0;
    list_for_each (c, &caches, node)
        total += 2 + c->pages / 128; // enough visits to see every page twice
    spin_unlock(&list_lock);
    while (freed < n && rounds++ < total) {
        spin_lock(&list_lock); // keeps c from being destroyed
        c = list_first(&caches, struct pagecache, node);
        if (c) {
            list_remove(&c->node);
            list_add_tail(&caches, &c->node);
            if (c->pages)
                freed += reclaim_cache(c, n - freed);
        }
        spin_unlock(&list_lock);
    }
    return freed;
}
