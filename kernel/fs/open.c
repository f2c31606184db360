// Opening files.
#include <linux/fs.h>
#include "fs/context.h"
#include "fs/devfs.h"
#include "fs/namei.h"
#include "ipc/ipc.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"

// What an O_PATH descriptor can do is what needs no operation: fstat, fchdir, the *at calls.
static ssize_t path_only_io(struct file *f, struct uio *u, uint64_t *pos) {
    return -EBADF;
}
static int64_t path_only_seek(struct file *f, int64_t offset, int whence) {
    return -EBADF;
}
static long path_only_ioctl(struct file *f, unsigned cmd, unsigned long arg) {
    return -EBADF;
}
static int path_only_mmap(struct file *f, struct region *r) {
    return -EBADF;
}
static int path_only_fsync(struct file *f, bool data_only) {
    return -EBADF;
}
static int path_only_iterate(struct file *f, struct dir_context *c) {
    return -EBADF;
}
static const struct file_ops path_only_ops = {
    .read = path_only_io,
    .write = path_only_io,
    .seek = path_only_seek,
    .iterate = path_only_iterate,
    .ioctl = path_only_ioctl,
    .mmap = path_only_mmap,
    .fsync = path_only_fsync,
};

static const struct file_ops no_ops; // all defaults

// Flags that open() acts on and F_GETFL does not show.
#define OPEN_ONLY (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)

// May an existing inode be opened that way? 0 or -errno.
static int check(struct inode *i, int flags) {
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
    if (S_ISLNK(i->mode))
        return -ELOOP;
    if ((flags & O_DIRECTORY) && !S_ISDIR(i->mode))
        return -ENOTDIR;
    if (S_ISDIR(i->mode) && (writes || (flags & O_CREAT)))
        return -EISDIR;
    if (S_ISSOCK(i->mode))
        return -ENXIO;
    if (writes && i->sb->read_only && S_ISREG(i->mode))
        return -EROFS;
    return 0;
}

// Regular files: a running program cannot be written, nor a file that is being written executed.
static int count_use(struct file *f, struct inode *i, int flags, bool exec) {
    int err = 0;
    if (!S_ISREG(i->mode))
        return 0;
    if (exec)
        f->executes = !(err = inode_begin_exec(i));
    else if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC))
        f->writes = !(err = inode_begin_write(i));
    return err;
}

// Opens an inode that was found and checked. ERR_PTR.
static struct file *open_dentry(struct dentry *d, int flags, bool exec) {
    struct inode *i = d->inode;
    const struct file_ops *ops = i->file_ops ? i->file_ops : &no_ops;
    struct device *device = NULL;
    if (S_ISCHR(i->mode) || S_ISBLK(i->mode)) {
        device = device_find(S_ISBLK(i->mode), i->rdev);
        if (!device)
            return ERR_PTR(-ENXIO);
        ops = device->ops;
    } else if (S_ISFIFO(i->mode)) {
        ops = &fifo_file_ops;
    }
    struct file *f = file_alloc(d, ops, flags);
    if (IS_ERR(f)) {
        if (device)
            device_put(device);
        return f;
    }
    f->device = device;
    int err = count_use(f, i, flags, exec);
    if (!err && ops->open)
        err = ops->open(i, f);
    if (!err && (flags & O_TRUNC) && S_ISREG(i->mode))
        err = inode_truncate(i, 0);
    if (err) {
        f->ops = &no_ops; // what was not opened is not released
        file_put(f);
        return ERR_PTR(err);
    }
    f->flags &= ~OPEN_ONLY;
    return f;
}

static struct file *open_existing(struct dentry *at, const char *path, int flags) {
    unsigned walk = (flags & O_NOFOLLOW ? WALK_NOFOLLOW : 0) | (flags & O_DIRECTORY ? WALK_DIR : 0);
    struct dentry *d = path_walk(at, path, walk);
    if (IS_ERR(d))
        return (void *)d;
    struct file *f;
    int err = (flags & O_PATH) ? 0 : check(d->inode, flags);
    if (err)
        f = ERR_PTR(err);
    else if (flags & O_PATH)
        f = file_alloc(d, &path_only_ops, flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW));
    else
        f = open_dentry(d, flags, false);
    dentry_put(d);
    return f;
}

// Finds or makes the last component in its directory. 0: *out is it, with a reference, *created
// says which. 1: it is a symbolic link, *out is it. Else -errno.
static int find_or_create(struct dentry *at, const char *path, int flags, uint32_t mode,
                          struct dentry **out, bool *created) {
    struct path_last last;
    struct dentry *dir, *d = path_lock(at, path, &last, -EISDIR, &dir);
    if (IS_ERR(d))
        return PTR_ERR(d);
    int err = 0;
    *created = false;
    if (last.slash) {
        err = -EISDIR;
    } else if (!d->inode) {
        err = name_create(dir, d, S_IFREG | (mode & 07777 & ~fs_context()->umask), 0, NULL);
        *created = !err;
    } else if (flags & O_EXCL) {
        err = -EEXIST;
    } else if (S_ISLNK(d->inode->mode)) {
        err = (flags & O_NOFOLLOW) ? -ELOOP : 1;
    }
    if (err >= 0) {
        dentry_get(d);
        *out = d;
    }
    path_unlock(dir, d);
    return err;
}

static struct dentry *topmost(struct dentry *d) { // takes over the reference
    while (d->mounted) {
        struct dentry *top = d->mounted->root;
        dentry_get(top);
        dentry_put(d);
        d = top;
    }
    return d;
}

static struct file *open_creating(struct dentry *at, const char *path, int flags, uint32_t mode) {
    char *target = NULL;
    struct dentry *link = NULL, *d = NULL;
    bool created = false;
    int err;
    for (unsigned links = 0;; links++) {
        err = links > LINKS_MAX ? -ELOOP : find_or_create(at, path, flags, mode, &d, &created);
        if (err != 1)
            break;
        if (d->inode->ops->follow) { // a magic link leads to something that exists
            dentry_put(d);
            kfree(target);
            struct file *f = open_existing(at, path, flags & ~O_CREAT);
            if (link)
                dentry_put(link);
            return f;
        }
        char *next = link_target(d->inode);
        kfree(target);
        target = NULL;
        if (link)
            dentry_put(link);
        link = d;
        if (IS_ERR(next)) {
            err = PTR_ERR(next);
            break;
        }
        path = target = next;
        at = link->parent; // kept by the link's reference
    }
    kfree(target);
    if (link)
        dentry_put(link);
    if (err)
        return ERR_PTR(err);
    d = topmost(d);
    if (created)
        flags &= ~O_TRUNC;
    err = check(d->inode, flags);
    struct file *f = err ? ERR_PTR(err) : open_dentry(d, flags, false);
    dentry_put(d);
    return f;
}

struct file *file_open_at(struct dentry *at, const char *path, int flags, uint32_t mode) {
    if ((flags & O_ACCMODE) == O_ACCMODE && !(flags & O_PATH))
        return ERR_PTR(-EINVAL);
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return ERR_PTR(-EOPNOTSUPP);
    if (flags & O_PATH)
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    if (!(flags & O_CREAT))
        return open_existing(at, path, flags);
    if (flags & O_DIRECTORY)
        return ERR_PTR(-EINVAL);
    return open_creating(at, path, flags, mode);
}

struct file *file_open(const char *path, int flags, uint32_t mode) {
    return file_open_at(NULL, path, flags, mode);
}

struct dentry *dirfd_dentry(int dirfd, const char *path, bool any) {
    if (*path == '/' || dirfd == AT_FDCWD)
        return NULL;
    struct file *f = fd_get(dirfd);
    if (!f)
        return ERR_PTR(-EBADF);
    struct dentry *d = f->dentry;
    bool fits = d && (any || S_ISDIR(f->inode->mode));
    if (fits)
        dentry_get(d);
    file_put(f);
    return fits ? d : ERR_PTR(-ENOTDIR);
}

struct file *file_open_exec(int dirfd, const char *path, int flags) {
    unsigned walk = (flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0) |
                    (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0);
    struct dentry *at = dirfd_dentry(dirfd, path, flags & AT_EMPTY_PATH);
    if (IS_ERR(at))
        return (void *)at;
    struct dentry *d = path_walk(at, path, walk);
    if (at)
        dentry_put(at);
    if (IS_ERR(d))
        return (void *)d;
    int err = S_ISLNK(d->inode->mode) ? -ELOOP : inode_may_exec(d->inode);
    struct file *f = err ? ERR_PTR(err) : open_dentry(d, O_RDONLY, true);
    dentry_put(d);
    return f;
}
