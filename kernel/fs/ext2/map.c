// From a block of a file to a block of the file system: direct and indirect pointers.
#include "fs/ext2/ext2.h"
#include "lib/string.h"

// The way to block n: the slot in the inode, then slots in up to three indirect blocks. Returns how
// many slots there are, or -EFBIG.
static int path_to(const struct ext2_fs *fs, uint64_t n, uint32_t slots[4]) {
    uint64_t p = fs->pointers, span = 1;
    if (n < EXT2_DIRECT) {
        slots[0] = n;
        return 1;
    }
    n -= EXT2_DIRECT;
    for (unsigned level = 1; level <= 3; level++) {
        span *= p;
        if (n >= span) {
            n -= span;
            continue;
        }
        slots[0] = EXT2_DIRECT + level - 1;
        for (unsigned k = 1; k <= level; k++) {
            span /= p;
            slots[k] = n / span % p;
        }
        return level + 1;
    }
    return -EFBIG;
}

// Makes a new block readable as what it will be and puts it on the disk before anything points to it
// (ext2.h, rule 1).
static int initialise(struct ext2_fs *fs, uint32_t block, enum ext2_map_mode mode) {
    struct ext2_meta m;
    int err = ext2_meta_get(fs, block, &m);
    if (err)
        return err;
    memset(m.data, 0, fs->block_size);
    if (mode == MAP_ALLOC_DIR)
        ((struct ext2_entry *)m.data)->rec_len = fs->block_size;
    ext2_meta_dirty(fs, &m);
    err = ext2_meta_write_through(fs, block, &m);
    ext2_meta_put(&m);
    return err;
}

// A new block of the inode: a leaf as `mode` says, or an indirect block.
static int new_block(struct inode *i, enum ext2_map_mode mode, bool leaf, uint32_t *block) {
    struct ext2_fs *fs = ext2_fs(i);
    struct ext2_inode *ei = ext2_inode(i);
    uint32_t group = (i->ino - 1) / fs->inodes_per_group;
    uint32_t goal = ei->last_block ? ei->last_block + 1
                                   : fs->first_data_block + group * fs->blocks_per_group;
    int err = ext2_alloc_block(fs, goal, block);
    if (err)
        return err;
    if (!leaf || mode == MAP_ALLOC_DIR)
        err = initialise(fs, *block, leaf ? mode : MAP_ALLOC_DATA);
    if (err) {
        ext2_free_blocks(fs, *block, 1);
        return err;
    }
    ei->last_block = *block;
    i->blocks += fs->block_size / SECTOR_SIZE;
    return 0;
}

int ext2_map(struct inode *i, uint64_t n, enum ext2_map_mode mode, uint32_t *block) {
    struct ext2_fs *fs = ext2_fs(i);
    struct ext2_inode *ei = ext2_inode(i);
    uint32_t slots[4];
    int depth = path_to(fs, n, slots);
    if (depth < 0)
        return depth;
    uint32_t b = ei->block[slots[0]];
    if (!b && mode != MAP_FIND) {
        int err = new_block(i, mode, depth == 1, &b);
        if (err)
            return err;
        ei->block[slots[0]] = b;
    }
    for (int k = 1; k < depth && b; k++) {
        struct ext2_meta m;
        int err = ext2_meta_get(fs, b, &m);
        if (err)
            return err;
        uint32_t *slot = (uint32_t *)m.data + slots[k], next = *slot;
        if (!next && mode != MAP_FIND) {
            err = new_block(i, mode, k == depth - 1, &next);
            if (!err) {
                *slot = next;
                ext2_meta_dirty(fs, &m);
            }
        }
        ext2_meta_put(&m);
        if (err)
            return err;
        b = next;
    }
    if (b && !ext2_blocks_valid(fs, b, 1))
        return ext2_damage(fs, "inode %lu points to block %u", (unsigned long)i->ino, b);
    *block = b;
    return 0;
}
