// Copying between files, sizes of files, writing back.
#include <linux/falloc.h>
#include <linux/fs.h>
#include "fs/namei.h"
#include "fs/pagecache.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "proc/signal.h"
#include "sched/world.h"
#include "syscall/syscall.h"

#define CHUNK (16 * KIB)

// Moves up to count bytes through a kernel buffer. in_pos, out_pos NULL: the files' own positions.
static ssize_t copy(struct file *in, uint64_t *in_pos, struct file *out, uint64_t *out_pos,
                    size_t count) {
    ssize_t done = 0, n = 0;
    char *buf = kmalloc(CHUNK);
    if (!buf)
        return -ENOMEM;
    while ((size_t)done < count) {
        struct uio u;
        struct uio_vec vec;
        uio_init(&u, &vec, buf, MIN(CHUNK, count - done), true);
        n = file_read(in, &u, in_pos);
        if (n <= 0)
            break;
        ssize_t wrote = 0;
        while (wrote < n) {
            uio_init(&u, &vec, buf + wrote, n - wrote, true);
            ssize_t w = file_write(out, &u, out_pos);
            if (w <= 0) {
                n = w;
                break;
            }
            wrote += w;
        }
        done += wrote;
        if (wrote < n ||
            n <= 0) // what was read and not taken is lost only for streams, as in splice
            break;
        if (signal_pending(current))
            break;
        cond_resched();
    }
    kfree(buf);
    return done ? done : n;
}

// Fetches an optional position argument. 0, -EFAULT, -EINVAL.
static int get_pos(const int64_t __user *user, int64_t *pos) {
    if (!user)
        return 0;
    if (get_user(*pos, user))
        return -EFAULT;
    return *pos < 0 ? -EINVAL : 0;
}

static long copy_fds(int in_fd, int64_t __user *in_user, int out_fd, int64_t __user *out_user,
                     size_t count) {
    int64_t in_pos = 0, out_pos = 0;
    int err = get_pos(in_user, &in_pos);
    if (!err)
        err = get_pos(out_user, &out_pos);
    if (err)
        return err;
    struct file *in = fd_get(in_fd), *out = fd_get(out_fd);
    ssize_t n = -EBADF;
    if (in && out && file_readable(in) && file_writable(out))
        n = copy(in, in_user ? (uint64_t *)&in_pos : NULL, out,
                 out_user ? (uint64_t *)&out_pos : NULL, MIN(count, 0x7ffff000ul));
    if (n > 0 &&
        ((in_user && put_user(in_pos, in_user)) || (out_user && put_user(out_pos, out_user))))
        n = -EFAULT;
    if (in)
        file_put(in);
    if (out)
        file_put(out);
    return n;
}

long sys_sendfile(int out, int in, int64_t __user *offset, size_t count) {
    return copy_fds(in, offset, out, NULL, count);
}

long sys_copy_file_range(int in, int64_t __user *in_pos, int out, int64_t __user *out_pos,
                         size_t count, unsigned flags) {
    if (flags)
        return -EINVAL;
    struct file *a = fd_get(in), *b = fd_get(out);
    int err = !a || !b ? -EBADF : 0;
    if (!err && (S_ISDIR(a->inode->mode) || S_ISDIR(b->inode->mode)))
        err = -EISDIR;
    else if (!err && (!S_ISREG(a->inode->mode) || !S_ISREG(b->inode->mode)))
        err = -EINVAL;
    else if (!err && (b->flags & O_APPEND))
        err = -EBADF;
    if (a)
        file_put(a);
    if (b)
        file_put(b);
    return err ? err : copy_fds(in, in_pos, out, out_pos, count);
}

long sys_splice(int in, int64_t __user *in_pos, int out, int64_t __user *out_pos, size_t count,
                unsigned flags) {
    struct file *a = fd_get(in), *b = fd_get(out);
    int err = !a || !b ? -EBADF : 0;
    size_t at_once = count;
    if (!err) {
        bool from_pipe = S_ISFIFO(a->inode->mode), to_pipe = S_ISFIFO(b->inode->mode);
        if (!from_pipe && !to_pipe)
            err = -EINVAL;
        else if ((from_pipe && in_pos) || (to_pipe && out_pos))
            err = -ESPIPE;
        at_once = MIN(count, CHUNK); // returns with what there is: never waits for the rest
    }
    if (a)
        file_put(a);
    if (b)
        file_put(b);
    return err ? err : copy_fds(in, in_pos, out, out_pos, at_once);
}

static int truncate_file(struct file *f, int64_t size) {
    if (!file_writable(f) || (f->flags & O_PATH))
        return -EINVAL;
    return inode_truncate(f->inode, size);
}

long sys_ftruncate(int fd, int64_t size) {
    if (size < 0)
        return -EINVAL;
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    int err = truncate_file(f, size);
    file_put(f);
    return err;
}

long sys_truncate(const char __user *path, int64_t size) {
    if (size < 0)
        return -EINVAL;
    struct dentry *d = user_walk(AT_FDCWD, path, 0);
    if (IS_ERR(d))
        return PTR_ERR(d);
    int err = inode_truncate(d->inode, size);
    dentry_put(d);
    return err;
}

long sys_fallocate(int fd, int mode, int64_t offset, int64_t len) {
    if (offset < 0 || len <= 0)
        return -EINVAL;
    if (mode & ~FALLOC_FL_KEEP_SIZE)
        return -EOPNOTSUPP;
    struct file *f = fd_get(fd);
    int64_t end;
    int err = 0;
    if (!f)
        return -EBADF;
    if (!file_writable(f))
        err = -EBADF;
    else if (S_ISFIFO(f->inode->mode))
        err = -ESPIPE;
    else if (!S_ISREG(f->inode->mode))
        err = -ENODEV;
    else if (__builtin_add_overflow(offset, len, &end))
        err = -EFBIG;
    else if (!(mode & FALLOC_FL_KEEP_SIZE) && (uint64_t)end > f->inode->size)
        err = inode_truncate(f->inode, end);
    file_put(f);
    return err;
}

long sys_fadvise64(int fd, int64_t offset, size_t len, int advice) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    int err = S_ISFIFO(f->inode->mode) ? -ESPIPE : advice < 0 || advice > 5 ? -EINVAL : 0;
    file_put(f);
    return err;
}

long sys_readahead(int fd, int64_t offset, size_t count) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    int err = !file_readable(f) ? -EBADF : !S_ISREG(f->inode->mode) ? -EINVAL : 0;
    file_put(f);
    return err;
}

static long sync_fd(int fd, bool data_only) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    int err = f->ops->fsync ? f->ops->fsync(f, data_only) : -EINVAL;
    file_put(f);
    return err;
}

long sys_fsync(int fd) {
    return sync_fd(fd, false);
}

long sys_fdatasync(int fd) {
    return sync_fd(fd, true);
}

long sys_sync_file_range(int fd, int64_t offset, int64_t len, unsigned flags) {
    if (offset < 0 || len < 0 || flags > 7)
        return -EINVAL;
    return flags ? sync_fd(fd, true) : 0;
}

long sys_sync(void) {
    vfs_sync_all();
    return 0;
}

long sys_syncfs(int fd) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    file_put(f);
    int err = pagecache_sync_all();
    vfs_sync_all();
    return err;
}
