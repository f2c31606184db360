// The pages of a file or block device that are in memory; read(), write(), mmap() and exec share them.
#pragma once
#include "fs/inode.h"
#include "mm/frame.h"

struct pagecache_ops {
    // Fills a new frame with page `index` from the device. NULL: pages start zeroed (RAM files).
    int (*read_page)(struct inode *i, uint64_t index, struct frame *f);
    // Writes `n` bytes of a dirty page back. NULL: memory is the store; pages are never dropped.
    int (*write_page)(struct inode *i, uint64_t index, struct frame *f, size_t n);
};

struct pagecache *pagecache_create(struct inode *i, const struct pagecache_ops *ops); // NULL: no memory
void pagecache_destroy(struct pagecache *c);
// The frame of a page, read in if need be, with a reference. May sleep. 0, -EIO, -ENOMEM.
int pagecache_get(struct pagecache *c, uint64_t index, struct frame **out);
// The content was changed: write back later. Any context that may sleep.
void pagecache_dirty(struct pagecache *c, uint64_t index);
// Writes dirty pages back and waits for them. 0 or the first -errno.
int pagecache_sync(struct pagecache *c);
// Drops pages from `size` on, zeroes the tail of the page that holds it.
void pagecache_truncate(struct pagecache *c, uint64_t size);
// Gives up to `n` clean unmapped pages back to the allocator; returns how many. (memory reclaim)
size_t pagecache_reclaim(size_t n);
// Ready-made file operations for page-cached inodes.
ssize_t pagecache_read(struct file *f, struct uio *u, uint64_t *pos);
ssize_t pagecache_write(struct file *f, struct uio *u, uint64_t *pos); // extends i->size
int pagecache_mmap(struct file *f, struct region *r);
