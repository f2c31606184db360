// What files are: stat and its relatives, access, readlink, statfs.
#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/fs.h>
#include "cpu/clock.h"
#include "fs/namei.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/layout.h"
#include "mm/uaccess.h"
#include "syscall/syscall.h"

// Device numbers as user programs see them (Linux: new_encode_dev).
static uint64_t user_dev(uint64_t dev) {
    uint64_t major = dev >> 8, minor = dev & 0xff;
    return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffull) << 12;
}

static int copy_stat(const struct inode *i, struct stat __user *out) {
    struct stat s = {
        .st_dev = user_dev(i->sb->dev),
        .st_ino = i->ino,
        .st_nlink = i->nlink,
        .st_mode = i->mode,
        .st_uid = i->uid,
        .st_gid = i->gid,
        .st_rdev = user_dev(i->rdev),
        .st_size = i->size,
        .st_blksize = PAGE_SIZE,
        .st_blocks = i->blocks,
        .st_atime = i->atime / NSEC_PER_SEC,
        .st_atime_nsec = i->atime % NSEC_PER_SEC,
        .st_mtime = i->mtime / NSEC_PER_SEC,
        .st_mtime_nsec = i->mtime % NSEC_PER_SEC,
        .st_ctime = i->ctime / NSEC_PER_SEC,
        .st_ctime_nsec = i->ctime % NSEC_PER_SEC,
    };
    return copy_to_user(out, &s, sizeof(s));
}

// The inode that describes an open file: a device node's, even where the driver replaced it.
static struct inode *file_inode(const struct file *f) {
    return f->dentry ? f->dentry->inode : f->inode;
}

long sys_fstat(int fd, struct stat __user *out) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    int err = copy_stat(file_inode(f), out);
    file_put(f);
    return err;
}

static unsigned walk_flags(int flags) {
    return (flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0) |
           (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0);
}

// True when the arguments mean the open file `dirfd` itself, which may have no name.
static bool means_fd(int dirfd, const char __user *path, int flags) {
    char c = 1;
    return (flags & AT_EMPTY_PATH) && dirfd != AT_FDCWD && (!path || (!get_user(c, path) && !c));
}

long sys_newfstatat(int dirfd, const char __user *path, struct stat __user *out, int flags) {
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE))
        return -EINVAL;
    if (means_fd(dirfd, path, flags))
        return sys_fstat(dirfd, out);
    struct dentry *d = user_walk(dirfd, path, walk_flags(flags));
    if (IS_ERR(d))
        return PTR_ERR(d);
    int err = copy_stat(d->inode, out);
    dentry_put(d);
    return err;
}

long sys_stat(const char __user *path, struct stat __user *out) {
    return sys_newfstatat(AT_FDCWD, path, out, 0);
}

long sys_lstat(const char __user *path, struct stat __user *out) {
    return sys_newfstatat(AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW);
}

static struct statx_timestamp statx_time(uint64_t ns) {
    return (struct statx_timestamp){.tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC};
}

static int copy_statx(const struct inode *i, struct statx __user *out) {
    struct statx *s = kzalloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->stx_mask = STATX_BASIC_STATS;
    s->stx_blksize = PAGE_SIZE;
    s->stx_nlink = i->nlink;
    s->stx_uid = i->uid;
    s->stx_gid = i->gid;
    s->stx_mode = i->mode;
    s->stx_ino = i->ino;
    s->stx_size = i->size;
    s->stx_blocks = i->blocks;
    s->stx_atime = statx_time(i->atime);
    s->stx_ctime = statx_time(i->ctime);
    s->stx_mtime = statx_time(i->mtime);
    s->stx_rdev_major = i->rdev >> 8;
    s->stx_rdev_minor = i->rdev & 0xff;
    s->stx_dev_major = i->sb->dev >> 8;
    s->stx_dev_minor = i->sb->dev & 0xff;
    int err = copy_to_user(out, s, sizeof(*s));
    kfree(s);
    return err;
}

long sys_statx(int dirfd, const char __user *path, int flags, unsigned mask,
               struct statx __user *out) {
    int err;
    if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE)) ||
        (mask & STATX__RESERVED) || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE)
        return -EINVAL;
    if (means_fd(dirfd, path, flags)) {
        struct file *f = fd_get(dirfd);
        if (!f)
            return -EBADF;
        err = copy_statx(file_inode(f), out);
        file_put(f);
        return err;
    }
    struct dentry *d = user_walk(dirfd, path, walk_flags(flags));
    if (IS_ERR(d))
        return PTR_ERR(d);
    err = copy_statx(d->inode, out);
    dentry_put(d);
    return err;
}

static int copy_statfs(struct superblock *sb, struct statfs __user *out) {
    struct statfs s;
    memset(&s, 0, sizeof(s));
    s.f_bsize = PAGE_SIZE;
    s.f_namelen = NAME_MAX;
    int err = sb->ops && sb->ops->statfs ? sb->ops->statfs(sb, &s) : 0;
    if (err)
        return err;
    if (!s.f_frsize)
        s.f_frsize = s.f_bsize;
    s.f_fsid.val[0] = sb->dev;
    s.f_flags = 0x20 | (sb->read_only ? 1 : 0); // ST_VALID, ST_RDONLY
    return copy_to_user(out, &s, sizeof(s));
}

long sys_statfs(const char __user *path, struct statfs __user *out) {
    struct dentry *d = user_walk(AT_FDCWD, path, 0);
    if (IS_ERR(d))
        return PTR_ERR(d);
    int err = copy_statfs(d->inode->sb, out);
    dentry_put(d);
    return err;
}

long sys_fstatfs(int fd, struct statfs __user *out) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    int err = copy_statfs(file_inode(f)->sb, out);
    file_put(f);
    return err;
}

// F_OK, R_OK, W_OK, X_OK are the bits 0, 4, 2, 1. Root may read and write everything, and execute
// what has an x bit or is a directory.
static int check_access(const struct inode *i, int mode) {
    if ((mode & 2) && i->sb->read_only && !S_ISCHR(i->mode) && !S_ISBLK(i->mode) &&
        !S_ISFIFO(i->mode) && !S_ISSOCK(i->mode))
        return -EROFS;
    if ((mode & 1) && !S_ISDIR(i->mode) && !(i->mode & 0111))
        return -EACCES;
    return 0;
}

long sys_faccessat2(int dirfd, const char __user *path, int mode, int flags) {
    if ((mode & ~7) || (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_EACCESS)))
        return -EINVAL;
    struct dentry *d = user_walk(dirfd, path, walk_flags(flags));
    if (IS_ERR(d))
        return PTR_ERR(d);
    int err = check_access(d->inode, mode);
    dentry_put(d);
    return err;
}

long sys_faccessat(int dirfd, const char __user *path, int mode) {
    return sys_faccessat2(dirfd, path, mode, 0);
}

long sys_access(const char __user *path, int mode) {
    return sys_faccessat2(AT_FDCWD, path, mode, 0);
}

long sys_readlinkat(int dirfd, const char __user *path, char __user *buf, int size) {
    if (size <= 0)
        return -EINVAL;
    struct dentry *d = user_walk(dirfd, path, WALK_NOFOLLOW | WALK_EMPTY);
    if (IS_ERR(d))
        return PTR_ERR(d);
    long n = S_ISLNK(d->inode->mode) ? 0 : -EINVAL;
    if (!n) {
        char *target = link_target(d->inode);
        if (IS_ERR(target)) {
            n = PTR_ERR(target);
        } else {
            n = MIN(strlen(target), (size_t)size);
            if (copy_to_user(buf, target, n))
                n = -EFAULT;
            kfree(target);
        }
    }
    dentry_put(d);
    return n;
}

long sys_readlink(const char __user *path, char __user *buf, int size) {
    return sys_readlinkat(AT_FDCWD, path, buf, size);
}
