// open, close and their relatives.
#include <linux/close_range.h>
#include <linux/fs.h>
#include <linux/memfd.h>
#include "fs/namei.h"
#include "lib/errno.h"
#include "mm/uaccess.h"
#include "syscall/syscall.h"

long sys_openat(int dirfd, const char __user *path, int flags, uint32_t mode) {
    struct user_path p;
    int err = user_path_get(&p, path);
    if (err)
        return err;
    struct dentry *at = dirfd_dentry(dirfd, p.s, false);
    struct file *f = IS_ERR(at) ? (void *)at : file_open_at(at, p.s, flags, mode);
    if (at && !IS_ERR(at))
        dentry_put(at);
    user_path_put(&p);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, 0, flags & O_CLOEXEC);
}

long sys_open(const char __user *path, int flags, uint32_t mode) {
    return sys_openat(AT_FDCWD, path, flags, mode);
}

long sys_creat(const char __user *path, uint32_t mode) {
    return sys_openat(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

long sys_memfd_create(const char __user *user_name, unsigned flags) {
    char name[250]; // Linux: NAME_MAX less "memfd:", with the zero
    if (flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING))
        return -EINVAL;
    long n = strncpy_from_user(name, user_name, sizeof(name));
    if (n < 0)
        return n == -ENAMETOOLONG ? -EINVAL : n;
    struct file *f = shmem_file_create(name, 0);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, 0, flags & MFD_CLOEXEC);
}

long sys_close(int fd) {
    return fd_close(fd);
}

long sys_close_range(unsigned first, unsigned last, unsigned flags) {
    if (first > last || (flags & ~CLOSE_RANGE_CLOEXEC))
        return -EINVAL;
    fd_range(first, last, flags & CLOSE_RANGE_CLOEXEC);
    return 0;
}
