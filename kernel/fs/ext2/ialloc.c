// Allocation and freeing of inodes.
#include "fs/ext2/ext2.h"

static int alloc_in_group(struct ext2_fs *fs, uint32_t group, bool is_dir, uint32_t *ino) {
    struct ext2_meta gm, bm;
    struct ext2_group *g;
    int err = ext2_group_get(fs, group, &gm, &g);
    if (err)
        return err;
    if (g->bg_free_inodes_count == 0) {
        ext2_meta_put(&gm);
        return -ENOSPC;
    }
    err = ext2_meta_get(fs, g->bg_inode_bitmap, &bm);
    if (err) {
        ext2_meta_put(&gm);
        return err;
    }
    // The first inodes of group 0 belong to the file system itself whatever the bitmap says.
    uint8_t *map = bm.data;
    uint32_t from = group == 0 ? fs->first_ino - 1 : 0;
    uint32_t bit = ext2_find_zero(map, from, fs->inodes_per_group);
    if (bit == fs->inodes_per_group) {
        err = group == 0 ? -ENOSPC
                         : ext2_damage(fs, "free inodes of group %u are miscounted", group);
    } else {
        map[bit / 8] |= 1u << bit % 8;
        g->bg_free_inodes_count--;
        g->bg_used_dirs_count += is_dir;
        fs->super->s_free_inodes_count--;
        *ino = group * fs->inodes_per_group + bit + 1;
        ext2_meta_dirty(fs, &bm);
        ext2_meta_dirty(fs, &gm);
        pagecache_dirty(fs->dev->inode->cache, 0);
    }
    ext2_meta_put(&bm);
    ext2_meta_put(&gm);
    return err;
}

// Directories are spread: the group with the most free blocks among those with inodes above average.
static uint32_t group_for_dir(struct ext2_fs *fs, uint32_t parent_group) {
    uint32_t best = parent_group, best_blocks = 0;
    uint32_t average = fs->super->s_free_inodes_count / fs->group_count;
    for (uint32_t n = 0; n < fs->group_count; n++) {
        struct ext2_meta gm;
        struct ext2_group *g;
        if (ext2_group_get(fs, n, &gm, &g) != 0)
            continue;
        if (g->bg_free_inodes_count >= average && g->bg_free_blocks_count > best_blocks) {
            best = n;
            best_blocks = g->bg_free_blocks_count;
        }
        ext2_meta_put(&gm);
    }
    return best;
}

static int alloc_locked(struct ext2_fs *fs, uint32_t parent, bool is_dir, uint32_t *ino) {
    uint32_t first = (parent - 1) / fs->inodes_per_group;
    if (is_dir)
        first = group_for_dir(fs, first);
    for (uint32_t n = 0; n < fs->group_count; n++) {
        int err = alloc_in_group(fs, (first + n) % fs->group_count, is_dir, ino);
        if (err != -ENOSPC)
            return err;
    }
    return -ENOSPC;
}

int ext2_alloc_inode(struct ext2_fs *fs, uint32_t parent, bool is_dir, uint32_t *ino) {
    if (fs->read_only)
        return -EROFS;
    mutex_lock(&fs->lock);
    int err = alloc_locked(fs, parent, is_dir, ino);
    if (err == -ENOSPC && fs->pending_inodes > 0) {
        err = ext2_commit_locked(fs);
        if (!err)
            err = alloc_locked(fs, parent, is_dir, ino);
    }
    mutex_unlock(&fs->lock);
    return err;
}

void ext2_free_inode(struct ext2_fs *fs, uint32_t ino, bool is_dir) {
    mutex_lock(&fs->lock);
    if (fs->pending_inodes == EXT2_PENDING_MAX)
        ext2_commit_locked(fs);
    fs->pending_inode[fs->pending_inodes].ino = ino;
    fs->pending_inode[fs->pending_inodes++].is_dir = is_dir;
    mutex_unlock(&fs->lock);
}

static void release(struct ext2_fs *fs, uint32_t ino, bool is_dir) {
    uint32_t group = (ino - 1) / fs->inodes_per_group, bit = (ino - 1) % fs->inodes_per_group;
    struct ext2_meta gm, bm;
    struct ext2_group *g;
    if (ext2_group_get(fs, group, &gm, &g) != 0)
        return;
    if (ext2_meta_get(fs, g->bg_inode_bitmap, &bm) == 0) {
        uint8_t *map = bm.data;
        if (map[bit / 8] & 1u << bit % 8) {
            map[bit / 8] &= ~(1u << bit % 8);
            g->bg_free_inodes_count++;
            g->bg_used_dirs_count -= is_dir;
            fs->super->s_free_inodes_count++;
            ext2_meta_dirty(fs, &bm);
            ext2_meta_dirty(fs, &gm);
            pagecache_dirty(fs->dev->inode->cache, 0);
        } else {
            ext2_damage(fs, "inode %u was free already", ino);
        }
        ext2_meta_put(&bm);
    }
    ext2_meta_put(&gm);
}

void ext2_release_inodes(struct ext2_fs *fs) {
    for (unsigned n = 0; n < fs->pending_inodes; n++)
        release(fs, fs->pending_inode[n].ino, fs->pending_inode[n].is_dir);
    fs->pending_inodes = 0;
}
