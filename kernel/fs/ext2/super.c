// Mounting, commits, unmounting.
#include <asm/statfs.h>
#include <linux/mount.h>
#include "cpu/clock.h"
#include "fs/ext2/ext2.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/heap.h"

int ext2_commit_locked(struct ext2_fs *fs) {
    int err = pagecache_sync(fs->dev->inode->cache);
    if (!err)
        err = block_flush(fs->dev);
    if (err) {
        // What is pending stays marked as used: lost until e2fsck finds it, but never used twice.
        ext2_damage(fs, "metadata cannot be written (error %d)", -err);
        fs->pending_blocks = fs->pending_inodes = 0;
        fs->pending_block_count = 0;
        return err;
    }
    fs->commits++;
    ext2_release_blocks(fs);
    ext2_release_inodes(fs);
    return 0;
}

int ext2_commit(struct ext2_fs *fs) {
    mutex_lock(&fs->lock);
    int err = ext2_commit_locked(fs);
    mutex_unlock(&fs->lock);
    return err;
}

static int ext2_statfs(struct superblock *sb, struct statfs *out) {
    struct ext2_fs *fs = sb->data;
    mutex_lock(&fs->lock);
    const struct ext2_super *s = fs->super;
    uint64_t free = s->s_free_blocks_count + fs->pending_block_count;
    *out = (struct statfs){
        .f_type = EXT2_MAGIC,
        .f_bsize = fs->block_size,
        .f_frsize = fs->block_size,
        .f_blocks = fs->blocks_count - fs->first_data_block,
        .f_bfree = free,
        .f_bavail = free > s->s_r_blocks_count ? free - s->s_r_blocks_count : 0,
        .f_files = fs->inodes_count,
        .f_ffree = s->s_free_inodes_count + fs->pending_inodes,
        .f_namelen = EXT2_NAME_MAX,
    };
    memcpy(&out->f_fsid, s->s_uuid, sizeof(out->f_fsid));
    mutex_unlock(&fs->lock);
    return 0;
}

static int ext2_sync(struct superblock *sb) {
    struct ext2_fs *fs = sb->data;
    int err = pagecache_sync_all(); // file data of this and of other file systems
    int e = fs->read_only ? 0 : ext2_commit(fs);
    return err ? err : e;
}

// Puts the superblock on the disk at once.
static int write_super(struct ext2_fs *fs) {
    fs->super->s_wtime = clock_realtime() / NSEC_PER_SEC;
    pagecache_dirty(fs->dev->inode->cache, 0);
    int err = pagecache_sync(fs->dev->inode->cache);
    return err ? err : block_flush(fs->dev);
}

// From now on the file system says that it was not unmounted cleanly.
static int mark_mounted(struct ext2_fs *fs) {
    fs->super->s_state &= ~EXT2_VALID_FS;
    fs->super->s_mnt_count++;
    fs->super->s_mtime = clock_realtime() / NSEC_PER_SEC;
    return write_super(fs);
}

static void destroy(struct ext2_fs *fs) {
    if (fs->super_frame)
        frame_put(fs->super_frame);
    block_release(fs->dev);
    kfree(fs);
}

static void ext2_unmount(struct superblock *sb) {
    struct ext2_fs *fs = sb->data;
    mutex_lock(&fs->lock);
    if (fs->writable) {
        int err = ext2_commit_locked(fs);
        if (fs->damaged)
            fs->super->s_state |= EXT2_ERROR_FS;
        else
            fs->super->s_state |= EXT2_VALID_FS;
        // The bits that the commit released, and all else, before the word "clean".
        if (!err)
            err = pagecache_sync(fs->dev->inode->cache);
        if (!err)
            err = write_super(fs);
        if (err)
            log_error("ext2: %s: cannot be unmounted cleanly (error %d)", fs->dev->name, -err);
    }
    mutex_unlock(&fs->lock);
    destroy(fs);
    sb->data = NULL;
}

static const struct superblock_ops ext2_super_ops = {
    .statfs = ext2_statfs,
    .sync = ext2_sync,
    .unmount = ext2_unmount,
};

static void set_geometry(struct ext2_fs *fs, const struct ext2_super *s) {
    fs->block_shift = 10 + s->s_log_block_size;
    fs->block_size = 1u << fs->block_shift;
    fs->inode_size = s->s_rev_level ? s->s_inode_size : EXT2_GOOD_OLD_INODE_SIZE;
    fs->first_ino = s->s_rev_level ? s->s_first_ino : EXT2_GOOD_OLD_FIRST_INO;
    fs->inodes_per_group = s->s_inodes_per_group;
    fs->blocks_per_group = s->s_blocks_per_group;
    fs->inodes_count = s->s_inodes_count;
    fs->blocks_count = s->s_blocks_count;
    fs->first_data_block = s->s_first_data_block;
    fs->group_count = DIV_ROUND_UP(fs->blocks_count - fs->first_data_block, fs->blocks_per_group);
    fs->pointers = fs->block_size / sizeof(uint32_t);
    fs->has_file_type = s->s_rev_level && s->s_feature_incompat & EXT2_INCOMPAT_FILETYPE;
    uint64_t p = fs->pointers;
    uint64_t by_pointers = (EXT2_DIRECT + p + p * p + p * p * p) << fs->block_shift;
    uint64_t by_count =
        1ull << 40; // i_blocks counts 2^32 sectors, pointers among them: 1 TiB is safe
    fs->max_size = s->s_rev_level ? MIN(by_pointers, by_count) : BIT(31) - 1;
}

// Every group's bitmaps and inode table must lie within the file system.
static int check_groups(struct ext2_fs *fs) {
    uint32_t per_block = fs->block_size / fs->inode_size;
    uint32_t table = DIV_ROUND_UP(fs->inodes_per_group, per_block);
    for (uint32_t n = 0; n < fs->group_count; n++) {
        struct ext2_meta m;
        struct ext2_group *g;
        int err = ext2_group_get(fs, n, &m, &g);
        if (err)
            return err;
        bool good = ext2_blocks_valid(fs, g->bg_block_bitmap, 1) &&
                    ext2_blocks_valid(fs, g->bg_inode_bitmap, 1) &&
                    ext2_blocks_valid(fs, g->bg_inode_table, table);
        ext2_meta_put(&m);
        if (!good)
            return -EINVAL;
    }
    return 0;
}

// The device is claimed; reads the superblock into its page cache. 0 or -errno with a log line.
static int open_super(struct ext2_fs *fs) {
    char why[80] = "the superblock cannot be read";
    int err = pagecache_get(fs->dev->inode->cache, 0, &fs->super_frame);
    if (!err) {
        fs->super = (struct ext2_super *)((char *)frame_virt(fs->super_frame) + EXT2_SUPER_OFFSET);
        err = ext2_check_super(fs->super, fs->dev->sectors, why, sizeof(why));
    }
    if (!err) {
        set_geometry(fs, fs->super);
        err = check_groups(fs);
        strlcpy(why, "the group descriptors are damaged", sizeof(why));
    }
    if (err)
        log_warning("ext2: %s: %s; mount refused", fs->dev->name, why);
    return err;
}

// Writing needs a clean file system: what its bitmaps say is believed.
static void choose_read_only(struct ext2_fs *fs, unsigned long flags) {
    const struct ext2_super *s = fs->super;
    bool clean = s->s_state & EXT2_VALID_FS && !(s->s_state & EXT2_ERROR_FS);
    if (flags & MS_RDONLY || fs->dev->read_only) {
        fs->read_only = true;
    } else if (!clean) {
        log_warning("ext2: %s: was not unmounted cleanly, mounted read-only; repair with e2fsck",
                    fs->dev->name);
        fs->read_only = true;
    }
    fs->writable = !fs->read_only;
    fs->sb->read_only = fs->read_only;
}

static int ext2_mount(struct superblock *sb, const char *source, unsigned long flags,
                      const char *options) {
    struct block_device *dev = block_from_path(source);
    if (!dev)
        return -ENOTBLK;
    struct ext2_fs *fs = kzalloc(sizeof(*fs));
    if (!fs)
        return -ENOMEM;
    int err = block_claim(dev);
    if (err) {
        kfree(fs);
        return err;
    }
    fs->sb = sb;
    fs->dev = dev;
    mutex_init(&fs->lock);
    mutex_init(&fs->find_lock);
    mutex_init(&fs->alias_lock);
    sb->data = fs;
    sb->ops = &ext2_super_ops;
    sb->dev = dev->rdev;
    err = open_super(fs);
    struct inode *root = NULL;
    if (!err) {
        choose_read_only(fs, flags);
        root = ext2_get_inode(sb, EXT2_ROOT_INO);
        err = IS_ERR(root) ? PTR_ERR(root) : 0;
    }
    if (!err && !S_ISDIR(root->mode)) {
        inode_put(root);
        err = -EINVAL;
    }
    if (!err && fs->writable) {
        err = mark_mounted(fs);
        if (err)
            inode_put(root);
    }
    if (!err) {
        sb->root = dentry_alloc_root(root);
        err = sb->root ? 0 : -ENOMEM;
    }
    if (err) {
        sb->data = NULL;
        sb->ops = NULL;
        destroy(fs);
    }
    return err;
}

struct file_system ext2_file_system = {
    .name = "ext2",
    .needs_device = true,
    .mount = ext2_mount,
};
