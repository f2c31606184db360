// Allocation and freeing of blocks; see "pending frees" in ext2.h.
#include "fs/ext2/caller.h"
#include "fs/ext2/ext2.h"

uint32_t ext2_find_zero(const uint8_t *map, uint32_t from, uint32_t to) {
    for (uint32_t n = from; n < to; n++) {
        if (n % 8 == 0)
            while (n + 8 <= to && map[n / 8] == 0xff)
                n += 8;
        if (n < to && !(map[n / 8] & 1u << n % 8))
            return n;
    }
    return to;
}

// Blocks in a group: the last one may be shorter.
static uint32_t group_blocks(const struct ext2_fs *fs, uint32_t group) {
    uint32_t first = fs->first_data_block + group * fs->blocks_per_group;
    return MIN(fs->blocks_per_group, fs->blocks_count - first);
}

// A bitmap that calls the metadata of its own group free is wrong: believing it would destroy it.
static bool is_group_metadata(const struct ext2_fs *fs, const struct ext2_group *g, uint32_t b) {
    uint32_t table = DIV_ROUND_UP(fs->inodes_per_group, fs->block_size / fs->inode_size);
    return b == g->bg_block_bitmap || b == g->bg_inode_bitmap ||
           (b >= g->bg_inode_table && b - g->bg_inode_table < table);
}

// Tries one group from bit `from` on, then from its start. 0, -ENOSPC, -EIO.
static int alloc_in_group(struct ext2_fs *fs, uint32_t group, uint32_t from, uint32_t *block) {
    struct ext2_meta gm, bm;
    struct ext2_group *g;
    int err = ext2_group_get(fs, group, &gm, &g);
    if (err)
        return err;
    if (g->bg_free_blocks_count == 0) {
        ext2_meta_put(&gm);
        return -ENOSPC;
    }
    err = ext2_meta_get(fs, g->bg_block_bitmap, &bm);
    if (err) {
        ext2_meta_put(&gm);
        return err;
    }
    uint8_t *map = bm.data;
    uint32_t limit = group_blocks(fs, group), bit = ext2_find_zero(map, MIN(from, limit), limit);
    if (bit == limit)
        bit = ext2_find_zero(map, 0, limit);
    *block = fs->first_data_block + group * fs->blocks_per_group + bit;
    if (bit == limit) {
        err = ext2_damage(fs, "free blocks of group %u are miscounted", group);
    } else if (is_group_metadata(fs, g, *block)) {
        err = ext2_damage(fs, "the block bitmap of group %u is wrong", group);
    } else {
        map[bit / 8] |= 1u << bit % 8;
        g->bg_free_blocks_count--;
        fs->super->s_free_blocks_count--;
        ext2_meta_dirty(fs, &bm);
        ext2_meta_dirty(fs, &gm);
        pagecache_dirty(fs->dev->inode->cache, 0);
    }
    ext2_meta_put(&bm);
    ext2_meta_put(&gm);
    return err;
}

static int alloc_locked(struct ext2_fs *fs, uint32_t goal, uint32_t *block) {
    if (!ext2_blocks_valid(fs, goal, 1))
        goal = fs->first_data_block;
    uint32_t reserve = caller_uid() == 0 ? 0 : fs->super->s_r_blocks_count;
    if (fs->super->s_free_blocks_count <= reserve)
        return -ENOSPC;
    uint32_t first = (goal - fs->first_data_block) / fs->blocks_per_group;
    uint32_t bit = (goal - fs->first_data_block) % fs->blocks_per_group;
    for (uint32_t n = 0; n < fs->group_count; n++) {
        int err = alloc_in_group(fs, (first + n) % fs->group_count, n == 0 ? bit : 0, block);
        if (err != -ENOSPC)
            return err;
    }
    return -ENOSPC;
}

int ext2_alloc_block(struct ext2_fs *fs, uint32_t goal, uint32_t *block) {
    if (fs->read_only)
        return -EROFS;
    mutex_lock(&fs->lock);
    int err = alloc_locked(fs, goal, block);
    if (err == -ENOSPC && fs->pending_blocks > 0) {
        err = ext2_commit_locked(fs); // frees what is waiting to be freed
        if (!err)
            err = alloc_locked(fs, goal, block);
    }
    mutex_unlock(&fs->lock);
    return err;
}

// Clears bits of one group's bitmap.
static void free_in_group(struct ext2_fs *fs, uint32_t group, uint32_t bit, uint32_t count) {
    struct ext2_meta gm, bm;
    struct ext2_group *g;
    if (ext2_group_get(fs, group, &gm, &g) != 0)
        return;
    if (ext2_meta_get(fs, g->bg_block_bitmap, &bm) == 0) {
        uint8_t *map = bm.data;
        for (uint32_t n = bit; n < bit + count; n++) {
            if (!(map[n / 8] & 1u << n % 8)) {
                ext2_damage(fs, "a block of group %u was free already", group);
                continue;
            }
            map[n / 8] &= ~(1u << n % 8);
            g->bg_free_blocks_count++;
            fs->super->s_free_blocks_count++;
        }
        ext2_meta_dirty(fs, &bm);
        ext2_meta_dirty(fs, &gm);
        pagecache_dirty(fs->dev->inode->cache, 0);
        ext2_meta_put(&bm);
    }
    ext2_meta_put(&gm);
}

static void free_run(struct ext2_fs *fs, uint32_t block, uint32_t count) {
    while (count > 0) {
        uint32_t offset = block - fs->first_data_block, bit = offset % fs->blocks_per_group;
        uint32_t n = MIN(count, fs->blocks_per_group - bit);
        free_in_group(fs, offset / fs->blocks_per_group, bit, n);
        block += n;
        count -= n;
    }
}

void ext2_free_blocks(struct ext2_fs *fs, uint32_t block, uint32_t count) {
    if (!ext2_blocks_valid(fs, block, count)) {
        ext2_damage(fs, "block number %u is out of range", block);
        return;
    }
    mutex_lock(&fs->lock);
    struct ext2_extent *last = fs->pending_blocks ? &fs->pending_block[fs->pending_blocks - 1]
                                                  : NULL;
    if (last && last->start + last->count == block) {
        last->count += count;
    } else {
        if (fs->pending_blocks == EXT2_PENDING_MAX)
            ext2_commit_locked(fs);
        fs->pending_block[fs->pending_blocks++] = (struct ext2_extent){block, count};
    }
    fs->pending_block_count += count;
    mutex_unlock(&fs->lock);
}

void ext2_release_blocks(struct ext2_fs *fs) {
    for (unsigned n = 0; n < fs->pending_blocks; n++)
        free_run(fs, fs->pending_block[n].start, fs->pending_block[n].count);
    fs->pending_blocks = 0;
    fs->pending_block_count = 0;
}
