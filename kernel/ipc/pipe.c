// Pipes: a ring of bytes between readers and writers.
//
// A sleeper looks at the ring and at the counts without the lock: they are single words, and whoever
// changes them does so before it looks for sleepers (waitq_wake() begins with a full barrier).
#include "ipc/pipe.h"
#include <asm/ioctls.h>
#include <linux/limits.h>
#include "ipc/ipc.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "sched/world.h"
#include "syscall/syscall.h"

#define DEFAULT_SLOTS 16u        // 64 KiB, as Linux
#define MAX_SIZE      (1u << 20) // of F_SETPIPE_SZ, as Linux's pipe-max-size

struct pipe *pipe_alloc(void) {
    struct pipe *p = kzalloc(sizeof(*p));
    if (!p)
        return NULL;
    if (pipe_ring_init(&p->ring, DEFAULT_SLOTS)) {
        kfree(p);
        return NULL;
    }
    mutex_init(&p->lock);
    waitq_init(&p->read_wait);
    waitq_init(&p->write_wait);
    return p;
}

void pipe_free(struct pipe *p) {
    pipe_ring_destroy(&p->ring);
    kfree(p);
}

static bool may_read(unsigned flags) {
    return (flags & O_ACCMODE) != O_WRONLY;
}
static bool may_write(unsigned flags) {
    return (flags & O_ACCMODE) != O_RDONLY;
}

bool pipe_attach(struct pipe *p, unsigned flags, uint32_t *others) {
    mutex_lock(&p->lock);
    bool reads_only = (flags & O_ACCMODE) == O_RDONLY;
    bool partner = reads_only ? p->writers : p->readers;
    *others = reads_only ? p->opened_writers : p->opened_readers;
    if (may_read(flags)) {
        WRITE_ONCE(p->readers, p->readers + 1);
        WRITE_ONCE(p->opened_readers, p->opened_readers + 1);
    }
    if (may_write(flags)) {
        WRITE_ONCE(p->writers, p->writers + 1);
        WRITE_ONCE(p->opened_writers, p->opened_writers + 1);
    }
    mutex_unlock(&p->lock);
    if (may_read(flags))
        waitq_wake(&p->write_wait, 0);
    if (may_write(flags))
        waitq_wake(&p->read_wait, 0);
    return partner;
}

void pipe_detach(struct pipe *p, unsigned flags) {
    mutex_lock(&p->lock);
    if (may_read(flags))
        WRITE_ONCE(p->readers, p->readers - 1);
    if (may_write(flags))
        WRITE_ONCE(p->writers, p->writers - 1);
    mutex_unlock(&p->lock);
    if (may_read(flags) && !p->readers)
        waitq_wake(&p->write_wait, POLLERR | POLLOUT);
    if (may_write(flags) && !p->writers)
        waitq_wake(&p->read_wait, POLLHUP | POLLIN);
}

ssize_t pipe_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct pipe *p = f->data;
    if (!u->resid)
        return 0;
    for (;;) {
        if (pipe_ring_used(&p->ring) || !READ_ONCE(p->writers)) {
            mutex_lock(&p->lock);
            ssize_t n = pipe_ring_read(&p->ring, u);
            bool ended = !p->writers;
            mutex_unlock(&p->lock);
            if (n > 0)
                waitq_wake_one(&p->write_wait, POLLOUT);
            if (n || ended)
                return n;
        }
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&p->read_wait,
                                           pipe_ring_used(&p->ring) || !READ_ONCE(p->writers));
        if (err)
            return err;
    }
}

// Room that a write of `left` bytes waits for: all of it when it must not be split.
static size_t room_wanted(size_t left) {
    return left <= PIPE_BUF ? left : 1;
}

ssize_t pipe_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct pipe *p = f->data;
    if (!u->resid)
        return 0;
    size_t wanted = room_wanted(u->resid), done = 0;
    for (;;) {
        mutex_lock(&p->lock);
        bool broken = !p->readers;
        ssize_t n = 0;
        if (!broken && pipe_ring_free(&p->ring) >= wanted)
            n = pipe_ring_write(&p->ring, u);
        mutex_unlock(&p->lock);
        if (broken) {
            signal_send_world(current, SIGPIPE, NULL);
            return done ? (ssize_t)done : -EPIPE;
        }
        if (n > 0) {
            done += n;
            waitq_wake_one(&p->read_wait, POLLIN);
        }
        if (n < 0)
            return done ? (ssize_t)done : n;
        if (!u->resid)
            return done;
        if (f->flags & O_NONBLOCK)
            return done ? (ssize_t)done : -EAGAIN;
        if (n > 0)
            wanted = 1; // the write is in pieces already
        int err = wait_event_interruptible(&p->write_wait, pipe_ring_free(&p->ring) >= wanted ||
                                                               !READ_ONCE(p->readers));
        if (err)
            return done ? (ssize_t)done : err;
    }
}

unsigned pipe_poll(struct file *f, struct poll_table *t) {
    struct pipe *p = f->data;
    unsigned events = 0;
    if (may_read(f->flags)) {
        poll_wait(t, &p->read_wait);
        if (pipe_ring_used(&p->ring))
            events |= POLLIN | POLLRDNORM;
        // A FIFO opened before its first writer is not at its end yet (see fifo.c for f->pos).
        if (!READ_ONCE(p->writers) && f->pos != READ_ONCE(p->opened_writers))
            events |= POLLHUP;
    }
    if (may_write(f->flags)) {
        poll_wait(t, &p->write_wait);
        if (pipe_ring_free(&p->ring) >= PIPE_BUF)
            events |= POLLOUT | POLLWRNORM;
        if (!READ_ONCE(p->readers))
            events |= POLLERR;
    }
    return events;
}

long pipe_ioctl(struct file *f, unsigned cmd, unsigned long arg) {
    struct pipe *p = f->data;
    if (cmd != FIONREAD)
        return -ENOTTY;
    return put_user((int)pipe_ring_used(&p->ring), (int __user *)arg);
}

static void pipe_release(struct file *f) {
    struct pipe *p = f->data;
    pipe_detach(p, f->flags);
    // The two files of a pipe hold one reference each; the count is `files`.
    if (__atomic_sub_fetch(&p->files, 1, __ATOMIC_ACQ_REL) == 0)
        pipe_free(p);
}

const struct file_ops pipe_file_ops = {
    .read = pipe_read,
    .write = pipe_write,
    .seek = file_no_seek,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .release = pipe_release,
};

long pipe_fcntl(struct file *f, unsigned cmd, unsigned long arg) {
    if (f->ops != &pipe_file_ops && f->ops != &fifo_file_ops)
        return -EBADF;
    struct pipe *p = f->data;
    if (cmd == F_GETPIPE_SZ)
        return READ_ONCE(p->ring.slots) * PAGE_SIZE;
    if (cmd != F_SETPIPE_SZ || arg > INT32_MAX)
        return -EINVAL;
    if (arg > MAX_SIZE)
        return -EPERM;
    uint32_t slots = 1;
    while (slots * PAGE_SIZE < arg)
        slots *= 2;
    mutex_lock(&p->lock);
    int err = pipe_ring_resize(&p->ring, slots);
    mutex_unlock(&p->lock);
    if (err)
        return err;
    waitq_wake(&p->write_wait, POLLOUT);
    return slots * PAGE_SIZE;
}

// Both files of a new pipe: ends[0] reads, ends[1] writes. 0 or -errno.
static int pipe_open_ends(struct file *ends[2], unsigned flags) {
    struct pipe *p = pipe_alloc();
    if (!p)
        return -ENOMEM;
    for (int i = 0; i < 2; i++) {
        unsigned mode = (i ? O_WRONLY : O_RDONLY) | (flags & O_NONBLOCK);
        struct file *f = file_alloc_anon("pipe", &pipe_file_ops, p, mode);
        if (IS_ERR(f)) {
            if (i)
                file_put(ends[0]);
            else
                pipe_free(p);
            return PTR_ERR(f);
        }
        p->files++;
        uint32_t others;
        pipe_attach(p, mode, &others);
        ends[i] = f;
    }
    return 0;
}

long sys_pipe2(int __user *fds, int flags) {
    if (flags & ~(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    struct file *ends[2];
    int err = pipe_open_ends(ends, flags);
    if (err)
        return err;
    int fd[2] = {-1, -1};
    for (int i = 0; i < 2 && !err; i++) {
        fd[i] = fd_reserve(0, flags & O_CLOEXEC);
        if (fd[i] < 0)
            err = fd[i];
    }
    if (!err)
        err = copy_to_user(fds, fd, sizeof(fd));
    for (int i = 0; i < 2; i++) {
        if (!err) {
            fd_fill(fd[i], ends[i]);
        } else {
            if (fd[i] >= 0)
                fd_unreserve(fd[i]);
            file_put(ends[i]);
        }
    }
    return err;
}

long sys_pipe(int __user *fds) {
    return sys_pipe2(fds, 0);
}
