// Making and removing names: the checks that all file systems share. Renaming is in rename.c.
#include "fs/context.h"
#include "fs/namei.h"
#include "lib/errno.h"
#include "lib/string.h"

int name_create(struct dentry *dir, struct dentry *child, uint32_t mode, uint64_t rdev,
                const char *target) {
    struct inode *d = dir->inode;
    if (d->sb->read_only)
        return -EROFS;
    if (!d->ops->create)
        return -EPERM;
    struct inode *i = d->ops->create(d, child->name, child->name_len, mode, rdev, target);
    if (IS_ERR(i))
        return PTR_ERR(i);
    dentry_bind(child, i);
    inode_modified(d);
    return 0;
}

// Makes a name that must not exist yet. `is_dir`: a trailing slash is allowed.
static int make(struct dentry *at, const char *path, uint32_t mode, uint64_t rdev,
                const char *target) {
    struct path_last last;
    struct dentry *dir, *child = path_lock(at, path, &last, -EEXIST, &dir);
    if (IS_ERR(child))
        return PTR_ERR(child);
    int err;
    if (child->inode)
        err = -EEXIST;
    else if (last.slash && !S_ISDIR(mode))
        err = -ENOENT;
    else
        err = name_create(dir, child, mode, rdev, target);
    path_unlock(dir, child);
    return err;
}

int name_mkdir(struct dentry *at, const char *path, uint32_t mode) {
    return make(at, path, S_IFDIR | (mode & 01777 & ~fs_context()->umask), 0, NULL);
}

int name_mknod(struct dentry *at, const char *path, uint32_t mode, uint64_t rdev) {
    if (!(mode & S_IFMT))
        mode |= S_IFREG;
    switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK: return make(at, path, mode & ~fs_context()->umask, rdev, NULL);
    case S_IFDIR: return -EPERM;
    default: return -EINVAL;
    }
}

int name_symlink(struct dentry *at, const char *path, const char *target) {
    if (!*target)
        return -ENOENT;
    return make(at, path, S_IFLNK | 0777, 0, target);
}

int name_unlink(struct dentry *at, const char *path) {
    struct path_last last;
    struct dentry *dir, *child = path_lock(at, path, &last, -EISDIR, &dir);
    if (IS_ERR(child))
        return PTR_ERR(child);
    struct inode *d = dir->inode, *victim = child->inode;
    int err;
    if (!victim)
        err = -ENOENT;
    else if (S_ISDIR(victim->mode))
        err = -EISDIR;
    else if (last.slash)
        err = -ENOTDIR;
    else if (d->sb->read_only)
        err = -EROFS;
    else
        err = d->ops->unlink ? d->ops->unlink(d, last.name, last.len, victim) : -EPERM;
    if (!err) {
        dentry_delete(child);
        inode_modified(d);
    }
    path_unlock(dir, child);
    return err;
}

int name_rmdir(struct dentry *at, const char *path) {
    struct path_last last;
    struct dentry *dir, *child = path_lock(at, path, &last, -EINVAL, &dir);
    if (IS_ERR(child)) {
        if (PTR_ERR(child) != -EINVAL || last.len == 1)
            return PTR_ERR(child);
        return last.len ? -ENOTEMPTY : -EBUSY; // "..", "/"
    }
    struct inode *d = dir->inode, *victim = child->inode;
    int err = 0;
    if (!victim)
        err = -ENOENT;
    else if (!S_ISDIR(victim->mode))
        err = -ENOTDIR;
    else if (d->sb->read_only)
        err = -EROFS;
    else if (child->mounted)
        err = -EBUSY;
    else if (!d->ops->rmdir)
        err = -EPERM;
    if (!err) {
        mutex_lock(&victim->lock); // nobody makes a file in it any more
        err = d->ops->rmdir(d, last.name, last.len, victim);
        mutex_unlock(&victim->lock);
    }
    if (!err) {
        dentry_delete(child);
        inode_modified(d);
    }
    path_unlock(dir, child);
    return err;
}

int name_link(struct dentry *target, struct dentry *at, const char *path) {
    struct path_last last;
    struct inode *i = target->inode;
    struct dentry *dir, *child = path_lock(at, path, &last, -EEXIST, &dir);
    if (IS_ERR(child))
        return PTR_ERR(child);
    struct inode *d = dir->inode;
    int err;
    if (child->inode)
        err = -EEXIST;
    else if (last.slash)
        err = -ENOENT;
    else if (i->sb != d->sb)
        err = -EXDEV;
    else if (d->sb->read_only)
        err = -EROFS;
    else if (S_ISDIR(i->mode) || !d->ops->link)
        err = -EPERM;
    else if (!i->nlink) // its last name is gone already
        err = -ENOENT;
    else
        err = d->ops->link(d, last.name, last.len, i);
    if (!err) {
        inode_get(i);
        dentry_bind(child, i);
        inode_modified(d);
    }
    path_unlock(dir, child);
    return err;
}

int vfs_mkdir(const char *path, uint32_t mode) {
    return name_mkdir(NULL, path, mode);
}

int vfs_mknod(const char *path, uint32_t mode, uint64_t rdev) {
    return name_mknod(NULL, path, mode, rdev);
}
