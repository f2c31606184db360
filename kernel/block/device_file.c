// Open files of /dev/hda and the like: reading, writing, mapping and controlling a block device
// through its page cache.
#include <linux/fs.h>
#include "block/block.h"
#include "mm/space.h"
#include "mm/uaccess.h"
#include "proc/process.h"

static bool may_write(const struct file *f) {
    return (f->flags & O_ACCMODE) != O_RDONLY;
}

static int device_open(struct inode *i, struct file *f) {
    return block_opened(dev_data(f), may_write(f));
}

static void device_release(struct file *f) {
    block_closed(dev_data(f), may_write(f));
}

// A mounted device: its page cache belongs to the file system, so the disk itself is read.
static ssize_t read_mounted(struct block_device *d, struct uio *u, uint64_t *pos) {
    char *page = pages_alloc(0);
    if (!page)
        return -ENOMEM;
    size_t done = 0;
    ssize_t moved = 0;
    while (u->resid > 0 && *pos < d->inode->size) {
        uint64_t first = ROUND_DOWN(*pos, PAGE_SIZE), offset = *pos % PAGE_SIZE;
        size_t present = MIN(PAGE_SIZE, d->inode->size - first);
        moved = block_read(d, first / SECTOR_SIZE, present / SECTOR_SIZE, page);
        if (moved == 0)
            moved = uio_write_out(u, page + offset, present - offset);
        if (moved <= 0)
            break;
        *pos += moved;
        done += moved;
    }
    pages_free(page);
    return done ? (ssize_t)done : moved;
}

// Moves bytes between the caller and the pages from *pos on, up to the end of the device.
static ssize_t device_move(struct block_device *d, struct uio *u, uint64_t *pos, bool write) {
    struct inode *i = d->inode;
    size_t done = 0;
    while (u->resid > 0 && *pos < i->size) {
        uint64_t index = *pos / PAGE_SIZE, offset = *pos % PAGE_SIZE;
        size_t n = MIN(PAGE_SIZE - offset, i->size - *pos);
        n = MIN(n, u->resid);
        struct frame *page;
        ssize_t moved = pagecache_get(i->cache, index, &page);
        if (moved == 0) {
            char *data = (char *)frame_virt(page) + offset;
            moved = write ? uio_read_in(u, data, n) : uio_write_out(u, data, n);
            if (write && moved > 0)
                pagecache_dirty(i->cache, index);
            frame_put(page);
        }
        if (moved <= 0)
            return done ? (ssize_t)done : moved;
        *pos += moved;
        done += moved;
    }
    return done;
}

static ssize_t device_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct block_device *d = dev_data(f);
    return READ_ONCE(d->claimed) ? read_mounted(d, u, pos) : device_move(d, u, pos, false);
}

static ssize_t device_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct block_device *d = dev_data(f);
    if (u->resid > 0 && *pos >= d->inode->size)
        return -ENOSPC;
    ssize_t n = device_move(d, u, pos, true);
    if (n > 0 && (f->flags & (O_SYNC | O_DSYNC))) {
        int err = pagecache_sync(d->inode->cache);
        return err ? err : (err = block_flush(d)) ? err : n;
    }
    return n;
}

static int64_t device_seek(struct file *f, int64_t offset, int whence) {
    struct block_device *d = dev_data(f);
    int64_t size = d->inode->size, base = 0;
    if (whence == SEEK_CUR)
        base = f->pos;
    else if (whence == SEEK_END)
        base = size;
    else if (whence != SEEK_SET)
        return -EINVAL;
    int64_t to;
    if (__builtin_add_overflow(base, offset, &to) || to < 0 || to > size)
        return -EINVAL;
    f->pos = to;
    return to;
}

static int device_fault(struct region *r, uint64_t index, bool write, struct frame **out) {
    struct block_device *d = dev_data(r->file);
    struct inode *i = d->inode;
    if (READ_ONCE(d->claimed) || index >= DIV_ROUND_UP(i->size, PAGE_SIZE))
        return -EFAULT;
    int err = pagecache_get(i->cache, index, out);
    if (!err && write)
        pagecache_dirty(i->cache, index);
    return err;
}

static const struct region_ops device_region_ops = {.fault = device_fault};

static int device_mmap(struct file *f, struct region *r) {
    r->ops = &device_region_ops;
    return 0;
}

static int device_fsync(struct file *f, bool data_only) {
    struct block_device *d = dev_data(f);
    int err = pagecache_sync(d->inode->cache);
    return err ? err : block_flush(d);
}

static int put_int(unsigned long to, int v) {
    return put_user(v, (int __user *)to);
}

static long device_ioctl(struct file *f, unsigned cmd, unsigned long arg) {
    struct block_device *d = dev_data(f);
    switch (cmd) {
    case BLKGETSIZE: return put_user((unsigned long)d->sectors, (unsigned long __user *)arg);
    case BLKGETSIZE64: return put_user(d->sectors * SECTOR_SIZE, (uint64_t __user *)arg);
    case BLKROGET: return put_int(arg, d->read_only);
    case BLKSSZGET:
    case BLKPBSZGET:
    case BLKIOMIN: return put_int(arg, SECTOR_SIZE);
    case BLKBSZGET: return put_int(arg, PAGE_SIZE);
    case BLKFLSBUF: return device_fsync(f, false);
    // Partitions are read at boot only.
    case BLKRRPART: return -EBUSY;
    default: return -ENOTTY;
    }
}

const struct file_ops block_file_ops = {
    .read = device_read,
    .write = device_write,
    .seek = device_seek,
    .ioctl = device_ioctl,
    .mmap = device_mmap,
    .fsync = device_fsync,
    .open = device_open,
    .release = device_release,
};
