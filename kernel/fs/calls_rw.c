// read, write and their relatives.
#include <linux/fs.h>
#include <linux/uio.h>
#include "fs/file.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "syscall/syscall.h"

#define TRANSFER_MAX 0x7ffff000ul // of one call, as in Linux

// Inline: its four callers know what `pos` and `write` are.
static always_inline long transfer(int fd, void *buf, size_t count, uint64_t *pos, bool write) {
    struct uio u;
    struct uio_vec vec;
    struct file *f = fd_get(fd);
    if (unlikely(!f))
        return -EBADF;
    uio_init(&u, &vec, buf, MIN(count, TRANSFER_MAX), false);
    long n = write ? file_write(f, &u, pos) : file_read(f, &u, pos);
    file_put(f);
    return n;
}

long sys_read(int fd, void __user *buf, size_t count) {
    return transfer(fd, buf, count, NULL, false);
}

long sys_write(int fd, const void __user *buf, size_t count) {
    return transfer(fd, (void *)buf, count, NULL, true);
}

long sys_pread64(int fd, void __user *buf, size_t count, int64_t pos) {
    uint64_t at = pos;
    return pos < 0 ? -EINVAL : transfer(fd, buf, count, &at, false);
}

long sys_pwrite64(int fd, const void __user *buf, size_t count, int64_t pos) {
    uint64_t at = pos;
    return pos < 0 ? -EINVAL : transfer(fd, (void *)buf, count, &at, true);
}

_Static_assert(sizeof(struct uio_vec) == sizeof(struct iovec) &&
                   offsetof(struct uio_vec, len) == offsetof(struct iovec, iov_len),
               "an iovec array is copied as it is");

#define FEW_VECS 8u

static long transfer_vec(int fd, const struct iovec __user *user, unsigned long count,
                         uint64_t *pos, bool write) {
    struct uio_vec few[FEW_VECS], *vec = few;
    struct uio u = {.vec_count = count};
    long result = -EFAULT;
    if (count > UIO_MAXIOV)
        return -EINVAL;
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    if (count > FEW_VECS && !(vec = kmalloc(count * sizeof(*vec)))) {
        file_put(f);
        return -ENOMEM;
    }
    if (copy_from_user(vec, user, count * sizeof(*vec)))
        goto out;
    result = -EINVAL;
    for (unsigned long i = 0; i < count; i++) {
        if ((ssize_t)vec[i].len < 0)
            goto out;
        vec[i].len = MIN(vec[i].len, TRANSFER_MAX - u.resid);
        u.resid += vec[i].len;
    }
    u.vec = vec;
    result = !count ? 0 : write ? file_write(f, &u, pos) : file_read(f, &u, pos);
out:
    if (vec != few)
        kfree(vec);
    file_put(f);
    return result;
}

long sys_readv(int fd, const struct iovec __user *vec, unsigned long count) {
    return transfer_vec(fd, vec, count, NULL, false);
}

long sys_writev(int fd, const struct iovec __user *vec, unsigned long count) {
    return transfer_vec(fd, vec, count, NULL, true);
}

// On a 64-bit machine the low word holds all of the position.
long sys_preadv(int fd, const struct iovec __user *vec, unsigned long count, uint64_t pos_low,
                uint64_t pos_high) {
    return (int64_t)pos_low < 0 ? -EINVAL : transfer_vec(fd, vec, count, &pos_low, false);
}

long sys_pwritev(int fd, const struct iovec __user *vec, unsigned long count, uint64_t pos_low,
                 uint64_t pos_high) {
    return (int64_t)pos_low < 0 ? -EINVAL : transfer_vec(fd, vec, count, &pos_low, true);
}

long sys_preadv2(int fd, const struct iovec __user *vec, unsigned long count, uint64_t pos_low,
                 uint64_t pos_high, int flags) {
    if (flags)
        return -EOPNOTSUPP;
    if (pos_low == UINT64_MAX) // -1: at the file's position
        return transfer_vec(fd, vec, count, NULL, false);
    return sys_preadv(fd, vec, count, pos_low, pos_high);
}

long sys_pwritev2(int fd, const struct iovec __user *vec, unsigned long count, uint64_t pos_low,
                  uint64_t pos_high, int flags) {
    if (flags)
        return -EOPNOTSUPP;
    if (pos_low == UINT64_MAX)
        return transfer_vec(fd, vec, count, NULL, true);
    return sys_pwritev(fd, vec, count, pos_low, pos_high);
}

long sys_lseek(int fd, int64_t offset, int whence) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long pos = whence < 0 || whence > SEEK_MAX ? -EINVAL : file_seek(f, offset, whence);
    file_put(f);
    return pos;
}
