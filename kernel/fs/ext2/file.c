// Regular files: data through the page cache, blocks allocated before a page becomes dirty, so that
// a full disk is noticed by write() and not later.
#include "cpu/clock.h"
#include "fs/ext2/ext2.h"
#include "fs/pagecache_internal.h"
#include "lib/string.h"
#include "proc/limits.h"

static int ext2_read_page(struct inode *i, uint64_t index, struct frame *f) {
    struct ext2_fs *fs = ext2_fs(i);
    struct ext2_inode *ei = ext2_inode(i);
    char *page = frame_virt(f);
    uint32_t per_page = PAGE_SIZE >> fs->block_shift, sectors = fs->block_size / SECTOR_SIZE;
    int err = 0;
    mutex_lock(&ei->map_lock);
    for (uint32_t k = 0; k < per_page && !err;) {
        uint64_t n = index * per_page + k;
        uint32_t block = 0, next, count = 1;
        if (n << fs->block_shift < i->size)
            err = ext2_map(i, n, MAP_FIND, &block);
        if (err)
            break;
        // Blocks that lie side by side are read in one go.
        while (block && k + count < per_page && (n + count) << fs->block_shift < i->size &&
               ext2_map(i, n + count, MAP_FIND, &next) == 0 && next == block + count)
            count++;
        char *to = page + (k << fs->block_shift);
        if (block)
            err = block_read(fs->dev, (uint64_t)block * sectors, count * sectors, to);
        else
            memset(to, 0, fs->block_size);
        k += count;
    }
    mutex_unlock(&ei->map_lock);
    // Behind the end of the file the last block may hold anything.
    uint64_t start = index * PAGE_SIZE;
    if (i->size < start + PAGE_SIZE) {
        size_t valid = i->size > start ? i->size - start : 0;
        memset(page + valid, 0, PAGE_SIZE - valid);
    }
    return err;
}

static bool all_zero(const char *p, size_t n) {
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

// Blocks were allocated by write() or prepare_write(); one that is missing was stored to through a
// mapping that was writable already when the file grew. A hole of zeroes stays a hole.
static int ext2_write_page(struct inode *i, uint64_t index, struct frame *f, size_t bytes) {
    struct ext2_fs *fs = ext2_fs(i);
    struct ext2_inode *ei = ext2_inode(i);
    char *page = frame_virt(f);
    uint32_t per_page = PAGE_SIZE >> fs->block_shift;
    uint32_t used = DIV_ROUND_UP(MIN(bytes, PAGE_SIZE), fs->block_size);
    uint32_t start = 0,
             count = 0; // run of adjacent blocks, its data ends before block k of the page
    int err = 0;
    bool allocated = false;
    mutex_lock(&ei->map_lock);
    for (uint32_t k = 0; k < used && !err; k++) {
        uint32_t block;
        char *from = page + (k << fs->block_shift);
        err = ext2_map(i, index * per_page + k, MAP_FIND, &block);
        if (!err && !block && !all_zero(from, fs->block_size)) {
            err = ext2_map(i, index * per_page + k, MAP_ALLOC_DATA, &block);
            allocated = true;
        }
        if (err || (count && block == start + count)) {
            count += !err;
            continue;
        }
        if (count)
            err = ext2_write_data(fs, start, count, from - (count << fs->block_shift));
        start = block;
        count = block ? 1 : 0;
    }
    if (count && !err)
        err = ext2_write_data(fs, start, count, page + ((used - count) << fs->block_shift));
    mutex_unlock(&ei->map_lock);
    if (allocated)
        ext2_write_inode(i);
    return err;
}

// Allocates the blocks that hold bytes [pos, pos + n).
static int allocate(struct inode *i, uint64_t pos, uint64_t n) {
    struct ext2_fs *fs = ext2_fs(i);
    struct ext2_inode *ei = ext2_inode(i);
    uint64_t last = (pos + n - 1) >> fs->block_shift;
    int err = 0;
    mutex_lock(&ei->map_lock);
    for (uint64_t b = pos >> fs->block_shift; b <= last && !err; b++) {
        uint32_t block;
        err = ext2_map(i, b, MAP_ALLOC_DATA, &block);
    }
    mutex_unlock(&ei->map_lock);
    return err;
}

// A write to a shared mapping: the part of the page that lies within the file.
static int ext2_prepare_write(struct inode *i, uint64_t index) {
    uint64_t start = index * PAGE_SIZE, size = i->size;
    if (start >= size)
        return 0;
    int err = allocate(i, start, MIN(size - start, PAGE_SIZE));
    if (err) // see write_piece()
        pagecache_dirty(i->cache, index);
    ext2_write_inode(i);
    return err;
}

// The file is about to grow: what stands behind its end in the last page must read as zeroes.
static int zero_tail(struct inode *i) {
    uint64_t offset = i->size % PAGE_SIZE;
    struct frame *page;
    if (offset == 0)
        return 0;
    int err = pagecache_get(i->cache, i->size / PAGE_SIZE, &page);
    if (err)
        return err;
    memset((char *)frame_virt(page) + offset, 0, PAGE_SIZE - offset);
    pagecache_dirty(i->cache, i->size / PAGE_SIZE);
    frame_put(page);
    return 0;
}

// Blocks behind the end of the file, left by a write that failed half way.
static void trim(struct inode *i) {
    struct ext2_inode *ei = ext2_inode(i);
    mutex_lock(&ei->map_lock);
    ext2_free_from(i, DIV_ROUND_UP(i->size, ext2_fs(i)->block_size));
    mutex_unlock(&ei->map_lock);
}

// One piece of a write, within a page. Bytes moved or -errno.
static ssize_t write_piece(struct inode *i, struct uio *u, uint64_t pos, size_t n) {
    uint64_t index = pos / PAGE_SIZE;
    struct frame *page;
    // The page first: a block that is allocated later reads as a hole, not as its old content.
    int err = pagecache_get(i->cache, index, &page);
    if (err)
        return err;
    ssize_t moved = allocate(i, pos, n);
    if (moved == 0)
        moved = uio_read_in(u, (char *)frame_virt(page) + pos % PAGE_SIZE, n);
    if (moved > 0)
        i->size = MAX(i->size, pos + moved);
    // After a failure too: blocks that it left behind in a hole still have their old content.
    pagecache_dirty(i->cache, index);
    frame_put(page);
    return moved;
}

static ssize_t write_locked(struct inode *i, struct uio *u, uint64_t *pos) {
    uint64_t max = ext2_fs(i)->max_size;
    ssize_t done = 0, moved = 0;
    if (ext2_fs(i)->read_only)
        return -EROFS;
    if (u->resid == 0)
        return 0;
    if (*pos >= max)
        return -EFBIG;
    ssize_t allowed = file_size_allowed(*pos, u->resid);
    if (allowed < 0)
        return allowed;
    u->resid = allowed;
    if (*pos > i->size)
        moved = zero_tail(i);
    while (moved >= 0 && u->resid > 0 && *pos < max) {
        size_t n = MIN(PAGE_SIZE - *pos % PAGE_SIZE, max - *pos);
        n = MIN(n, u->resid);
        moved = write_piece(i, u, *pos, n);
        if (moved <= 0)
            break;
        *pos += moved;
        done += moved;
    }
    if (moved <= 0)
        trim(i);
    i->mtime = i->ctime = clock_realtime();
    int err = ext2_write_inode(i);
    return done ? done : moved < 0 ? moved : err;
}

static ssize_t ext2_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct inode *i = f->inode;
    mutex_lock(&i->lock);
    if (f->flags & O_APPEND)
        *pos = i->size;
    ssize_t n = write_locked(i, u, pos);
    mutex_unlock(&i->lock);
    pagecache_throttle(i->cache);
    if (n > 0 && f->flags & (O_SYNC | O_DSYNC)) {
        int err = ext2_fsync(f, false);
        return err ? err : n;
    }
    return n;
}

// i->lock held.
static int ext2_truncate(struct inode *i, uint64_t size) {
    struct ext2_fs *fs = ext2_fs(i);
    if (size > fs->max_size)
        return -EFBIG;
    if (size > i->size) {
        int err = zero_tail(i);
        if (err)
            return err;
        i->size = size;
    } else {
        i->size = size;
        pagecache_truncate(i->cache, size);
        trim(i);
    }
    i->mtime = i->ctime = clock_realtime();
    return ext2_write_inode(i);
}

int ext2_fsync(struct file *f, bool data_only) {
    struct inode *i = f->inode;
    int err = i->cache ? pagecache_sync(i->cache) : 0;
    int e = ext2_commit(ext2_fs(i));
    return err ? err : e;
}

int ext2_changed(struct inode *i) {
    return ext2_write_inode(i);
}

const struct pagecache_ops ext2_cache_ops = {
    .read_page = ext2_read_page,
    .write_page = ext2_write_page,
    .prepare_write = ext2_prepare_write,
};

const struct file_ops ext2_file_ops = {
    .read = pagecache_read,
    .write = ext2_write,
    .mmap = pagecache_mmap,
    .fsync = ext2_fsync,
};

const struct inode_ops ext2_file_inode_ops = {
    .truncate = ext2_truncate,
    .changed = ext2_changed,
    .evict = ext2_evict,
};
