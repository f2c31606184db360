// The pages of a file or block device that are in memory; read(), write(), mmap() and exec share them.
#pragma once
#include "fs/inode.h"
#include "mm/frame.h"

struct pagecache_ops {
    // Fills a new frame with page `index` from the device. NULL: pages start zeroed (RAM files).
    int (*read_page)(struct inode *i, uint64_t index, struct frame *f);
    // Writes `n` bytes of a dirty page back. NULL: memory is the store; pages are never dropped.
    // Called without i->lock, one call at a time per cache; must not take i->lock.
    int (*write_page)(struct inode *i, uint64_t index, struct frame *f, size_t n);
    // Optional: a page is about to become dirty, find room for it. 0, -ENOSPC, -EIO. Called with
    // i->lock held by write(), without it by a write to a shared mapping.
    int (*prepare_write)(struct inode *i, uint64_t index);
    // Optional: `pages` more (or fewer) are kept in memory. 0 or -ENOSPC; giving back never fails.
    int (*charge)(struct inode *i, int64_t pages);
};

struct pagecache;

struct pagecache *pagecache_create(struct inode *i,
                                   const struct pagecache_ops *ops); // NULL: no memory
void pagecache_destroy(struct pagecache *c);
// The frame of a page, read in if need be, with a reference. May sleep. 0, -EIO, -ENOMEM.
int pagecache_get(struct pagecache *c, uint64_t index, struct frame **out);
// The frame of a page if it is in memory, with a reference, else NULL. Any context.
struct frame *pagecache_find(struct pagecache *c, uint64_t index);
// The content was changed: write back later. Any context that may sleep.
void pagecache_dirty(struct pagecache *c, uint64_t index);
// Writes dirty pages back and waits for them. 0 or the first -errno.
int pagecache_sync(struct pagecache *c);
// Drops pages from `size` on, zeroes the tail of the page that holds it.
void pagecache_truncate(struct pagecache *c, uint64_t size);
// Gives up to `n` clean unmapped pages back to the allocator; returns how many. (memory reclaim)
size_t pagecache_reclaim(size_t n);
// Writes back every dirty page of every cache (sync). 0 or the first -errno. May sleep.
int pagecache_sync_all(void);
// Starts the kernel world that writes back dirty pages every few seconds. Boot.
void pagecache_start_writeback(void);
// Pages that no reclaim can drop (RAM files), for /proc/meminfo.
uint64_t pagecache_ram_pages(void);
// Pages that wait for being written back.
uint64_t pagecache_dirty_pages(void);
// Ready-made file operations for page-cached inodes.
ssize_t pagecache_read(struct file *f, struct uio *u, uint64_t *pos);
ssize_t pagecache_write(struct file *f, struct uio *u, uint64_t *pos); // extends i->size
int pagecache_mmap(struct file *f, struct region *r);
