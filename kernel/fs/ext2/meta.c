// Blocks of metadata, read and written through the page cache of the block device.
#include <stdarg.h>
#include "fs/ext2/ext2.h"
#include "lib/log.h"
#include "lib/printf.h"
#include "lib/string.h"

bool ext2_blocks_valid(const struct ext2_fs *fs, uint32_t block, uint32_t count) {
    return block >= fs->first_data_block && block < fs->blocks_count &&
           count <= fs->blocks_count - block;
}

int ext2_meta_get(struct ext2_fs *fs, uint32_t block, struct ext2_meta *m) {
    if (!ext2_blocks_valid(fs, block, 1))
        return ext2_damage(fs, "block number %u is out of range", block);
    uint64_t at = (uint64_t)block << fs->block_shift;
    m->index = at / PAGE_SIZE;
    bool shared = fs->block_size < PAGE_SIZE;
    if (shared)
        mutex_lock(&fs->alias_lock);
    int err = pagecache_get(fs->dev->inode->cache, m->index, &m->frame);
    if (shared)
        mutex_unlock(&fs->alias_lock);
    if (!err)
        m->data = (char *)frame_virt(m->frame) + at % PAGE_SIZE;
    return err;
}

void ext2_meta_put(struct ext2_meta *m) {
    frame_put(m->frame);
}

void ext2_meta_dirty(struct ext2_fs *fs, struct ext2_meta *m) {
    pagecache_dirty(fs->dev->inode->cache, m->index);
}

int ext2_meta_write_through(struct ext2_fs *fs, uint32_t block, struct ext2_meta *m) {
    unsigned sectors = fs->block_size / SECTOR_SIZE;
    int err = block_write(fs->dev, (uint64_t)block * sectors, sectors, m->data);
    return err ? err : block_flush(fs->dev);
}

// Copies file data over what cached pages of the device hold of the same place.
static void update_aliases(struct ext2_fs *fs, uint64_t at, size_t bytes, const char *data) {
    while (bytes > 0) {
        size_t n = MIN(bytes, PAGE_SIZE - at % PAGE_SIZE);
        struct frame *page = pagecache_find(fs->dev->inode->cache, at / PAGE_SIZE);
        if (page) {
            memcpy((char *)frame_virt(page) + at % PAGE_SIZE, data, n);
            frame_put(page);
        }
        at += n;
        data += n;
        bytes -= n;
    }
}

int ext2_write_data(struct ext2_fs *fs, uint32_t block, uint32_t count, const void *data) {
    uint64_t at = (uint64_t)block << fs->block_shift;
    size_t bytes = (size_t)count << fs->block_shift;
    bool shared = fs->block_size < PAGE_SIZE;
    if (shared) {
        // The copy comes before the write: a page that is being written back meanwhile either
        // carries the new data or is on the disk before it. The lock keeps pages from being read
        // in between.
        mutex_lock(&fs->alias_lock);
        update_aliases(fs, at, bytes, data);
    }
    int err = block_write(fs->dev, at / SECTOR_SIZE, bytes / SECTOR_SIZE, data);
    if (shared)
        mutex_unlock(&fs->alias_lock);
    return err;
}

int ext2_group_get(struct ext2_fs *fs, uint32_t group, struct ext2_meta *m, struct ext2_group **g) {
    uint32_t per_block = fs->block_size / sizeof(struct ext2_group);
    int err = ext2_meta_get(fs, fs->first_data_block + 1 + group / per_block, m);
    if (!err)
        *g = (struct ext2_group *)m->data + group % per_block;
    return err;
}

int ext2_damage(struct ext2_fs *fs, const char *fmt, ...) {
    char text[96];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (!fs->damaged)
        log_error("ext2: %s: damaged: %s; read-only from now on, repair with e2fsck", fs->dev->name,
                  text);
    fs->damaged = true;
    fs->read_only = fs->sb->read_only = true;
    return -EIO;
}
