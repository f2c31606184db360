// eventfd: a 64-bit counter that can be waited for.
#include <linux/fcntl.h>
#include "ipc/ipc.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "sync/waitq.h"
#include "syscall/syscall.h"

// The UAPI headers of some distributions lack <linux/eventfd.h>: eventfd(2).
#define EFD_SEMAPHORE 1

#define COUNT_MAX (UINT64_MAX - 1)

struct eventfd {
    struct spinlock lock; // covers count
    uint64_t count;
    bool semaphore;
    struct waitq wait;
};

static bool take(struct eventfd *e, uint64_t *value) {
    spin_lock(&e->lock);
    *value = e->semaphore && e->count ? 1 : e->count;
    e->count -= *value;
    spin_unlock(&e->lock);
    return *value != 0;
}

static bool give(struct eventfd *e, uint64_t value) {
    spin_lock(&e->lock);
    bool fits = value <= COUNT_MAX - e->count;
    if (fits)
        e->count += value;
    spin_unlock(&e->lock);
    return fits;
}

static ssize_t eventfd_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct eventfd *e = f->data;
    uint64_t value;
    if (u->resid < sizeof(value))
        return -EINVAL;
    while (!take(e, &value)) {
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&e->wait, READ_ONCE(e->count));
        if (err)
            return err;
    }
    waitq_wake(&e->wait, POLLOUT);
    return uio_write_out(u, &value, sizeof(value));
}

static ssize_t eventfd_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct eventfd *e = f->data;
    uint64_t value;
    if (u->resid < sizeof(value))
        return -EINVAL;
    ssize_t n = uio_read_in(u, &value, sizeof(value));
    if (n != sizeof(value))
        return -EFAULT;
    if (value == UINT64_MAX)
        return -EINVAL;
    while (!give(e, value)) {
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&e->wait, value <= COUNT_MAX - READ_ONCE(e->count));
        if (err)
            return err;
    }
    waitq_wake(&e->wait, POLLIN);
    return n;
}

static unsigned eventfd_poll(struct file *f, struct poll_table *t) {
    struct eventfd *e = f->data;
    poll_wait(t, &e->wait);
    uint64_t count = READ_ONCE(e->count);
    // eventfd_signal() alone can reach UINT64_MAX: overflow, reported as an error.
    return (count ? POLLIN : 0) | (count < COUNT_MAX ? POLLOUT : 0) |
           (count == UINT64_MAX ? POLLERR : 0);
}

static void eventfd_release(struct file *f) {
    kfree(f->data);
}

static const struct file_ops eventfd_ops = {
    .read = eventfd_read,
    .write = eventfd_write,
    .seek = file_no_seek,
    .poll = eventfd_poll,
    .release = eventfd_release,
};

bool eventfd_file(const struct file *f) {
    return f->ops == &eventfd_ops;
}

void eventfd_signal(struct file *f, uint64_t n) {
    ASSERT(eventfd_file(f));
    struct eventfd *e = f->data;
    spin_lock(&e->lock);
    e->count = n > UINT64_MAX - e->count ? UINT64_MAX : e->count + n;
    spin_unlock(&e->lock);
    waitq_wake(&e->wait, POLLIN);
}

long sys_eventfd2(unsigned count, int flags) {
    if (flags & ~(EFD_SEMAPHORE | O_NONBLOCK | O_CLOEXEC))
        return -EINVAL;
    struct eventfd *e = kzalloc(sizeof(*e));
    if (!e)
        return -ENOMEM;
    spin_init(&e->lock);
    waitq_init(&e->wait);
    e->count = count;
    e->semaphore = flags & EFD_SEMAPHORE;
    struct file *f = file_alloc_anon("eventfd", &eventfd_ops, e, O_RDWR | (flags & O_NONBLOCK));
    if (IS_ERR(f)) {
        kfree(e);
        return PTR_ERR(f);
    }
    return fd_install(f, 0, flags & O_CLOEXEC);
}

long sys_eventfd(unsigned count) {
    return sys_eventfd2(count, 0);
}
