// Pseudo-terminals: /dev/ptmx gives a master, whose slave is the terminal /dev/pts/N.
//
// What a program writes to the slave passes its line discipline and lands in the pair's ring, which
// the master reads; what the master writes is the slave's keyboard. Pairs are kept for reuse and
// never freed, as no terminal ever is (tty/job.c says why).
#include <linux/major.h>
#include "fs/inode.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "proc/process.h"
#include "tty/ldisc.h"

#define PTY_MAX       64
#define PTY_RING_SIZE 4096u // power of two

struct pty {
    struct tty slave;
    unsigned index;
    struct spinlock lock; // covers the following; taken inside the slave's lock
    bool used;            // a master is open (also read and written under table_lock)
    bool locked;          // until unlockpt()
    bool slave_closed;    // the slave was open and is not any more: the master reads EIO
    unsigned head, tail;
    char ring[PTY_RING_SIZE];
    struct waitq read_wait, write_wait; // the master's
};

static struct mutex table_lock = MUTEX_INIT(table_lock); // covers table
static struct pty *table[PTY_MAX];

// ---- the slave's driver

static struct pty *pty_of(struct tty *t) {
    return tty_data(t);
}

static size_t slave_write(struct tty *t, const char *text, size_t n) {
    struct pty *p = pty_of(t);
    spin_lock(&p->lock);
    if (p->used) {
        n = MIN(n, PTY_RING_SIZE - (p->head - p->tail));
        for (size_t i = 0; i < n; i++)
            p->ring[p->head++ % PTY_RING_SIZE] = text[i];
    } // else: nobody will ever read it
    spin_unlock(&p->lock);
    if (n)
        waitq_wake(&p->read_wait, POLLIN | POLLRDNORM);
    return n;
}

static int slave_open(struct tty *t) {
    struct pty *p = pty_of(t);
    spin_lock(&p->lock);
    int err = p->used && !p->locked ? 0 : -EIO;
    if (!err)
        p->slave_closed = false;
    spin_unlock(&p->lock);
    return err;
}

static void slave_close(struct tty *t) {
    struct pty *p = pty_of(t);
    spin_lock(&p->lock);
    p->slave_closed = true;
    spin_unlock(&p->lock);
    waitq_wake(&p->read_wait, POLLHUP | POLLIN);
    waitq_wake(&p->write_wait, POLLHUP | POLLOUT);
}

// A full buffer was throttled before, so a waiting writer of the master is woken here.
static void slave_throttle(struct tty *t, bool on) {
    if (!on)
        waitq_wake(&pty_of(t)->write_wait, POLLOUT | POLLWRNORM);
}

static const struct tty_driver slave_driver = {
    .name = "pts",
    .pty = true,
    .write = slave_write,
    .throttle = slave_throttle,
    .open = slave_open,
    .close = slave_close,
};

// ---- the master

static struct pty *master_of(const struct file *f) {
    return ((struct tty_file *)f->data)->master;
}

// Takes up to n bytes of what the slave's programs wrote. *hangup: there is nothing and, for now,
// nobody who could write.
static size_t take(struct pty *p, char *buf, size_t n, bool *hangup) {
    size_t done = 0;
    spin_lock(&p->lock);
    while (done < n && p->tail != p->head)
        buf[done++] = p->ring[p->tail++ % PTY_RING_SIZE];
    *hangup = done == 0 && p->slave_closed;
    spin_unlock(&p->lock);
    if (done)
        tty_output_ready(&p->slave);
    return done;
}

static bool master_readable(struct pty *p) {
    spin_lock(&p->lock);
    bool yes = p->tail != p->head || p->slave_closed;
    spin_unlock(&p->lock);
    return yes;
}

static ssize_t master_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct pty *p = master_of(f);
    size_t got = 0;
    while (u->resid) {
        char buf[512];
        bool hangup;
        size_t n = take(p, buf, MIN(u->resid, sizeof(buf)), &hangup);
        if (n) {
            ssize_t moved = uio_write_out(u, buf, n);
            if (moved < 0)
                return got ? (ssize_t)got : moved;
            got += moved;
            continue;
        }
        if (got)
            break;
        if (hangup)
            return -EIO;
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&p->read_wait, master_readable(p));
        if (err)
            return err;
    }
    return got;
}

static size_t input_room(struct pty *p) {
    spin_lock(&p->slave.lock);
    size_t n = ldisc_input_room(&p->slave);
    spin_unlock(&p->slave.lock);
    return n;
}

static ssize_t master_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct pty *p = master_of(f);
    size_t done = 0;
    while (u->resid) {
        char buf[256];
        size_t room = input_room(p);
        if (room == 0) {
            if (done || (f->flags & O_NONBLOCK))
                return done ? (ssize_t)done : -EAGAIN;
            int err = wait_event_interruptible(&p->write_wait, input_room(p) > 0);
            if (err)
                return err;
            continue;
        }
        ssize_t n = uio_read_in(u, buf, MIN(room, sizeof(buf)));
        if (n <= 0)
            return done ? (ssize_t)done : n;
        tty_input(&p->slave, buf, n);
        done += n;
    }
    return done;
}

static unsigned master_poll(struct file *f, struct poll_table *t) {
    struct pty *p = master_of(f);
    poll_wait(t, &p->read_wait);
    poll_wait(t, &p->write_wait);
    unsigned bits = input_room(p) ? POLLOUT | POLLWRNORM : 0;
    spin_lock(&p->lock);
    if (p->tail != p->head)
        bits |= POLLIN | POLLRDNORM;
    if (p->slave_closed)
        bits |= POLLHUP;
    spin_unlock(&p->lock);
    return bits;
}

static int64_t master_seek(struct file *f, int64_t offset, int whence) {
    return -ESPIPE;
}

static void master_release(struct file *f) {
    struct pty *p = master_of(f);
    dev_unregister(p->slave.name);
    tty_hangup(&p->slave);
    mutex_lock(&table_lock);
    spin_lock(&p->lock);
    p->used = false;
    p->head = p->tail = 0;
    spin_unlock(&p->lock);
    mutex_unlock(&table_lock);
    kfree(f->data);
}

// TIOCGPTPEER: the slave of this master, whatever stands at its path.
static long open_peer(struct pty *p, unsigned long flags) {
    char path[24];
    snprintf(path, sizeof(path), "/dev/%s", p->slave.name);
    struct file *f = file_open(path, (int)flags & (O_ACCMODE | O_NOCTTY | O_NONBLOCK), 0);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, 0, flags & O_CLOEXEC);
}

static long set_lock(struct pty *p, const int __user *from) {
    int value;
    if (get_user(value, from))
        return -EFAULT;
    spin_lock(&p->lock);
    p->locked = value != 0;
    spin_unlock(&p->lock);
    return 0;
}

static long pending_output(struct pty *p, int __user *to) {
    spin_lock(&p->lock);
    int n = p->head - p->tail;
    spin_unlock(&p->lock);
    return put_user(n, to);
}

static long signal_foreground(struct pty *p, unsigned long sig) {
    if (sig < 1 || sig > SIGNAL_COUNT)
        return -EINVAL;
    int pgrp = tty_foreground(&p->slave);
    if (pgrp > 0)
        signal_send_group(pgrp, sig, NULL);
    return 0;
}

long pty_master_ioctl(struct pty *p, unsigned cmd, unsigned long arg) {
    switch (cmd) {
    case TIOCGPTN: return put_user(p->index, (unsigned __user *)arg);
    case TIOCSPTLCK: return set_lock(p, (const int __user *)arg);
    case TIOCGPTLCK: return put_user((int)READ_ONCE(p->locked), (int __user *)arg);
    case TIOCGPTPEER: return open_peer(p, arg);
    case TIOCSIG: return signal_foreground(p, arg);
    case FIONREAD: return pending_output(p, (int __user *)arg);
    case TIOCGDEV: return put_user((unsigned)DEV(5, 2), (unsigned __user *)arg);
    default: return -ENOTTY;
    }
}

static const struct file_ops master_ops = {
    .read = master_read,
    .write = master_write,
    .poll = master_poll,
    .seek = master_seek,
    .ioctl = tty_ioctl,
    .release = master_release,
};

// ---- opening /dev/ptmx

static struct pty *pty_create(unsigned index) {
    struct pty *p = kzalloc(sizeof(*p));
    if (!p)
        return NULL;
    char name[16];
    snprintf(name, sizeof(name), "pts/%u", index);
    p->index = index;
    spin_init(&p->lock);
    waitq_init(&p->read_wait);
    waitq_init(&p->write_wait);
    tty_init_struct(&p->slave, name, DEV(UNIX98_PTY_SLAVE_MAJOR, index), &slave_driver, p);
    return p;
}

// A pair that nobody has open. Table locked. NULL: none, or out of memory.
static struct pty *find_free(void) {
    for (unsigned i = 0; i < PTY_MAX; i++) {
        if (!table[i])
            return table[i] = pty_create(i);
        if (!table[i]->used && READ_ONCE(table[i]->slave.opens) == 0)
            return table[i];
    }
    return NULL;
}

static int open_master(struct file *f, struct tty_file *tf) {
    struct pty *p = find_free();
    if (!p)
        return -ENOSPC;
    tty_reset(&p->slave);
    int err = tty_publish(&p->slave, 0620);
    if (err)
        return err;
    spin_lock(&p->lock);
    p->used = p->locked = true;
    p->slave_closed = false;
    p->head = p->tail = 0;
    spin_unlock(&p->lock);
    *tf = (struct tty_file){.tty = &p->slave, .detached = true, .master = p};
    f->data = tf;
    f->ops = &master_ops;
    return 0;
}

static int ptmx_open(struct inode *i, struct file *f) {
    struct tty_file *tf = kzalloc(sizeof(*tf));
    if (!tf)
        return -ENOMEM;
    mutex_lock(&table_lock);
    int err = open_master(f, tf);
    mutex_unlock(&table_lock);
    if (err)
        kfree(tf);
    return err;
}

void pty_init(void) {
    static const struct file_ops ptmx_ops = {.open = ptmx_open};
    dev_register("ptmx", 0666, DEV(5, 2), &ptmx_ops, NULL);
}
