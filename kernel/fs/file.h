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
struct epoll_item;

// What poll() and epoll use: ops->poll calls poll_wait() for each queue whose wake-up could change
// the answer, then returns the POLL* bits that hold now. `t` may be NULL: only the answer is wanted.
struct poll_table {
    void (*add)(struct poll_table *t, struct waitq *q);
    bool lasting; // the waiters stay when the system call returns (epoll)
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
    uint32_t flags;        // O_* as opened, later changed by F_SETFL
    bool writes, executes; // counted in inode->writers
    uint64_t pos;
    struct mutex pos_lock;
    const struct file_ops *ops;
    struct dentry *dentry; // where it was found; NULL for pipes, sockets, anonymous files
    struct inode *inode;
    void *data;               // the driver's
    struct device *device;    // of a device node (fs/devfs.c); NULL otherwise
    struct epoll_item *epoll; // entries of epoll sets that watch it; ipc's
    char *own_name;           // heap; what `name` points to if it is no constant
    const char *name;         // of an anonymous file, a constant; NULL: see dentry
    int owner;                // F_SETOWN
    bool locked;              // flock() or an OFD lock was ever taken through this file
};

static inline bool file_readable(const struct file *f) {
    return (f->flags & O_ACCMODE) != O_WRONLY;
}
static inline bool file_writable(const struct file *f) {
    return (f->flags & O_ACCMODE) != O_RDONLY;
}

// A file without a name (eventfd, epoll, sockets). `name` is a constant: "pipe" and "socket" give
// S_IFIFO and S_IFSOCK and show as pipe:[ino] in /proc/PID/fd, others as anon_inode:[name].
// ERR_PTR on failure: `data` is then still the caller's.
struct file *file_alloc_anon(const char *name, const struct file_ops *ops, void *data,
                             unsigned flags);
// A file for an inode that was found as `d` (takes its own references), positioned at 0. Calls no
// open(). ERR_PTR(-ENOMEM).
struct file *file_alloc(struct dentry *d, const struct file_ops *ops, unsigned flags);
// A file without a name for an inode; takes over the reference to i on success and keeps a copy of
// the name, which shows as "/memfd:NAME". ERR_PTR(-ENOMEM).
struct file *file_alloc_inode(struct inode *i, const char *name, const struct file_ops *ops,
                              unsigned flags);
static inline struct file *file_get(struct file *f) {
    __atomic_fetch_add(&f->refs, 1, __ATOMIC_RELAXED);
    return f;
}
void file_put(struct file *f); // may sleep
// One transfer with the checks that every read or write needs. `pos` NULL: at f->pos, which
// advances. Bytes or -errno (-EBADF: not opened for that).
ssize_t file_read(struct file *f, struct uio *u, uint64_t *pos);
ssize_t file_write(struct file *f, struct uio *u, uint64_t *pos);
// lseek: the new position or -errno. Takes f->pos_lock.
int64_t file_seek(struct file *f, int64_t offset, int whence);
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
// True when only one thread uses the table and nobody looks at it from outside.
bool files_private(const struct file_table *t);
// The file behind fd of the calling process with a reference, or NULL (EBADF).
struct file *fd_get(int fd);
// For close, dup2: takes fd out of the table; the file with the table's reference, or NULL.
struct file *fd_remove(int fd);
// close(fd): removes it, drops the process's record locks and the reference. 0 or -EBADF.
int fd_close(int fd);
// dup2: puts f (taking over a reference) at exactly `fd`, closing what was there. fd, or -EBADF
// (out of range), -ENOMEM; the reference is then dropped.
int fd_install_at(struct file *f, int fd, bool cloexec);
// FD_CLOEXEC of fd; set: 0, 1, or -1 to ask only. 0, 1 or -EBADF.
int fd_cloexec(int fd, int set);
// Closes or marks (close_range) the open descriptors in [first, last].
void fd_range(unsigned first, unsigned last, bool mark_cloexec);
// For /proc: the file at the lowest open descriptor >= *fd of any table, with a reference; *fd is
// set to its number. NULL: no more.
struct file *files_next(struct file_table *t, int *fd);
// The text that readlink(/proc/PID/fd/N) gives. Length or -errno.
int file_describe(struct file *f, char *buf, size_t size);
// In two steps, for calls that must not fail after their work is done: a reserved descriptor is
// taken but empty (fd_get: NULL) until filled (takes over the reference) or given back.
int fd_reserve(int min, bool cloexec); // fd or -EMFILE
void fd_fill(int fd, struct file *f);
void fd_unreserve(int fd);
// For ops->seek of streams: -ESPIPE; pread and pwrite refuse such files as well.
int64_t file_no_seek(struct file *f, int64_t offset, int whence);
