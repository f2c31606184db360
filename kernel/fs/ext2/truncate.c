// Freeing the blocks of a file. A pointer is cleared in the cache before what it pointed to is given
// to the pending frees (ext2.h, rule 2).
#include "fs/ext2/ext2.h"
#include "sched/world.h"

// A run of adjacent data blocks that is freed in one go.
struct run {
    struct inode *inode;
    uint32_t start, count;
};

static void run_flush(struct run *r) {
    if (r->count > 0) {
        ext2_free_blocks(ext2_fs(r->inode), r->start, r->count);
        uint64_t sectors = (uint64_t)r->count * (ext2_fs(r->inode)->block_size / SECTOR_SIZE);
        r->inode->blocks -= MIN(sectors, r->inode->blocks);
    }
    r->count = 0;
}

static void run_add(struct run *r, uint32_t block) {
    if (r->count > 0 && block == r->start + r->count) {
        r->count++;
        return;
    }
    run_flush(r);
    r->start = block;
    r->count = 1;
}

// Frees a whole tree to which nothing points any more; level 0: a data block.
static int free_tree(struct run *r, uint32_t block, unsigned level) {
    struct ext2_fs *fs = ext2_fs(r->inode);
    int err = 0;
    if (level > 0) {
        struct ext2_meta m;
        err = ext2_meta_get(fs, block, &m);
        if (err)
            return err; // its blocks stay marked as used until e2fsck finds them
        const uint32_t *slots = m.data;
        for (uint32_t k = 0; k < fs->pointers && !fs->damaged; k++)
            if (slots[k]) {
                int e = free_tree(r, slots[k], level - 1);
                err = err ? err : e;
            }
        ext2_meta_put(&m);
        cond_resched();
    }
    run_add(r, block);
    return err;
}

// Frees what lies at or behind entry `from` (in data blocks, > 0) of the tree under `block`, which
// itself stays.
static int prune(struct run *r, uint32_t block, unsigned level, uint64_t from) {
    struct ext2_fs *fs = ext2_fs(r->inode);
    struct ext2_meta m;
    int err = ext2_meta_get(fs, block, &m);
    if (err)
        return err;
    uint64_t span = 1;
    for (unsigned k = 1; k < level; k++)
        span *= fs->pointers;
    uint32_t *slots = m.data;
    uint32_t first = from / span;
    if (from % span) {
        if (slots[first])
            err = prune(r, slots[first], level - 1, from % span);
        first++;
    }
    for (uint32_t k = first; k < fs->pointers && !fs->damaged; k++) {
        uint32_t child = slots[k];
        if (!child)
            continue;
        slots[k] = 0;
        ext2_meta_dirty(fs, &m);
        int e = free_tree(r, child, level - 1);
        err = err ? err : e;
    }
    run_flush(r);
    ext2_meta_put(&m);
    return err;
}

int ext2_free_from(struct inode *i, uint64_t from) {
    struct ext2_fs *fs = ext2_fs(i);
    struct ext2_inode *ei = ext2_inode(i);
    struct run r = {.inode = i};
    uint32_t dead[EXT2_BLOCKS] = {0};
    uint64_t start = 0, span = 1, keep = 0;
    unsigned partial = EXT2_BLOCKS; // the slot whose tree is kept in part
    for (unsigned k = 0; k < EXT2_BLOCKS; k++) {
        if (k >= EXT2_DIRECT)
            span *= fs->pointers;
        if (start >= from) {
            dead[k] = ei->block[k];
            ei->block[k] = 0;
        } else if (from < start + span) {
            partial = k;
            keep = from - start;
        }
        start += span;
    }
    ei->last_block = 0;
    int err = ext2_write_inode(i);
    for (unsigned k = 0; k < EXT2_BLOCKS && !fs->damaged; k++)
        if (dead[k]) {
            int e = free_tree(&r, dead[k], k < EXT2_DIRECT ? 0 : k - EXT2_DIRECT + 1);
            err = err ? err : e;
        }
    run_flush(&r);
    if (partial < EXT2_BLOCKS && ei->block[partial]) {
        int e = prune(&r, ei->block[partial], partial - EXT2_DIRECT + 1, keep);
        err = err ? err : e;
    }
    int e = ext2_write_inode(i); // the block count
    return err ? err : e;
}
