// read(), write() and mmap() of files that are kept in the page cache.
#include "fs/pagecache_internal.h"
#include "lib/errno.h"
#include "mm/space.h"
#include "proc/limits.h"

ssize_t pagecache_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct inode *i = f->inode;
    struct pagecache *c = i->cache;
    ssize_t done = 0;
    while (u->resid) {
        uint64_t size = READ_ONCE(i->size), at = *pos;
        if (at >= size)
            break;
        size_t offset = at % PAGE_SIZE, n = MIN(u->resid, size - at);
        n = MIN(n, PAGE_SIZE - offset);
        struct frame *frame = pagecache_find(c, at / PAGE_SIZE);
        if (!frame && c->ops->read_page) {
            int err = pagecache_get(c, at / PAGE_SIZE, &frame);
            if (err)
                return done ? done : err;
        }
        ssize_t moved;
        if (frame) {
            moved = uio_write_out(u, (char *)frame_virt(frame) + offset, n);
            frame_put(frame);
        } else {
            moved = uio_zero(u, n); // a hole of a RAM file
        }
        if (moved < 0)
            return done ? done : moved;
        *pos = at + moved;
        done += moved;
        if ((size_t)moved < n)
            break;
        cond_resched();
    }
    if (done)
        inode_accessed(i);
    return done;
}

// Writes within one page at `at`, with i->lock held. Bytes or -errno.
static ssize_t write_part(struct inode *i, struct uio *u, uint64_t at, size_t n) {
    struct pagecache *c = i->cache;
    uint64_t index = at / PAGE_SIZE;
    size_t offset = at % PAGE_SIZE;
    struct frame *frame;
    int err = c->ops->prepare_write ? c->ops->prepare_write(i, index) : 0;
    if (!err) // what is behind the end does not exist anywhere yet
        err = pagecache_get_page(c, index, ROUND_DOWN(at, PAGE_SIZE) < i->size, &frame);
    if (err)
        return err;
    ssize_t moved = uio_read_in(u, (char *)frame_virt(frame) + offset, n);
    if (moved > 0) {
        pagecache_dirty(c, index);
        if (at + moved > i->size)
            WRITE_ONCE(i->size, at + moved);
    }
    frame_put(frame);
    return moved;
}

ssize_t pagecache_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct inode *i = f->inode;
    ssize_t done = 0, err = 0;
    mutex_lock(&i->lock);
    uint64_t at = (f->flags & O_APPEND) ? i->size : *pos;
    if (S_ISREG(i->mode) && u->resid && (err = file_size_allowed(at, u->resid)) >= 0)
        u->resid = err;
    while (u->resid && err >= 0) {
        size_t n = MIN(PAGE_SIZE - at % PAGE_SIZE, u->resid);
        if (S_ISBLK(i->mode)) // a device does not grow
            n = at < i->size ? MIN(n, i->size - at) : 0;
        if (!n || at > INT64_MAX - n) {
            err = S_ISBLK(i->mode) ? -ENOSPC : -EFBIG;
            break;
        }
        err = write_part(i, u, at, n);
        if (err < 0)
            break;
        at += err;
        done += err;
        if ((size_t)err < n)
            break;
        cond_resched();
    }
    if (done) {
        *pos = at;
        inode_modified(i);
    }
    mutex_unlock(&i->lock);
    if (done)
        pagecache_throttle(i->cache);
    return done ? done : err;
}

static int region_page(struct region *r, uint64_t index, bool write, struct frame **out) {
    struct inode *i = r->file->inode;
    if (index >= DIV_ROUND_UP(READ_ONCE(i->size), PAGE_SIZE))
        return -EFAULT;
    int err = pagecache_get(i->cache, index, out);
    if (err || !write)
        return err;
    if (i->cache->ops->prepare_write)
        err = i->cache->ops->prepare_write(i, index);
    if (err) {
        frame_put(*out);
        return err == -ENOMEM ? err : -EIO;
    }
    pagecache_dirty(i->cache, index);
    return 0;
}

static struct frame *region_peek(struct region *r, uint64_t index) {
    struct inode *i = r->file->inode;
    if (index >= DIV_ROUND_UP(READ_ONCE(i->size), PAGE_SIZE))
        return NULL;
    return pagecache_find(i->cache, index);
}

static const struct region_ops region_ops = {.fault = region_page, .peek = region_peek};

int pagecache_mmap(struct file *f, struct region *r) {
    if (!file_readable(f))
        return -EACCES;
    r->ops = &region_ops;
    return 0;
}
