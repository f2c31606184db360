// Making, removing and renaming names. The work is in names.c and rename.c.
#include <linux/fs.h>
#include "fs/namei.h"
#include "lib/errno.h"
#include "mm/uaccess.h"
#include "syscall/syscall.h"

// A path argument and the directory that it starts from.
struct user_name {
    struct user_path path;
    struct dentry *at; // reference, or NULL
};

static int name_get(struct user_name *n, int dirfd, const char __user *path) {
    int err = user_path_get(&n->path, path);
    if (err)
        return err;
    n->at = dirfd_dentry(dirfd, n->path.s, false);
    if (!IS_ERR(n->at))
        return 0;
    user_path_put(&n->path);
    return PTR_ERR(n->at);
}

static void name_put(struct user_name *n) {
    if (n->at)
        dentry_put(n->at);
    user_path_put(&n->path);
}

long sys_mkdirat(int dirfd, const char __user *path, uint32_t mode) {
    struct user_name n;
    int err = name_get(&n, dirfd, path);
    if (err)
        return err;
    err = name_mkdir(n.at, n.path.s, mode);
    name_put(&n);
    return err;
}

long sys_mkdir(const char __user *path, uint32_t mode) {
    return sys_mkdirat(AT_FDCWD, path, mode);
}

// dev: as user programs encode it (Linux: new_decode_dev).
long sys_mknodat(int dirfd, const char __user *path, uint32_t mode, unsigned dev) {
    struct user_name n;
    unsigned major = (dev >> 8) & 0xfff, minor = (dev & 0xff) | (dev >> 12 & 0xfff00);
    int err = minor > 0xff ? -EINVAL : name_get(&n, dirfd, path);
    if (err)
        return err;
    err = name_mknod(n.at, n.path.s, mode & (S_IFMT | 07777), DEV(major, minor));
    name_put(&n);
    return err;
}

long sys_mknod(const char __user *path, uint32_t mode, unsigned dev) {
    return sys_mknodat(AT_FDCWD, path, mode, dev);
}

long sys_unlinkat(int dirfd, const char __user *path, int flags) {
    struct user_name n;
    if (flags & ~AT_REMOVEDIR)
        return -EINVAL;
    int err = name_get(&n, dirfd, path);
    if (err)
        return err;
    err = flags & AT_REMOVEDIR ? name_rmdir(n.at, n.path.s) : name_unlink(n.at, n.path.s);
    name_put(&n);
    return err;
}

long sys_unlink(const char __user *path) {
    return sys_unlinkat(AT_FDCWD, path, 0);
}

long sys_rmdir(const char __user *path) {
    return sys_unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

long sys_symlinkat(const char __user *target, int dirfd, const char __user *path) {
    struct user_path t;
    struct user_name n;
    int err = user_path_get(&t, target);
    if (err)
        return err;
    err = name_get(&n, dirfd, path);
    if (!err) {
        err = name_symlink(n.at, n.path.s, t.s);
        name_put(&n);
    }
    user_path_put(&t);
    return err;
}

long sys_symlink(const char __user *target, const char __user *path) {
    return sys_symlinkat(target, AT_FDCWD, path);
}

long sys_linkat(int old_dirfd, const char __user *old, int new_dirfd, const char __user *new,
                int flags) {
    struct user_name n;
    if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    struct dentry *d = user_walk(old_dirfd, old,
                                 (flags & AT_SYMLINK_FOLLOW ? 0 : WALK_NOFOLLOW) |
                                     (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0));
    if (IS_ERR(d))
        return PTR_ERR(d);
    int err = name_get(&n, new_dirfd, new);
    if (!err) {
        err = name_link(d, n.at, n.path.s);
        name_put(&n);
    }
    dentry_put(d);
    return err;
}

long sys_link(const char __user *old, const char __user *new) {
    return sys_linkat(AT_FDCWD, old, AT_FDCWD, new, 0);
}

long sys_renameat2(int old_dirfd, const char __user *old, int new_dirfd, const char __user *new,
                   unsigned flags) {
    struct user_name from, to;
    if (flags & ~RENAME_NOREPLACE)
        return -EINVAL;
    int err = name_get(&from, old_dirfd, old);
    if (err)
        return err;
    err = name_get(&to, new_dirfd, new);
    if (!err) {
        err = name_rename(from.at, from.path.s, to.at, to.path.s, flags & RENAME_NOREPLACE);
        name_put(&to);
    }
    name_put(&from);
    return err;
}

long sys_renameat(int old_dirfd, const char __user *old, int new_dirfd, const char __user *new) {
    return sys_renameat2(old_dirfd, old, new_dirfd, new, 0);
}

long sys_rename(const char __user *old, const char __user *new) {
    return sys_renameat2(AT_FDCWD, old, AT_FDCWD, new, 0);
}
