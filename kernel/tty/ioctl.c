// ioctl() of terminals: settings, window size, job control, queues.
#include <linux/tty.h>
#include "cpu/clock.h"
#include "lib/string.h"
#include "mm/uaccess.h"
#include "proc/process.h"
#include "proc/signal.h"
#include "sched/world.h"
#include "tty/ldisc.h"

// ---- settings

static const struct {
    tcflag_t code;
    speed_t rate;
} speeds[] = {
    {B0, 0},           {B50, 50},         {B75, 75},         {B110, 110},       {B134, 134},
    {B150, 150},       {B200, 200},       {B300, 300},       {B600, 600},       {B1200, 1200},
    {B1800, 1800},     {B2400, 2400},     {B4800, 4800},     {B9600, 9600},     {B19200, 19200},
    {B38400, 38400},   {B57600, 57600},   {B115200, 115200}, {B230400, 230400}, {B460800, 460800},
    {B500000, 500000}, {B576000, 576000}, {B921600, 921600},
};

static speed_t code_to_rate(tcflag_t code, speed_t custom) {
    for (unsigned i = 0; i < ARRAY_SIZE(speeds); i++) {
        if (speeds[i].code == code)
            return speeds[i].rate;
    }
    return code == BOTHER ? custom : 0;
}

void termios_fill_speeds(struct ktermios *k) {
    tcflag_t out = k->c_cflag & CBAUD, in = (k->c_cflag >> IBSHIFT) & CBAUD;
    k->c_ospeed = code_to_rate(out, k->c_ospeed);
    k->c_ispeed = in == B0 ? k->c_ospeed : code_to_rate(in, k->c_ispeed);
}

static void set_termios(struct tty *t, const struct ktermios *new) {
    spin_lock(&t->lock);
    struct ktermios old = t->termios;
    t->termios = *new;
    if (t->driver->set_termios)
        t->driver->set_termios(t, &old);
    ldisc_termios_changed(t, &old);
    spin_unlock(&t->lock);
    waitq_wake(&t->write_wait, 0);
}

static void copy_termios(struct tty *t, struct ktermios *out) {
    spin_lock(&t->lock);
    *out = t->termios;
    spin_unlock(&t->lock);
}

// struct termios is the beginning of struct termios2, which has ktermios's layout.
_Static_assert(sizeof(struct termios2) == sizeof(struct ktermios), "layout of termios2");
_Static_assert(offsetof(struct termios2, c_ispeed) >= sizeof(struct termios), "layout of termios");

enum { SET_NOW, SET_DRAIN = 1, SET_FLUSH = 2 };

static long set_from_user(struct tty_file *tf, const void __user *from, size_t size, int how) {
    struct tty *t = tf->tty;
    struct ktermios new;
    copy_termios(t, &new);
    if (copy_from_user(&new, from, size))
        return -EFAULT;
    termios_fill_speeds(&new);
    if (how & SET_DRAIN) {
        int err = tty_drain(tf);
        if (err)
            return err;
    }
    if (how & SET_FLUSH) {
        spin_lock(&t->lock);
        ldisc_flush_input(t);
        spin_unlock(&t->lock);
    }
    set_termios(t, &new);
    return 0;
}

static long get_termios(struct tty *t, void __user *to, size_t size) {
    struct ktermios k;
    copy_termios(t, &k);
    return copy_to_user(to, &k, size);
}

// The oldest form: 16-bit flags, eight characters.
static long get_termio(struct tty *t, void __user *to) {
    struct ktermios k;
    copy_termios(t, &k);
    struct termio old = {.c_iflag = k.c_iflag,
                         .c_oflag = k.c_oflag,
                         .c_cflag = k.c_cflag,
                         .c_lflag = k.c_lflag,
                         .c_line = k.c_line};
    memcpy(old.c_cc, k.c_cc, NCC);
    return copy_to_user(to, &old, sizeof(old));
}

static long set_termio(struct tty_file *tf, const void __user *from, int how) {
    struct ktermios k;
    struct termio old;
    if (copy_from_user(&old, from, sizeof(old)))
        return -EFAULT;
    copy_termios(tf->tty, &k);
    k.c_iflag = (k.c_iflag & 0xffff0000u) | old.c_iflag;
    k.c_oflag = (k.c_oflag & 0xffff0000u) | old.c_oflag;
    k.c_cflag = (k.c_cflag & 0xffff0000u) | old.c_cflag;
    k.c_lflag = (k.c_lflag & 0xffff0000u) | old.c_lflag;
    memcpy(k.c_cc, old.c_cc, NCC);
    termios_fill_speeds(&k);
    int err = how & SET_DRAIN ? tty_drain(tf) : 0;
    if (err)
        return err;
    if (how & SET_FLUSH) {
        spin_lock(&tf->tty->lock);
        ldisc_flush_input(tf->tty);
        spin_unlock(&tf->tty->lock);
    }
    set_termios(tf->tty, &k);
    return 0;
}

static long termios_ioctl(struct tty_file *tf, unsigned cmd, void __user *arg) {
    struct tty *t = tf->tty;
    switch (cmd) {
    case TCGETS: return get_termios(t, arg, sizeof(struct termios));
    case TCSETS: return set_from_user(tf, arg, sizeof(struct termios), SET_NOW);
    case TCSETSW: return set_from_user(tf, arg, sizeof(struct termios), SET_DRAIN);
    case TCSETSF: return set_from_user(tf, arg, sizeof(struct termios), SET_DRAIN | SET_FLUSH);
    case TCGETS2: return get_termios(t, arg, sizeof(struct termios2));
    case TCSETS2: return set_from_user(tf, arg, sizeof(struct termios2), SET_NOW);
    case TCSETSW2: return set_from_user(tf, arg, sizeof(struct termios2), SET_DRAIN);
    case TCSETSF2: return set_from_user(tf, arg, sizeof(struct termios2), SET_DRAIN | SET_FLUSH);
    case TCGETA: return get_termio(t, arg);
    case TCSETA: return set_termio(tf, arg, SET_NOW);
    case TCSETAW: return set_termio(tf, arg, SET_DRAIN);
    case TCSETAF: return set_termio(tf, arg, SET_DRAIN | SET_FLUSH);
    default: return -ENOTTY;
    }
}

// ---- queues and flow

static long flush_queues(struct tty *t, unsigned long which) {
    if (which > TCIOFLUSH)
        return -EINVAL;
    spin_lock(&t->lock);
    if (which != TCOFLUSH)
        ldisc_flush_input(t);
    if (which != TCIFLUSH)
        output_discard(t);
    spin_unlock(&t->lock);
    return 0;
}

static long flow_control(struct tty *t, unsigned long what) {
    long err = 0;
    spin_lock(&t->lock);
    switch (what) {
    case TCOOFF: output_stop(t); break;
    case TCOON: output_start(t); break;
    case TCIOFF:
    case TCION:
        t->flow_char = t->termios.c_cc[what == TCIOFF ? VSTOP : VSTART];
        flush_output(t);
        break;
    default: err = -EINVAL;
    }
    spin_unlock(&t->lock);
    return err;
}

// After what was written: a break of `duration` ns, or none (0).
static long send_break(struct tty_file *tf, uint64_t duration) {
    const struct tty_driver *d = tf->tty->driver;
    int err = tty_drain(tf);
    if (err || !duration || !d->set_break)
        return err;
    d->set_break(tf->tty, true);
    err = world_sleep_until(clock_monotonic() + duration);
    d->set_break(tf->tty, false);
    return err;
}

static long line_break(struct tty *t, bool on) {
    if (t->driver->set_break)
        t->driver->set_break(t, on);
    return 0;
}

static long queue_length(struct tty *t, bool input, int __user *to) {
    spin_lock(&t->lock);
    int n = input ? (int)ldisc_pending(t) : (int)(t->out_head - t->out_tail);
    spin_unlock(&t->lock);
    return put_user(n, to);
}

static long simulate_input(struct tty *t, const char __user *from) {
    struct process *p = current_process();
    char c;
    if (tty_of(p) != t && p->euid != 0)
        return -EPERM;
    if (get_user(c, from))
        return -EFAULT;
    tty_input(t, &c, 1);
    return 0;
}

static long queue_ioctl(struct tty_file *tf, unsigned cmd, unsigned long arg) {
    struct tty *t = tf->tty;
    switch (cmd) {
    case TCFLSH: return flush_queues(t, arg);
    case TCXONC: return flow_control(t, arg);
    case TCSBRK: return send_break(tf, arg ? 0 : NSEC_PER_SEC / 4);
    case TCSBRKP:
        return send_break(tf, arg ? MIN(arg, 100ul) * (NSEC_PER_SEC / 10) : NSEC_PER_SEC / 4);
    case TIOCSBRK: return line_break(t, true);
    case TIOCCBRK: return line_break(t, false);
    case FIONREAD: return queue_length(t, true, (int __user *)arg);
    case TIOCOUTQ: return queue_length(t, false, (int __user *)arg);
    case TIOCSTI: return simulate_input(t, (const char __user *)arg);
    default: return -ENOTTY;
    }
}

// ---- window size, job control, the rest

static long get_size(struct tty *t, void __user *to) {
    spin_lock(&t->lock);
    struct winsize size = t->size;
    spin_unlock(&t->lock);
    return copy_to_user(to, &size, sizeof(size));
}

static long set_size(struct tty *t, const void __user *from) {
    struct winsize size;
    if (copy_from_user(&size, from, sizeof(size)))
        return -EFAULT;
    spin_lock(&t->lock);
    t->size.ws_xpixel = size.ws_xpixel;
    t->size.ws_ypixel = size.ws_ypixel;
    spin_unlock(&t->lock);
    tty_set_size(t, size.ws_row, size.ws_col);
    return 0;
}

static long put_id(long id, int __user *to) {
    return id < 0 ? id : put_user((int)id, to);
}

static long set_group(struct tty_file *tf, const int __user *from) {
    int pgrp;
    return get_user(pgrp, from) ? -EFAULT : tty_set_group(tf, pgrp);
}

static long set_discipline(const int __user *from) {
    int which;
    if (get_user(which, from))
        return -EFAULT;
    return which == N_TTY ? 0 : -EINVAL;
}

static long set_exclusive(struct tty *t, bool on) {
    spin_lock(&t->lock);
    t->exclusive = on;
    spin_unlock(&t->lock);
    return 0;
}

static long other_ioctl(struct tty_file *tf, unsigned cmd, unsigned long arg) {
    struct tty *t = tf->tty;
    void __user *to = (void __user *)arg;
    switch (cmd) {
    case TIOCGWINSZ: return get_size(t, to);
    case TIOCSWINSZ: return set_size(t, to);
    case TIOCGPGRP: return put_id(tty_get_group(tf), to);
    case TIOCSPGRP: return set_group(tf, to);
    case TIOCGSID: return put_id(tty_get_session(tf), to);
    case TIOCSCTTY: return tf->master ? -ENOTTY : tty_set_controlling(t, arg == 1);
    case TIOCNOTTY: return tty_give_up(t);
    case TIOCGETD: return put_user(N_TTY, (int __user *)to);
    case TIOCSETD: return set_discipline(to);
    case TIOCEXCL: return set_exclusive(t, true);
    case TIOCNXCL: return set_exclusive(t, false);
    case TIOCGEXCL: return put_user((int)READ_ONCE(t->exclusive), (int __user *)to);
    case TIOCGDEV: return put_user((unsigned)t->rdev, (unsigned __user *)to);
    default: return -ENOTTY;
    }
}

// Requests that change the terminal: not for background processes.
static bool changes(unsigned cmd) {
    switch (cmd) {
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
    case TCFLSH:
    case TCXONC:
    case TCSBRK:
    case TCSBRKP:
    case TIOCSBRK:
    case TIOCCBRK:
    case TIOCSETD: return true;
    default: return false;
    }
}

long tty_ioctl(struct file *f, unsigned cmd, unsigned long arg) {
    struct tty_file *tf = f->data;
    struct tty *t = tf->tty;
    if (tty_file_dead(tf))
        return cmd == TIOCSPGRP ? -ENOTTY : -EIO;
    if (changes(cmd) && !tf->master) {
        int err = tty_check_job(t, SIGTTOU);
        if (err)
            return err;
    }
    long r = tf->master ? pty_master_ioctl(tf->master, cmd, arg) : -ENOTTY;
    if (r == -ENOTTY)
        r = termios_ioctl(tf, cmd, (void __user *)arg);
    if (r == -ENOTTY)
        r = queue_ioctl(tf, cmd, arg);
    if (r == -ENOTTY)
        r = other_ioctl(tf, cmd, arg);
    if (r == -ENOTTY && t->driver->ioctl)
        r = t->driver->ioctl(t, cmd, arg);
    return r;
}
