// Open files: their life, and the checks that every transfer passes.
#include <linux/fs.h>
#include "fs/current.h"
#include "fs/devfs.h"
#include "fs/inode.h"
#include "fs/lock.h"
#include "fs/mount.h"
#include "ipc/ipc.h"
#include "lib/errno.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/heap.h"

static struct file *file_new(const struct file_ops *ops, unsigned flags) {
    struct file *f = kzalloc(sizeof(*f));
    if (!f)
        return ERR_PTR(-ENOMEM);
    f->refs = 1;
    f->flags = flags;
    f->ops = ops;
    mutex_init(&f->pos_lock);
    return f;
}

struct file *file_alloc(struct dentry *d, const struct file_ops *ops, unsigned flags) {
    struct file *f = file_new(ops, flags);
    if (IS_ERR(f))
        return f;
    f->dentry = d;
    dentry_get(d);
    f->inode = d->inode;
    inode_get(d->inode);
    return f;
}

struct file *file_alloc_anon(const char *name, const struct file_ops *ops, void *data,
                             unsigned flags) {
    uint32_t mode = !strcmp(name, "pipe")     ? S_IFIFO | 0600
                    : !strcmp(name, "socket") ? S_IFSOCK | 0777
                                              : 0600;
    struct inode *i = inode_alloc(&anon_superblock, superblock_new_ino(&anon_superblock), mode);
    if (!i)
        return ERR_PTR(-ENOMEM);
    struct file *f = file_new(ops, flags);
    if (IS_ERR(f)) {
        inode_put(i);
        return f;
    }
    f->inode = i;
    f->data = data;
    f->name = name;
    return f;
}

struct file *file_alloc_inode(struct inode *i, const char *name, const struct file_ops *ops,
                              unsigned flags) {
    size_t size = strlen(name) + sizeof("/memfd:");
    char *own_name = kmalloc(size);
    struct file *f = own_name ? file_new(ops, flags) : ERR_PTR(-ENOMEM);
    if (IS_ERR(f)) {
        kfree(own_name);
        return f;
    }
    scnprintf(own_name, size, "/memfd:%s", name);
    f->name = f->own_name = own_name;
    f->inode = i;
    return f;
}

static void file_free(struct file *f) {
    if (f->epoll)
        epoll_file_closed(f);
    if (f->locked)
        locks_release_file(f);
    if (f->ops->release)
        f->ops->release(f);
    if (f->device)
        device_put(f->device);
    if (f->dentry)
        dentry_put(f->dentry);
    if (f->writes)
        inode_end_write(f->inode);
    if (f->executes)
        inode_end_exec(f->inode);
    inode_put(f->inode);
    kfree(f->own_name);
    kfree(f);
}

void file_put(struct file *f) {
    if (!__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL))
        file_free(f);
}

int64_t file_no_seek(struct file *f, int64_t offset, int whence) {
    return -ESPIPE;
}

// pread and pwrite need a file that has positions.
static bool is_stream(const struct file *f) {
    return f->ops->seek == file_no_seek || S_ISFIFO(f->inode->mode) || S_ISSOCK(f->inode->mode);
}

// Two system calls on one open file must not see the same position. When nobody else can reach the
// file there is nobody to lock out: the table's reference and the caller's are the only ones, and no
// other thread uses the table.
static bool pos_is_private(const struct file *f) {
    return READ_ONCE(f->refs) <= 2 && files_private(current_files());
}

typedef ssize_t (*transfer_fn)(struct file *f, struct uio *u, uint64_t *pos);

static always_inline ssize_t transfer(struct file *f, struct uio *u, uint64_t *pos,
                                      transfer_fn fn) {
    if (pos) {
        if (is_stream(f))
            return -ESPIPE;
        uint64_t at = *pos;
        ssize_t n = fn(f, u, &at);
        *pos = at;
        return n;
    }
    if (f->ops->seek == file_no_seek)
        return fn(f, u, NULL);
    if (pos_is_private(f))
        return fn(f, u, &f->pos);
    mutex_lock(&f->pos_lock);
    ssize_t n = fn(f, u, &f->pos);
    mutex_unlock(&f->pos_lock);
    return n;
}

ssize_t file_read(struct file *f, struct uio *u, uint64_t *pos) {
    if (!file_readable(f))
        return -EBADF;
    if (!f->ops->read)
        return S_ISDIR(f->inode->mode) ? -EISDIR : -EINVAL;
    return transfer(f, u, pos, f->ops->read);
}

ssize_t file_write(struct file *f, struct uio *u, uint64_t *pos) {
    if (!file_writable(f))
        return -EBADF;
    if (!f->ops->write)
        return -EINVAL;
    ssize_t n = transfer(f, u, pos, f->ops->write);
    if (n > 0 && (f->flags & O_DSYNC) && f->ops->fsync) {
        int err = f->ops->fsync(f, (f->flags & O_SYNC) != O_SYNC);
        return err ? err : n;
    }
    return n;
}

ssize_t file_read_kernel(struct file *f, void *buf, size_t n, uint64_t pos) {
    struct uio u;
    struct uio_vec vec;
    if (!f->ops->read)
        return -EINVAL;
    uio_init(&u, &vec, buf, n, true);
    return f->ops->read(f, &u, &pos);
}

ssize_t file_write_kernel(struct file *f, const void *buf, size_t n, uint64_t pos) {
    struct uio u;
    struct uio_vec vec;
    if (!f->ops->write)
        return -EINVAL;
    uio_init(&u, &vec, (void *)buf, n, true);
    return f->ops->write(f, &u, &pos);
}

static int64_t seek_default(struct file *f, int64_t offset, int whence) {
    int64_t size = f->inode->size;
    if (S_ISCHR(f->inode->mode) || S_ISFIFO(f->inode->mode) || S_ISSOCK(f->inode->mode))
        return S_ISCHR(f->inode->mode) ? 0 : -ESPIPE;
    if (S_ISDIR(f->inode->mode) && whence != SEEK_SET && whence != SEEK_CUR)
        return -EINVAL;
    switch (whence) {
    case SEEK_SET: break;
    case SEEK_CUR:
        if (__builtin_add_overflow(offset, (int64_t)f->pos, &offset))
            return -EOVERFLOW;
        break;
    case SEEK_END:
        if (__builtin_add_overflow(offset, size, &offset))
            return -EOVERFLOW;
        break;
    case SEEK_DATA:
    case SEEK_HOLE: // no holes, but the one that every file has at its end
        if (offset < 0 || offset >= size)
            return -ENXIO;
        if (whence == SEEK_HOLE)
            offset = size;
        break;
    default: return -EINVAL;
    }
    if (offset < 0)
        return -EINVAL;
    f->pos = offset;
    return offset;
}

int64_t file_seek(struct file *f, int64_t offset, int whence) {
    if (f->ops->seek)
        return f->ops->seek(f, offset, whence);
    mutex_lock(&f->pos_lock);
    int64_t pos = seek_default(f, offset, whence);
    mutex_unlock(&f->pos_lock);
    return pos;
}

int file_describe(struct file *f, char *buf, size_t size) {
    if (!f->dentry) {
        if (S_ISFIFO(f->inode->mode) || S_ISSOCK(f->inode->mode))
            return scnprintf(buf, size, "%s:[%lu]", f->name, f->inode->ino);
        return scnprintf(buf, size, f->name[0] == '/' ? "%s (deleted)" : "anon_inode:[%s]",
                         f->name);
    }
    int n = dentry_path(f->dentry, buf, size);
    if (n > 0 && f->dentry->deleted)
        n += scnprintf(buf + n, size - n, " (deleted)");
    return n;
}
