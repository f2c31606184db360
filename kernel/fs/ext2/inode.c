// Inodes: from the table into memory and back, creation, the end of an inode.
#include "cpu/clock.h"
#include "fs/ext2/caller.h"
#include "fs/ext2/ext2.h"
#include "lib/string.h"
#include "mm/heap.h"

// The inode's place in the table (in m, to be put).
static int raw_get(struct ext2_fs *fs, uint32_t ino, struct ext2_meta *m,
                   struct ext2_raw_inode **raw) {
    if (ino == 0 || ino > fs->inodes_count)
        return ext2_damage(fs, "inode number %u is out of range", ino);
    struct ext2_group *g;
    int err = ext2_group_get(fs, (ino - 1) / fs->inodes_per_group, m, &g);
    if (err)
        return err;
    uint32_t table = g->bg_inode_table;
    ext2_meta_put(m);
    uint32_t at = (ino - 1) % fs->inodes_per_group * fs->inode_size;
    err = ext2_meta_get(fs, table + (at >> fs->block_shift), m);
    if (!err)
        *raw = (struct ext2_raw_inode *)((char *)m->data + at % fs->block_size);
    return err;
}

static void set_ops(struct inode *i) {
    if (S_ISREG(i->mode)) {
        i->ops = &ext2_file_inode_ops;
        i->file_ops = &ext2_file_ops;
    } else if (S_ISDIR(i->mode)) {
        i->ops = &ext2_dir_ops;
        i->file_ops = &ext2_dir_file_ops;
    } else {
        // Opening a device node or FIFO is the VFS's business: it looks at mode and rdev.
        i->ops = S_ISLNK(i->mode) ? &ext2_symlink_ops : &ext2_special_inode_ops;
    }
}

// The in-memory inode without content. NULL: out of memory.
static struct inode *make_inode(struct superblock *sb, uint32_t ino, uint32_t mode) {
    struct ext2_inode *ei = kzalloc(sizeof(*ei));
    struct inode *i = ei ? inode_alloc(sb, ino, mode) : NULL;
    if (!i) {
        kfree(ei);
        return NULL;
    }
    mutex_init(&ei->map_lock);
    i->data = ei;
    set_ops(i);
    if (S_ISREG(mode)) {
        i->cache = pagecache_create(i, &ext2_cache_ops);
        if (!i->cache) {
            i->nlink = 1; // nothing on the disk is to be freed
            kfree(ei);
            i->data = NULL;
            inode_put(i);
            return NULL;
        }
    }
    return i;
}

// What the kernel relies on; 0 or -EIO.
static int check_raw(struct ext2_fs *fs, uint32_t ino, const struct ext2_raw_inode *raw) {
    uint64_t size = raw->i_size;
    uint32_t type = raw->i_mode & S_IFMT;
    if (type == S_IFREG)
        size |= (uint64_t)raw->i_size_high << 32;
    bool known = type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFCHR ||
                 type == S_IFBLK || type == S_IFIFO || type == S_IFSOCK;
    if (!known || raw->i_links_count == 0)
        return ext2_damage(fs, "a name leads to inode %u, which is not in use", ino);
    if (raw->i_flags & EXT2_FOREIGN_FL || size > fs->max_size ||
        (type == S_IFDIR && size % fs->block_size) || (type == S_IFLNK && size >= fs->block_size))
        return ext2_damage(fs, "inode %u has impossible flags or size", ino);
    return 0;
}

static void load(struct inode *i, const struct ext2_raw_inode *raw) {
    struct ext2_inode *ei = ext2_inode(i);
    i->nlink = raw->i_links_count;
    i->uid = raw->i_uid | (uint32_t)raw->i_uid_high << 16;
    i->gid = raw->i_gid | (uint32_t)raw->i_gid_high << 16;
    i->size = raw->i_size;
    if (S_ISREG(i->mode))
        i->size |= (uint64_t)raw->i_size_high << 32;
    i->blocks = raw->i_blocks;
    i->atime = raw->i_atime * NSEC_PER_SEC;
    i->mtime = raw->i_mtime * NSEC_PER_SEC;
    i->ctime = raw->i_ctime * NSEC_PER_SEC;
    ei->flags = raw->i_flags;
    ei->acl_block = raw->i_file_acl;
    ei->generation = raw->i_generation;
    memcpy(ei->block, raw->i_block, sizeof(ei->block));
    if (S_ISCHR(i->mode) || S_ISBLK(i->mode)) {
        // block[0]: 8-bit major and minor; else block[1]: minor 0–7, major 8–19, minor 8–19.
        uint32_t v = ei->block[1];
        i->rdev = ei->block[0] ? ei->block[0] & 0xffff : DEV(v >> 8 & 0xfff, v & 0xff);
    }
    ei->born = UINT64_MAX; // not new
    ei->linked = UINT64_MAX;
}

struct inode *ext2_get_inode(struct superblock *sb, uint32_t ino) {
    struct ext2_fs *fs = sb->data;
    mutex_lock(&fs->find_lock);
    struct inode *i = inode_find(sb, ino);
    if (!i) {
        struct ext2_meta m;
        struct ext2_raw_inode *raw;
        int err = raw_get(fs, ino, &m, &raw);
        if (!err) {
            err = check_raw(fs, ino, raw);
            i = err ? NULL : make_inode(sb, ino, raw->i_mode);
            if (i)
                load(i, raw);
            ext2_meta_put(&m);
        }
        if (!i)
            i = ERR_PTR(err ? err : -ENOMEM);
    }
    mutex_unlock(&fs->find_lock);
    return i;
}

int ext2_write_inode(struct inode *i) {
    struct ext2_fs *fs = ext2_fs(i);
    struct ext2_inode *ei = ext2_inode(i);
    if (fs->read_only)
        return -EROFS;
    mutex_lock(&fs->lock);
    struct ext2_meta m;
    struct ext2_raw_inode *raw;
    int err = raw_get(fs, i->ino, &m, &raw);
    if (!err) {
        raw->i_mode = i->mode;
        raw->i_uid = i->uid;
        raw->i_uid_high = i->uid >> 16;
        raw->i_gid = i->gid;
        raw->i_gid_high = i->gid >> 16;
        raw->i_size = i->size;
        raw->i_size_high = S_ISREG(i->mode) ? i->size >> 32 : 0;
        raw->i_atime = i->atime / NSEC_PER_SEC;
        raw->i_mtime = i->mtime / NSEC_PER_SEC;
        raw->i_ctime = i->ctime / NSEC_PER_SEC;
        raw->i_dtime = i->nlink ? 0 : clock_realtime() / NSEC_PER_SEC;
        raw->i_links_count = i->nlink;
        raw->i_blocks = i->blocks;
        raw->i_flags = ei->flags;
        raw->i_file_acl = ei->acl_block;
        raw->i_generation = ei->generation;
        memcpy(raw->i_block, ei->block, sizeof(ei->block));
        ext2_meta_dirty(fs, &m);
        ext2_meta_put(&m);
        if (raw->i_size_high || i->size >= BIT(31)) {
            fs->super->s_feature_ro_compat |= EXT2_RO_COMPAT_LARGE_FILE;
            pagecache_dirty(fs->dev->inode->cache, 0);
        }
    }
    mutex_unlock(&fs->lock);
    return err;
}

// A slot may hold the remains of a deleted inode, also behind the first 128 bytes.
static int clear_raw(struct ext2_fs *fs, uint32_t ino, uint32_t *generation) {
    struct ext2_meta m;
    struct ext2_raw_inode *raw;
    mutex_lock(&fs->lock);
    int err = raw_get(fs, ino, &m, &raw);
    if (!err) {
        *generation = raw->i_generation + 1;
        memset(raw, 0, fs->inode_size);
        ext2_meta_dirty(fs, &m);
        ext2_meta_put(&m);
    }
    mutex_unlock(&fs->lock);
    return err;
}

struct inode *ext2_new_inode(struct inode *dir, uint32_t mode, uint64_t rdev) {
    struct ext2_fs *fs = ext2_fs(dir);
    uint32_t ino, generation = 0;
    int err = ext2_alloc_inode(fs, dir->ino, S_ISDIR(mode), &ino);
    if (err)
        return ERR_PTR(err);
    mutex_lock(&fs->find_lock);
    err = clear_raw(fs, ino, &generation);
    struct inode *i = err ? NULL : make_inode(dir->sb, ino, mode);
    mutex_unlock(&fs->find_lock);
    if (!i) {
        ext2_free_inode(fs, ino, S_ISDIR(mode));
        return ERR_PTR(err ? err : -ENOMEM);
    }
    struct ext2_inode *ei = ext2_inode(i);
    i->uid = caller_uid();
    i->gid = dir->mode & S_ISGID ? dir->gid : caller_gid();
    if (S_ISDIR(mode))
        i->mode |= dir->mode & S_ISGID;
    i->rdev = rdev;
    if (S_ISCHR(mode) || S_ISBLK(mode))
        ei->block[rdev >= 0x10000] = rdev;
    ei->generation = generation;
    ei->born = fs->commits;
    ei->linked = UINT64_MAX;
    return i;
}

static bool has_blocks(const struct inode *i) {
    return S_ISREG(i->mode) || S_ISDIR(i->mode) ||
           (S_ISLNK(i->mode) && i->size >= sizeof(ext2_inode(i)->block));
}

// The block of extended attributes may be shared: its header counts the users at offset 4.
static void drop_attributes(struct ext2_fs *fs, uint32_t block) {
    struct ext2_meta m;
    if (ext2_meta_get(fs, block, &m) != 0)
        return;
    mutex_lock(&fs->lock);
    uint32_t *users = (uint32_t *)m.data + 1;
    bool last = *users <= 1;
    if (!last) {
        --*users;
        ext2_meta_dirty(fs, &m);
    }
    mutex_unlock(&fs->lock);
    ext2_meta_put(&m);
    if (last)
        ext2_free_blocks(fs, block, 1);
}

void ext2_evict(struct inode *i) {
    struct ext2_fs *fs = ext2_fs(i);
    struct ext2_inode *ei = ext2_inode(i);
    if (!ei)
        return;
    if (i->nlink == 0 && !fs->read_only) {
        uint32_t attributes = ei->acl_block;
        ei->acl_block = 0;
        mutex_lock(&ei->map_lock);
        if (has_blocks(i)) {
            i->size = 0;
            ext2_free_from(i, 0);
        }
        i->blocks = 0;
        ext2_write_inode(i);
        mutex_unlock(&ei->map_lock);
        if (attributes)
            drop_attributes(fs, attributes);
        ext2_free_inode(fs, i->ino, S_ISDIR(i->mode));
    }
    kfree(ei);
    i->data = NULL;
}
