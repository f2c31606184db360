// The devices without hardware: null, zero, full, random, urandom, kmsg.
#include "fs/memdev.h"
#include "fs/inode.h"
#include <linux/mman.h>
#include "cpu/irq.h"
#include "cpu/panic.h"
#include "cpu/smp.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "proc/random.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/space.h"
#include "sched/world.h"
#include "sync/waitq.h"

static ssize_t null_read(struct file *f, struct uio *u, uint64_t *pos) {
    return 0;
}

static ssize_t null_write(struct file *f, struct uio *u, uint64_t *pos) {
    size_t n = u->resid;
    u->resid = 0;
    return n;
}

static ssize_t zero_read(struct file *f, struct uio *u, uint64_t *pos) {
    ssize_t done = 0;
    while (u->resid) {
        ssize_t n = uio_zero(u, 64 * KIB);
        if (n < 0)
            return done ? done : n;
        done += n;
        if (!u->resid || signal_pending(current))
            break;
        cond_resched();
    }
    return done;
}

// A mapping of /dev/zero is anonymous memory; a shared one has its own file.
static int zero_mmap(struct file *f, struct region *r) {
    if (!(r->flags & MAP_SHARED))
        return 0;
    struct file *shared = shmem_file_create("zero", r->end - r->start);
    if (IS_ERR(shared))
        return PTR_ERR(shared);
    file_put(r->file);
    r->file = shared;
    r->pgoff = 0;
    return shared->ops->mmap(shared, r);
}

static ssize_t full_write(struct file *f, struct uio *u, uint64_t *pos) {
    return -ENOSPC;
}

static ssize_t random_read(struct file *f, struct uio *u, uint64_t *pos) {
    uint8_t buf[256];
    ssize_t done = 0;
    while (u->resid) {
        size_t n = MIN(sizeof(buf), u->resid);
        random_bytes(buf, n);
        ssize_t moved = uio_write_out(u, buf, n);
        if (moved < 0)
            return done ? done : moved;
        done += moved;
        if (signal_pending(current))
            break;
        cond_resched();
    }
    return done;
}

static ssize_t random_write(struct file *f, struct uio *u, uint64_t *pos) {
    uint8_t buf[256];
    ssize_t done = 0;
    while (u->resid) {
        ssize_t n = uio_read_in(u, buf, sizeof(buf));
        if (n < 0)
            return done ? done : n;
        random_add(buf, n);
        done += n;
    }
    return done;
}

// ---- the kernel log --------------------------------------------------------------------------

// The log may grow in any context, also with locks held that a wake-up takes. So a new line sends an
// interrupt to this very processor, if anybody waits; it comes when no spin lock is held any more.
static struct waitq kmsg_wait = WAITQ_INIT(kmsg_wait);

static void new_line(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST); // the line is in the log before the look at the queue
    if (!list_empty(&kmsg_wait.waiters) && !panicking)
        smp_send(this_cpu()->id, VECTOR_LOG);
}

static void new_line_interrupt(void *arg) {
    waitq_wake(&kmsg_wait, POLLIN | POLLRDNORM);
}

// A read gives the text from where the last one ended; it waits for more when there is none. The
// file's own position counts bytes since boot.
static ssize_t kmsg_read(struct file *f, struct uio *u, uint64_t *pos) {
    char buf[512];
    size_t n;
    uint64_t at;
    for (;;) {
        at = f->pos;
        n = log_read(&at, buf, MIN(sizeof(buf), u->resid));
        if (n || !u->resid)
            break;
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&kmsg_wait, log_end() > f->pos);
        if (err)
            return err;
    }
    ssize_t moved = uio_write_out(u, buf, n);
    if (moved == (ssize_t)n)
        f->pos = at;
    return moved;
}

static ssize_t kmsg_write(struct file *f, struct uio *u, uint64_t *pos) {
    char line[256];
    size_t all = u->resid;
    ssize_t n = uio_read_in(u, line, sizeof(line) - 1);
    if (n < 0)
        return n;
    while (n > 0 && line[n - 1] == '\n')
        n--;
    line[n] = 0;
    char *text = line;
    if (*text == '<') { // "<6>text": a syslog priority
        char *end = strchr(text, '>');
        text = end ? end + 1 : text;
    }
    log_notice("%s", text);
    return all;
}

static unsigned kmsg_poll(struct file *f, struct poll_table *t) {
    uint64_t at = f->pos;
    char c;
    poll_wait(t, &kmsg_wait);
    return POLLOUT | POLLWRNORM | (log_read(&at, &c, 1) ? POLLIN | POLLRDNORM : 0);
}

static int64_t kmsg_seek(struct file *f, int64_t offset, int whence) {
    if (offset ||
        (whence != 0 && whence != 2)) // SEEK_SET: the oldest line; SEEK_END: only new ones
        return -EINVAL;
    f->pos = 0;
    char skip[256];
    while (whence == 2 && log_read(&f->pos, skip, sizeof(skip)))
        ;
    return 0;
}

static const struct file_ops null_ops = {.read = null_read, .write = null_write};
static const struct file_ops zero_ops = {.read = zero_read, .write = null_write, .mmap = zero_mmap};
static const struct file_ops full_ops = {.read = zero_read, .write = full_write, .mmap = zero_mmap};
static const struct file_ops random_ops = {.read = random_read, .write = random_write};
static const struct file_ops kmsg_ops = {
    .read = kmsg_read, .write = kmsg_write, .poll = kmsg_poll, .seek = kmsg_seek};

void memdev_init(void) {
    dev_register("null", S_IFCHR | 0666, DEV(1, 3), &null_ops, NULL);
    dev_register("zero", S_IFCHR | 0666, DEV(1, 5), &zero_ops, NULL);
    dev_register("full", S_IFCHR | 0666, DEV(1, 7), &full_ops, NULL);
    dev_register("random", S_IFCHR | 0666, DEV(1, 8), &random_ops, NULL);
    dev_register("urandom", S_IFCHR | 0666, DEV(1, 9), &random_ops, NULL);
    dev_register("kmsg", S_IFCHR | 0644, DEV(1, 11), &kmsg_ops, NULL);
    irq_set_vector(VECTOR_LOG, "log", new_line_interrupt, NULL);
    log_set_hook(new_line);
}
