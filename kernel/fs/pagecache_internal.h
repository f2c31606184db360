// What the files of the page cache share.
#pragma once
#include "fs/pagecache.h"
#ifdef UNIT_TEST // the scheduler's headers do not go together with a C library's
struct world;
void cond_resched(void);
int world_sleep_until(uint64_t monotonic_ns);
struct world *world_create_kernel(const char *name, void (*fn)(void *arg), void *arg);
#else
#include "sched/world.h"
#endif
#include "sync/waitq.h"

// A slot of the tree is 0 or the address of a struct frame (at least 8-byte aligned) with flags.
#define PAGE_DIRTY      1u // to be written back
#define PAGE_REFERENCED 2u // used since reclaim came by
#define PAGE_BUSY       4u // being read: content not valid yet, wait
#define PAGE_FLAGS      7u

static inline struct frame *page_frame(uintptr_t slot) {
    return (struct frame *)(slot & ~(uintptr_t)PAGE_FLAGS);
}

struct pagecache {
    struct inode *inode; // no reference: the inode owns the cache
    const struct pagecache_ops *ops;
    struct spinlock lock; // the tree and all below
    unsigned height;      // levels of the tree; 0: root is the slot of page 0
    uintptr_t root;
    uint64_t pages, dirty;       // in the tree; of those dirty
    uint64_t clock_hand;         // where reclaim goes on
    struct list_node node;       // of all caches; pagecache.c's list_lock
    struct list_node dirty_node; // of caches with dirty pages; writeback.c's dirty_lock
    int error;                   // of a write-back that nobody has been told of yet
    struct mutex writeback;      // held while pages are written back or dropped by truncate
};

// The tree from page numbers to slots (cachetree.c). With c->lock held; none sleeps.
// The slot of a page, or NULL when the tree has no place for it.
uintptr_t *cachetree_find(struct pagecache *c, uint64_t index);
// The same, making the place. NULL: out of memory.
uintptr_t *cachetree_make(struct pagecache *c, uint64_t index);
// The first used slot at or behind *index, which is set to its number; NULL: none.
uintptr_t *cachetree_next(struct pagecache *c, uint64_t *index);
// Frees the nodes of an empty tree. Takes c->lock itself.
void cachetree_free(struct pagecache *c);

// Marks a used slot dirty or clean and keeps the lists. c->lock held.
void pagecache_set_dirty(struct pagecache *c, uintptr_t *slot, bool dirty);
// As pagecache_get(); without need_content a page that is not there starts zeroed and is not read.
int pagecache_get_page(struct pagecache *c, uint64_t index, bool need_content, struct frame **out);
// A writer made pages dirty: when there are too many in all, writes its own back.
void pagecache_throttle(struct pagecache *c);
