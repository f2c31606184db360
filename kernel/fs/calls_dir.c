// Listing directories; the working directory, the root, the umask.
#include <linux/fs.h>
#include "fs/context.h"
#include "fs/namei.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "syscall/syscall.h"

// getdents64(2)
struct dirent64 {
    uint64_t d_ino;
    int64_t d_off; // where the listing goes on behind this entry
    uint16_t d_reclen;
    uint8_t d_type;
    char d_name[];
};
// getdents(2): the type is the last byte of the record.
struct dirent_old {
    uint64_t d_ino, d_off;
    uint16_t d_reclen;
    char d_name[];
};

struct listing {
    struct dir_context c;
    char __user *next; // where the next record goes
    size_t left;
    char __user *last; // the last record: its d_off is known when the next one comes
    bool old;
    int err;
};

// Both records have d_off at the same place.
static int set_last_offset(struct listing *l) {
    int64_t pos = l->c.pos;
    return l->last ? copy_to_user(l->last + offsetof(struct dirent64, d_off), &pos, sizeof(pos))
                   : 0;
}

static bool emit(struct dir_context *c, const char *name, size_t len, uint64_t ino, unsigned type) {
    struct listing *l = container_of(c, struct listing, c);
    char record[sizeof(struct dirent64) + NAME_MAX + 10];
    size_t head = l->old ? offsetof(struct dirent_old, d_name) : offsetof(struct dirent64, d_name);
    size_t size = ROUND_UP(head + len + (l->old ? 2 : 1), 8);
    if (size > l->left || len > NAME_MAX) {
        l->err = l->last ? 0 : -EINVAL; // not even one fits
        return false;
    }
    memset(record, 0, size);
    struct dirent64 *d = (void *)record;
    d->d_ino = ino;
    d->d_reclen = size;
    if (l->old)
        record[size - 1] = type;
    else
        d->d_type = type;
    memcpy(record + head, name, len);
    if (set_last_offset(l) || copy_to_user(l->next, record, size)) {
        l->err = -EFAULT;
        return false;
    }
    l->last = l->next;
    l->next += size;
    l->left -= size;
    return true;
}

static long list(int fd, void __user *buf, unsigned size, bool old) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long result = -ENOTDIR;
    if (f->ops->iterate) {
        struct inode *dir = f->inode;
        struct listing l = {
            .c = {.emit = emit}, .next = buf, .left = MIN(size, 0x7fffffffu), .old = old};
        mutex_lock(&f->pos_lock);
        l.c.pos = f->pos;
        mutex_lock(&dir->lock);
        int err = dir->nlink ? f->ops->iterate(f, &l.c) : -ENOENT;
        mutex_unlock(&dir->lock);
        if (!err)
            err = set_last_offset(&l);
        result = l.next - (char __user *)buf;
        if (!result)
            result = err ? err : l.err;
        else
            f->pos = l.c.pos;
        if (!result) // at the end, perhaps behind entries that were removed
            f->pos = l.c.pos;
        mutex_unlock(&f->pos_lock);
        inode_accessed(dir);
    }
    file_put(f);
    return result;
}

long sys_getdents64(int fd, void __user *buf, unsigned size) {
    return list(fd, buf, size, false);
}

long sys_getdents(int fd, void __user *buf, unsigned size) {
    return list(fd, buf, size, true);
}

long sys_getcwd(char __user *buf, unsigned long size) {
    char *path = kmalloc(PATH_MAX);
    if (!path)
        return -ENOMEM;
    struct dentry *d = fs_context_cwd(fs_context());
    long n = d->deleted ? -ENOENT : dentry_path(d, path, PATH_MAX);
    dentry_put(d);
    if (n >= 0) {
        n++; // the call's result counts the zero
        if ((unsigned long)n > size)
            n = -ERANGE;
        else if (copy_to_user(buf, path, n))
            n = -EFAULT;
    }
    kfree(path);
    return n;
}

long sys_chdir(const char __user *path) {
    struct dentry *d = user_walk(AT_FDCWD, path, WALK_DIR);
    if (IS_ERR(d))
        return PTR_ERR(d);
    fs_context_set_cwd(fs_context(), d);
    return 0;
}

long sys_fchdir(int fd) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    bool is_dir = f->dentry && S_ISDIR(f->inode->mode);
    if (is_dir) {
        dentry_get(f->dentry);
        fs_context_set_cwd(fs_context(), f->dentry);
    }
    file_put(f);
    return is_dir ? 0 : -ENOTDIR;
}

long sys_chroot(const char __user *path) {
    struct dentry *d = user_walk(AT_FDCWD, path, WALK_DIR);
    if (IS_ERR(d))
        return PTR_ERR(d);
    fs_context_set_root(fs_context(), d);
    return 0;
}

long sys_umask(int mask) {
    return __atomic_exchange_n(&fs_context()->umask, mask & 0777, __ATOMIC_RELAXED);
}
