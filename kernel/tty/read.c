// read() of a terminal: whole lines, or bytes as VMIN and VTIME say.
#include "cpu/clock.h"
#include "proc/signal.h"
#include "tty/ldisc.h"

#define DECISECOND (NSEC_PER_SEC / 10)

// One reader at a time, so that a line is not torn between two.
static bool try_begin(struct tty *t) {
    spin_lock(&t->lock);
    bool mine = !t->reading;
    t->reading = true;
    spin_unlock(&t->lock);
    return mine;
}

static void end_reading(struct tty *t) {
    spin_lock(&t->lock);
    t->reading = false;
    spin_unlock(&t->lock);
    waitq_wake(&t->read_wait, POLLIN | POLLRDNORM);
}

static bool readable(struct tty_file *tf) {
    spin_lock(&tf->tty->lock);
    bool yes = tty_file_dead(tf) || ldisc_readable(tf->tty, false);
    spin_unlock(&tf->tty->lock);
    return yes;
}

// What a reader that found nothing (more) does, by the settings in force now.
struct wait_plan {
    bool stop;         // what was read so far is the answer
    uint64_t deadline; // else wait, up to this monotonic time
};

static struct wait_plan plan_wait(struct tty *t, size_t got, uint64_t start) {
    struct wait_plan plan = {false, UINT64_MAX};
    spin_lock(&t->lock);
    if (!ldisc_flag(t, ICANON)) {
        uint64_t min = t->termios.c_cc[VMIN], time = t->termios.c_cc[VTIME] * DECISECOND;
        if (min == 0) { // time is for the first byte
            plan.stop = got > 0 || time == 0;
            plan.deadline = start + time;
        } else { // time is between bytes, once there is one
            plan.stop = got >= min;
            if (time && got)
                plan.deadline = clock_monotonic() + time;
        }
    }
    spin_unlock(&t->lock);
    return plan;
}

static ssize_t read_loop(struct tty_file *tf, struct uio *u, bool nonblock) {
    struct tty *t = tf->tty;
    uint64_t start = clock_monotonic();
    char buf[256];
    size_t got = 0;
    while (u->resid) {
        bool end = false;
        size_t n = 0;
        spin_lock(&t->lock);
        bool dead = tty_file_dead(tf);
        if (!dead)
            n = ldisc_take(t, buf, MIN(u->resid, sizeof(buf)), &end);
        spin_unlock(&t->lock);
        if (n) {
            ssize_t moved = uio_write_out(u, buf, n);
            if (moved < 0)
                return got ? (ssize_t)got : moved;
            got += moved;
            if ((size_t)moved < n)
                return got;
        }
        if (end || dead)
            break;
        if (n)
            continue;
        struct wait_plan plan = plan_wait(t, got, start);
        if (plan.stop)
            break;
        if (nonblock)
            return got ? (ssize_t)got : -EAGAIN;
        int err = wait_event_until(&t->read_wait, readable(tf), plan.deadline);
        if (err == -ETIMEDOUT)
            break;
        if (err)
            return got ? (ssize_t)got : err;
    }
    return got;
}

ssize_t tty_read(struct tty_file *tf, struct uio *u, bool nonblock) {
    struct tty *t = tf->tty;
    int err = tty_check_job(t, SIGTTIN);
    if (err)
        return err;
    if (!try_begin(t)) {
        if (nonblock)
            return -EAGAIN;
        err = wait_event_interruptible(&t->read_wait, try_begin(t));
        if (err)
            return err;
    }
    ssize_t n = read_loop(tf, u, nonblock);
    end_reading(t);
    return n;
}
