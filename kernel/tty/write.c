// write() to a terminal, and waiting for what was written to reach the device.
#include "proc/signal.h"
#include "tty/ldisc.h"

// One writer at a time, so that what one write() gives is not mixed with another's.
static bool try_begin(struct tty *t) {
    spin_lock(&t->lock);
    bool mine = !t->writing;
    t->writing = true;
    spin_unlock(&t->lock);
    return mine;
}

static void end_writing(struct tty *t) {
    spin_lock(&t->lock);
    t->writing = false;
    spin_unlock(&t->lock);
    waitq_wake(&t->write_wait, POLLOUT | POLLWRNORM);
}

static bool writable(struct tty_file *tf) {
    spin_lock(&tf->tty->lock);
    bool yes = tty_file_dead(tf) || output_room(tf->tty) >= TTY_OUTPUT_SIZE / 4;
    spin_unlock(&tf->tty->lock);
    return yes;
}

// Writes all of buf, waiting for room. Bytes taken, which are fewer than n when the wait ended.
static ssize_t write_all(struct tty_file *tf, const char *buf, size_t n, bool nonblock) {
    struct tty *t = tf->tty;
    size_t done = 0;
    for (;;) {
        spin_lock(&t->lock);
        bool dead = tty_file_dead(tf);
        if (!dead)
            done += output_write(t, buf + done, n - done);
        spin_unlock(&t->lock);
        if (done == n)
            return done;
        int err = dead       ? -EIO
                  : nonblock ? -EAGAIN
                             : wait_event_interruptible(&t->write_wait, writable(tf));
        if (err)
            return done ? (ssize_t)done : err;
    }
}

static ssize_t write_loop(struct tty_file *tf, struct uio *u, bool nonblock) {
    char buf[512];
    size_t total = 0;
    while (u->resid) {
        ssize_t n = uio_read_in(u, buf, MIN(u->resid, sizeof(buf)));
        if (n <= 0)
            return total ? (ssize_t)total : n;
        ssize_t done = write_all(tf, buf, n, nonblock);
        if (done < 0)
            return total ? (ssize_t)total : done;
        total += done;
        if (done < n)
            break;
    }
    return total;
}

ssize_t tty_write(struct tty_file *tf, struct uio *u, bool nonblock) {
    struct tty *t = tf->tty;
    int err = ldisc_flag(t, TOSTOP) ? tty_check_job(t, SIGTTOU) : 0;
    if (err)
        return err;
    if (!try_begin(t)) {
        if (nonblock)
            return -EAGAIN;
        err = wait_event_interruptible(&t->write_wait, try_begin(t));
        if (err)
            return err;
    }
    ssize_t n = write_loop(tf, u, nonblock);
    end_writing(t);
    return n;
}

static bool drained(struct tty_file *tf) {
    struct tty *t = tf->tty;
    spin_lock(&t->lock);
    bool yes = tty_file_dead(tf) || t->out_head == t->out_tail;
    spin_unlock(&t->lock);
    return yes;
}

int tty_drain(struct tty_file *tf) {
    struct tty *t = tf->tty;
    int err = wait_event_interruptible(&t->write_wait, drained(tf));
    if (err)
        return err;
    if (tty_file_dead(tf))
        return -EIO;
    if (t->driver->drain)
        t->driver->drain(t);
    return 0;
}
