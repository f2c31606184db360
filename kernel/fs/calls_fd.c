// Descriptors: dup, fcntl, ioctl, locks.
#include <asm/ioctls.h>
#include <linux/fs.h>
#include "fs/fdtable.h"
#include "fs/lock.h"
#include "ipc/ipc.h"
#include "lib/errno.h"
#include "mm/uaccess.h"
#include "syscall/syscall.h"

// What F_SETFL may change.
#define SETTABLE (O_APPEND | O_NONBLOCK | FASYNC | O_DIRECT | O_NOATIME)

long sys_dup(int fd) {
    struct file *f = fd_get(fd);
    return f ? fd_install(f, 0, false) : -EBADF;
}

long sys_dup3(int from, int to, int flags) {
    if ((flags & ~O_CLOEXEC) || from == to)
        return -EINVAL;
    struct file *f = fd_get(from);
    return f ? fd_install_at(f, to, flags & O_CLOEXEC) : -EBADF;
}

long sys_dup2(int from, int to) {
    if (from != to)
        return sys_dup3(from, to, 0);
    struct file *f = fd_get(from);
    if (!f)
        return -EBADF;
    file_put(f);
    return to;
}

static long record_lock(struct file *f, unsigned cmd, struct flock __user *user) {
    struct flock l;
    if (copy_from_user(&l, user, sizeof(l)))
        return -EFAULT;
    int err = (f->flags & O_PATH) ? -EBADF : lock_fcntl(f, cmd, &l);
    if (!err && (cmd == F_GETLK || cmd == F_OFD_GETLK) && copy_to_user(user, &l, sizeof(l)))
        return -EFAULT;
    return err;
}

static long set_flags(struct file *f, unsigned flags) {
    uint32_t old = READ_ONCE(f->flags), new;
    if (f->flags & O_PATH)
        return -EBADF;
    do {
        new = (old & ~SETTABLE) | (flags & SETTABLE);
    } while (!__atomic_compare_exchange_n(&f->flags, &old, new, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return 0;
}

static long fcntl_file(struct file *f, int fd, unsigned cmd, unsigned long arg) {
    switch (cmd) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        if (arg >= current_file_limit())
            return -EINVAL;
        return fd_install(file_get(f), arg, cmd == F_DUPFD_CLOEXEC);
    case F_GETFD: return fd_cloexec(fd, -1) == 1 ? FD_CLOEXEC : 0;
    case F_SETFD: return fd_cloexec(fd, arg & FD_CLOEXEC) < 0 ? -EBADF : 0;
    case F_GETFL: return f->flags | ((f->flags & O_PATH) || !f->dentry ? 0 : O_LARGEFILE);
    case F_SETFL: return set_flags(f, arg);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW: return record_lock(f, cmd, (struct flock __user *)arg);
    case F_GETOWN: return f->owner;
    case F_SETOWN: f->owner = arg; return 0;
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ: return pipe_fcntl(f, cmd, arg);
    case F_GETSIG: return 0;
    default: return -EINVAL;
    }
}

long sys_fcntl(int fd, unsigned cmd, unsigned long arg) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long result = fcntl_file(f, fd, cmd, arg);
    file_put(f);
    return result;
}

long sys_flock(int fd, int op) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    int err = (f->flags & O_PATH) ? -EBADF : lock_flock(f, op);
    file_put(f);
    return err;
}

// Those that every file has.
static noinline long ioctl_common(struct file *f, int fd, unsigned cmd, unsigned long arg) {
    int value;
    switch (cmd) {
    case FIOCLEX: fd_cloexec(fd, 1); return 0;
    case FIONCLEX: fd_cloexec(fd, 0); return 0;
    case FIONBIO:
        if (get_user(value, (int __user *)arg))
            return -EFAULT;
        return set_flags(f, value ? f->flags | O_NONBLOCK : f->flags & ~O_NONBLOCK);
    case FIONREAD:
        if (!S_ISREG(f->inode->mode))
            break;
        value = f->inode->size > f->pos ? MIN(f->inode->size - f->pos, 0x7fffffffull) : 0;
        return put_user(value, (int __user *)arg);
    }
    return f->ops->ioctl ? f->ops->ioctl(f, cmd, arg) : -ENOTTY;
}

#define COMMON_TYPE 'T' // their type, and the terminals'

// Of a file whose table is shared, and what needs more than the call of its own function.
static noinline long ioctl_slowly(int fd, unsigned cmd, unsigned long arg) {
    struct file *f = fd_get(fd);
    long result;
    if (!f)
        return -EBADF;
    if (f->flags & O_PATH)
        result = -EBADF;
    else if (_IOC_TYPE(cmd) == COMMON_TYPE || !f->ops->ioctl)
        result = ioctl_common(f, fd, cmd, arg);
    else
        result = f->ops->ioctl(f, cmd, arg);
    file_put(f);
    return result;
}

long sys_ioctl(int fd, unsigned cmd, unsigned long arg) {
    struct file *f = file_of_private_table(fd);
    if (unlikely(!f || _IOC_TYPE(cmd) == COMMON_TYPE || (f->flags & O_PATH) || !f->ops->ioctl))
        return ioctl_slowly(fd, cmd, arg);
    return f->ops->ioctl(f, cmd, arg); // a device's own
}
