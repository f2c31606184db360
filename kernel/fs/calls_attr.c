// Rights, owners, times. Extended attributes do not exist here.
#include <linux/fs.h>
#include <linux/time_types.h>
#include "cpu/clock.h"
#include "fs/namei.h"
#include "lib/errno.h"
#include "mm/uaccess.h"
#include "syscall/syscall.h"

// What a change does to a locked inode.
struct change {
    bool set_mode, set_owner, set_times;
    uint32_t mode, uid, gid; // uid, gid UINT32_MAX: leave
    struct time_choice {
        bool leave;
        uint64_t ns;
    } atime, mtime;
};

static int change_inode(struct inode *i, const struct change *c) {
    if (i->sb->read_only)
        return -EROFS;
    if (c->set_mode && S_ISLNK(i->mode))
        return -EOPNOTSUPP;
    mutex_lock(&i->lock);
    if (c->set_mode)
        i->mode = (i->mode & S_IFMT) | (c->mode & 07777);
    if (c->set_owner) {
        if (c->uid != UINT32_MAX)
            i->uid = c->uid;
        if (c->gid != UINT32_MAX)
            i->gid = c->gid;
        if (S_ISREG(i->mode))
            i->mode &= ~(S_ISUID | S_ISGID);
    }
    if (c->set_times && !c->atime.leave)
        i->atime = c->atime.ns;
    if (c->set_times && !c->mtime.leave)
        i->mtime = c->mtime.ns;
    i->ctime = clock_realtime();
    int err = inode_changed(i);
    mutex_unlock(&i->lock);
    return err;
}

static long change_fd(int fd, const struct change *c) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    int err = change_inode(f->dentry ? f->dentry->inode : f->inode, c);
    file_put(f);
    return err;
}

static long change_path(int dirfd, const char __user *path, int flags, const struct change *c) {
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    struct dentry *d = user_walk(dirfd, path,
                                 (flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0) |
                                     (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0));
    if (IS_ERR(d))
        return PTR_ERR(d);
    int err = change_inode(d->inode, c);
    dentry_put(d);
    return err;
}

long sys_fchmodat(int dirfd, const char __user *path, uint32_t mode) {
    return change_path(dirfd, path, 0, &(struct change){.set_mode = true, .mode = mode});
}

long sys_chmod(const char __user *path, uint32_t mode) {
    return sys_fchmodat(AT_FDCWD, path, mode);
}

long sys_fchmod(int fd, uint32_t mode) {
    return change_fd(fd, &(struct change){.set_mode = true, .mode = mode});
}

long sys_fchownat(int dirfd, const char __user *path, uint32_t uid, uint32_t gid, int flags) {
    struct change c = {.set_owner = true, .uid = uid, .gid = gid};
    return change_path(dirfd, path, flags, &c);
}

long sys_chown(const char __user *path, uint32_t uid, uint32_t gid) {
    return sys_fchownat(AT_FDCWD, path, uid, gid, 0);
}

long sys_lchown(const char __user *path, uint32_t uid, uint32_t gid) {
    return sys_fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW);
}

long sys_fchown(int fd, uint32_t uid, uint32_t gid) {
    return change_fd(fd, &(struct change){.set_owner = true, .uid = uid, .gid = gid});
}

// utimensat(2): instead of nanoseconds.
#define UTIME_NOW  0x3fffffff
#define UTIME_OMIT 0x3ffffffe

static int choose_time(int64_t sec, int64_t nsec, struct time_choice *t) {
    t->leave = nsec == UTIME_OMIT;
    if (t->leave)
        return 0;
    if (nsec == UTIME_NOW) {
        t->ns = clock_realtime();
        return 0;
    }
    if (nsec < 0 || nsec >= (int64_t)NSEC_PER_SEC)
        return -EINVAL;
    // Kept as unsigned nanoseconds: from 1970 to 2554.
    sec = sec < 0 ? 0 : MIN(sec, (int64_t)(UINT64_MAX / NSEC_PER_SEC - 1));
    t->ns = sec * NSEC_PER_SEC + nsec;
    return 0;
}

// path NULL: the open file dirfd itself.
static long set_times(int dirfd, const char __user *path, int flags, const int64_t *t) {
    int64_t now[4] = {0, UTIME_NOW, 0, UTIME_NOW};
    struct change c = {.set_times = true};
    t = t ? t : now;
    int err = choose_time(t[0], t[1], &c.atime);
    if (!err)
        err = choose_time(t[2], t[3], &c.mtime);
    if (err || (c.atime.leave && c.mtime.leave))
        return err;
    if (!path && dirfd != AT_FDCWD)
        return flags ? -EINVAL : change_fd(dirfd, &c);
    return change_path(dirfd, path, flags, &c);
}

long sys_utimensat(int dirfd, const char __user *path, const struct __kernel_timespec __user *times,
                   int flags) {
    struct __kernel_timespec t[2];
    if (!times)
        return set_times(dirfd, path, flags, NULL);
    if (copy_from_user(t, times, sizeof(t)))
        return -EFAULT;
    int64_t all[4] = {t[0].tv_sec, t[0].tv_nsec, t[1].tv_sec, t[1].tv_nsec};
    return set_times(dirfd, path, flags, all);
}

long sys_futimesat(int dirfd, const char __user *path,
                   const struct __kernel_old_timeval __user *times) {
    struct __kernel_old_timeval t[2];
    if (!times)
        return set_times(dirfd, path, 0, NULL);
    if (copy_from_user(t, times, sizeof(t)))
        return -EFAULT;
    for (int i = 0; i < 2; i++)
        if (t[i].tv_usec < 0 || t[i].tv_usec >= 1000000)
            return -EINVAL;
    int64_t all[4] = {t[0].tv_sec, t[0].tv_usec * 1000, t[1].tv_sec, t[1].tv_usec * 1000};
    return set_times(dirfd, path, 0, all);
}

long sys_utimes(const char __user *path, const struct __kernel_old_timeval __user *times) {
    return sys_futimesat(AT_FDCWD, path, times);
}

long sys_utime(const char __user *path, const int64_t __user *times) {
    int64_t t[2];
    if (!times)
        return set_times(AT_FDCWD, path, 0, NULL);
    if (copy_from_user(t, times, sizeof(t)))
        return -EFAULT;
    int64_t all[4] = {t[0], 0, t[1], 0};
    return set_times(AT_FDCWD, path, 0, all);
}

#define NO_ATTRIBUTES(name, args) \
    long sys_##name args {        \
        return -EOPNOTSUPP;       \
    }
#define GET_ARGS (const char __user *path, const char __user *name, void __user *value, size_t size)
#define SET_ARGS                                                                              \
    (const char __user *path, const char __user *name, const void __user *value, size_t size, \
     int flags)
NO_ATTRIBUTES(getxattr, GET_ARGS)
NO_ATTRIBUTES(lgetxattr, GET_ARGS)
NO_ATTRIBUTES(fgetxattr, (int fd, const char __user *name, void __user *value, size_t size))
NO_ATTRIBUTES(setxattr, SET_ARGS)
NO_ATTRIBUTES(lsetxattr, SET_ARGS)
NO_ATTRIBUTES(fsetxattr,
              (int fd, const char __user *name, const void __user *value, size_t size, int flags))
NO_ATTRIBUTES(listxattr, (const char __user *path, char __user *list, size_t size))
NO_ATTRIBUTES(llistxattr, (const char __user *path, char __user *list, size_t size))
NO_ATTRIBUTES(flistxattr, (int fd, char __user *list, size_t size))
NO_ATTRIBUTES(removexattr, (const char __user *path, const char __user *name))
NO_ATTRIBUTES(lremovexattr, (const char __user *path, const char __user *name))
NO_ATTRIBUTES(fremovexattr, (int fd, const char __user *name))
