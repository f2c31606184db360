// Names: lookup, creation, links, removal, renaming. The VFS holds the locks of the directories and
// has checked rights and whether names exist.
#include "cpu/clock.h"
#include "fs/ext2/ext2.h"
#include "lib/string.h"

static struct inode *ext2_lookup(struct inode *dir, const char *name, size_t len) {
    struct ext2_slot s;
    if (len > EXT2_NAME_MAX)
        return ERR_PTR(-ENAMETOOLONG);
    int err = ext2_find_entry(dir, name, len, &s);
    if (err)
        return ERR_PTR(err);
    uint32_t ino = s.entry->inode;
    ext2_meta_put(&s.meta);
    if (ino == dir->ino) // only "." may, and the VFS does not ask for it
        return ERR_PTR(ext2_damage(ext2_fs(dir), "directory %u contains itself", ino));
    return ext2_get_inode(dir->sb, ino);
}

// The link count changed, or what else is only in the inode.
static int touch(struct inode *i) {
    i->ctime = clock_realtime();
    return ext2_write_inode(i);
}

static int fill_new(struct inode *dir, struct inode *i, const char *target) {
    if (S_ISLNK(i->mode))
        return ext2_set_symlink(i, target);
    if (!S_ISDIR(i->mode))
        return ext2_write_inode(i);
    if (dir->nlink >= EXT2_LINK_MAX)
        return -EMLINK;
    i->nlink = 2;
    return ext2_make_empty_dir(i, dir);
}

static struct inode *ext2_create(struct inode *dir, const char *name, size_t len, uint32_t mode,
                                 uint64_t rdev, const char *target) {
    if (len > EXT2_NAME_MAX)
        return ERR_PTR(-ENAMETOOLONG);
    struct inode *i = ext2_new_inode(dir, mode, rdev);
    if (IS_ERR(i))
        return i;
    int err = fill_new(dir, i, target);
    if (!err)
        err = ext2_add_entry(dir, name, len, i);
    if (err) {
        i->nlink = 0; // evict frees it again
        inode_put(i);
        return ERR_PTR(err);
    }
    if (S_ISDIR(mode)) {
        dir->nlink++;
        touch(dir);
    }
    return i;
}

static int ext2_link(struct inode *dir, const char *name, size_t len, struct inode *target) {
    if (target->nlink >= EXT2_LINK_MAX)
        return -EMLINK;
    target->nlink++;
    int err = touch(target);
    if (!err)
        err = ext2_add_entry(dir, name, len, target);
    if (err) {
        target->nlink--;
        touch(target);
        return err;
    }
    ext2_inode(target)->linked = ext2_fs(dir)->commits;
    return 0;
}

static int ext2_unlink(struct inode *dir, const char *name, size_t len, struct inode *victim) {
    struct ext2_fs *fs = ext2_fs(dir);
    // A name given since the last commit may be the only one left: it must not vanish with this one.
    int err = victim->nlink > 1 && ext2_inode(victim)->linked == fs->commits ? ext2_commit(fs) : 0;
    if (!err)
        err = ext2_remove_entry(dir, name, len);
    if (err)
        return err;
    if (victim->nlink > 0)
        victim->nlink--;
    return touch(victim);
}

static int ext2_rmdir(struct inode *dir, const char *name, size_t len, struct inode *victim) {
    int err = ext2_dir_is_empty(victim);
    if (!err)
        err = ext2_remove_entry(dir, name, len);
    if (err)
        return err;
    victim->nlink = 0;
    dir->nlink--;
    touch(dir);
    return touch(victim);
}

// The new name, in place of the old inode's if there is one.
static int set_new_name(struct inode *dir, const char *name, size_t len, struct inode *moved,
                        struct inode *replaced) {
    if (!replaced)
        return ext2_add_entry(dir, name, len, moved);
    if (S_ISDIR(replaced->mode)) {
        int err = ext2_dir_is_empty(replaced);
        if (err)
            return err;
    }
    int err = ext2_change_entry(dir, name, len, moved);
    if (err)
        return err;
    replaced->nlink = S_ISDIR(replaced->mode) || replaced->nlink == 0 ? 0 : replaced->nlink - 1;
    return touch(replaced);
}

static int ext2_rename(struct inode *old_dir, const char *old, size_t old_len,
                       struct inode *new_dir, const char *new, size_t new_len, struct inode *moved,
                       struct inode *replaced) {
    struct ext2_fs *fs = ext2_fs(old_dir);
    bool is_dir = S_ISDIR(moved->mode), other_dir = old_dir != new_dir;
    if (new_len > EXT2_NAME_MAX)
        return -ENAMETOOLONG;
    if (is_dir && other_dir && !replaced && new_dir->nlink >= EXT2_LINK_MAX)
        return -EMLINK;
    int err = set_new_name(new_dir, new, new_len, moved, replaced);
    if (!err && is_dir && other_dir) {
        err = ext2_change_entry(moved, "..", 2, new_dir);
        new_dir->nlink++;
        old_dir->nlink--;
    }
    if (is_dir && replaced && !err)
        new_dir->nlink--;
    if (err)
        return err;
    touch(moved);
    touch(new_dir);
    // Rule 3 of ext2.h. What was created since the last commit was never promised to anybody.
    if (ext2_inode(moved)->born != fs->commits) {
        err = ext2_commit(fs);
        if (err)
            return err;
    }
    err = ext2_remove_entry(old_dir, old, old_len);
    return err ? err : touch(old_dir);
}

const struct inode_ops ext2_dir_ops = {
    .lookup = ext2_lookup,
    .create = ext2_create,
    .link = ext2_link,
    .unlink = ext2_unlink,
    .rmdir = ext2_rmdir,
    .rename = ext2_rename,
    .changed = ext2_changed,
    .evict = ext2_evict,
};

const struct inode_ops ext2_special_inode_ops = {
    .changed = ext2_changed,
    .evict = ext2_evict,
};
