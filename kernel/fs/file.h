// Open files and file descriptors.
#pragma once
#include <asm/poll.h>
#include <linux/fcntl.h>
#include "fs/uio.h"
#include "lib/list.h"
#include "sync/mutex.h"

struct dentry;
struct inode;
struct file;
struct region;
struct file_table;

// What poll() and epoll use: ops->poll calls poll_wait() for each queue whose wake-up could change
// the answer, then returns the POLL* bits that hold now. `t` may be NULL: only the answer is wanted.
struct poll_table {
    void (*add)(struct poll_table *t, struct waitq *q);
};
static inline void poll_wait(struct poll_table *t, struct waitq *q) {
    if (t && t->add)
        t->add(t, q);
}

// One entry of a directory listing; returns false when the caller's buffer is full.
struct dir_context {
    bool (*emit)(struct dir_context *c, const char *name, size_t len, uint64_t ino, unsigned type);
    uint64_t pos; // where the next call goes on; the directory defines its meaning (0: start)
};

// NULL operations get the defaults: read/write -EINVAL, ioctl -ENOTTY, mmap -ENODEV, poll: always
// readable and writable, seek: on ->pos within the inode's size.
struct file_ops {
    // *pos is the position to use and to advance (NULL for streams). Bytes done, 0 at the end, or
    // -errno. Honour O_NONBLOCK in f->flags with -EAGAIN.
    ssize_t (*read)(struct file *f, struct uio *u, uint64_t *pos);
    ssize_t (*write)(struct file *f, struct uio *u, uint64_t *pos);
    int64_t (*seek)(struct file *f, int64_t offset, int whence);
    int (*iterate)(struct file *f, struct dir_context *c);
    unsigned (*poll)(struct file *f, struct poll_table *t);
    long (*ioctl)(struct file *f, unsigned cmd, unsigned long arg);
    // Sets r->ops (and ->data) for a new mapping of this file. Lock of the space is held.
    int (*mmap)(struct file *f, struct region *r);
    int (*fsync)(struct file *f, bool data_only);
    int (*open)(struct inode *i, struct file *f); // after the file was set up; may replace f->ops
    void (*release)(struct file *f);              // last reference gone
    void (*flush)(struct file *f);                // a descriptor was closed (rarely needed)
};

struct file {
    uint32_t refs;
    uint32_t flags; // O_* as opened, later changed by F_SETFL
    uint64_t pos;
    struct mutex pos_lock;
    const struct file_ops *ops;
    struct dentry *dentry; // where it was found; NULL for pipes, sockets, anonymous files
    struct inode *inode;
    void *data;            // the driver's
    int owner;             // F_SETOWN
};

// A file without a name (eventfd, epoll, sockets): shows as `name` in /proc/PID/fd. ERR_PTR on failure.
struct file *file_alloc_anon(const char *name, const struct file_ops *ops, void *data, unsigned flags);
struct file *file_get(struct file *f);
void file_put(struct file *f); // may sleep
// Kernel-internal input and output at a position. Bytes or -errno.
ssize_t file_read_kernel(struct file *f, void *buf, size_t n, uint64_t pos);
ssize_t file_write_kernel(struct file *f, const void *buf, size_t n, uint64_t pos);

// Descriptor tables.
struct file_table *files_create(void);
struct file_table *files_copy(struct file_table *t); // fork without CLONE_FILES
struct file_table *files_share(struct file_table *t);
void files_put(struct file_table *t);
void files_close_on_exec(struct file_table *t);
// Installs f (taking over the caller's reference) at the lowest free descriptor >= min. fd or -EMFILE
// (the reference is dropped).
int fd_install(struct file *f, int min, bool cloexec);
// The file behind fd of the calling process with a reference, or NULL (EBADF).
struct file *fd_get(int fd);
