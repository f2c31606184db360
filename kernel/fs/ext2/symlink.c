// Symbolic links: up to 59 bytes in the inode itself ("fast"), longer ones in one block.
#include "fs/ext2/ext2.h"
#include "lib/string.h"

#define FAST_MAX (sizeof(((struct ext2_inode *)0)->block) - 1)

int ext2_set_symlink(struct inode *i, const char *target) {
    struct ext2_fs *fs = ext2_fs(i);
    struct ext2_inode *ei = ext2_inode(i);
    size_t len = strlen(target);
    if (len >= fs->block_size)
        return -ENAMETOOLONG;
    i->size = len;
    if (len <= FAST_MAX) {
        memcpy(ei->block, target, len);
        return ext2_write_inode(i);
    }
    uint32_t block;
    struct ext2_meta m;
    mutex_lock(&ei->map_lock);
    int err = ext2_map(i, 0, MAP_ALLOC_DATA, &block);
    mutex_unlock(&ei->map_lock);
    if (!err)
        err = ext2_meta_get(fs, block, &m);
    if (err)
        return err;
    memset(m.data, 0, fs->block_size);
    memcpy(m.data, target, len);
    ext2_meta_dirty(fs, &m);
    ext2_meta_put(&m);
    return ext2_write_inode(i);
}

static ssize_t ext2_readlink(struct inode *i, char *buf, size_t size) {
    struct ext2_inode *ei = ext2_inode(i);
    size_t n = MIN(size, i->size);
    if (i->size <= FAST_MAX) {
        memcpy(buf, ei->block, n);
        return n;
    }
    uint32_t block;
    struct ext2_meta m;
    mutex_lock(&ei->map_lock);
    int err = ext2_map(i, 0, MAP_FIND, &block);
    mutex_unlock(&ei->map_lock);
    if (!err && !block)
        err = -EIO;
    if (!err)
        err = ext2_meta_get(ext2_fs(i), block, &m);
    if (err)
        return err;
    memcpy(buf, m.data, n);
    ext2_meta_put(&m);
    return n;
}

const struct inode_ops ext2_symlink_ops = {
    .readlink = ext2_readlink,
    .changed = ext2_changed,
    .evict = ext2_evict,
};
