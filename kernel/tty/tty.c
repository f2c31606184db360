// Terminals as files: nodes in /dev, open and close, and the interface to the drivers.
#include "boot/main.h"
#include "fs/inode.h"
#include "lib/list.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "proc/process.h"
#include "proc/signal.h"
#include "syscall/syscall.h"
#include "tty/ldisc.h"

static struct tty *console;                               // what /dev/console opens; set at boot
static struct list_node terminals = LIST_INIT(terminals); // grows at boot only: no lock

// ---- for drivers

void tty_init_struct(struct tty *t, const char *name, uint64_t rdev,
                     const struct tty_driver *driver, void *data) {
    memset(t, 0, sizeof(*t));
    strlcpy(t->name, name, sizeof(t->name));
    t->rdev = rdev;
    t->driver = driver;
    t->data = data;
    spin_init(&t->lock);
    waitq_init(&t->read_wait);
    waitq_init(&t->write_wait);
    ldisc_init(t);
}

void tty_reset(struct tty *t) {
    spin_lock(&t->lock);
    ldisc_init(t);
    t->exclusive = false;
    memset(&t->size, 0, sizeof(t->size));
    spin_unlock(&t->lock);
}

void tty_set_defaults(struct tty *t, tcflag_t iflag, tcflag_t speed) {
    spin_lock(&t->lock);
    t->termios.c_iflag |= iflag;
    if (speed)
        t->termios.c_cflag = (t->termios.c_cflag & ~CBAUD) | speed;
    termios_fill_speeds(&t->termios);
    spin_unlock(&t->lock);
}

struct tty *tty_create(const char *name, uint64_t rdev, const struct tty_driver *driver,
                       void *data) {
    struct tty *t = kmalloc(sizeof(*t));
    if (!t)
        return NULL;
    tty_init_struct(t, name, rdev, driver, data);
    if (tty_publish(t, 0620)) {
        kfree(t);
        return NULL;
    }
    list_add_tail(&terminals, &t->node);
    return t;
}

struct tty *tty_find(const char *name) {
    struct tty *t;
    list_for_each (t, &terminals, node) {
        if (strcmp(t->name, name) == 0)
            return t;
    }
    return NULL;
}

void *tty_data(struct tty *t) {
    return t->data;
}
const struct ktermios *tty_termios(const struct tty *t) {
    return &t->termios;
}
const char *tty_name(const struct tty *t) {
    return t->name;
}
uint64_t tty_rdev(const struct tty *t) {
    return t ? t->rdev : 0;
}
int tty_foreground(const struct tty *t) {
    return t ? READ_ONCE(t->pgrp) : -1;
}
bool tty_output_pending(const struct tty *t) {
    return READ_ONCE(t->out_head) != READ_ONCE(t->out_tail);
}
void tty_set_console(struct tty *t) {
    console = t;
}

void tty_input(struct tty *t, const char *bytes, size_t n) {
    spin_lock(&t->lock);
    ldisc_receive(t, bytes, n);
    spin_unlock(&t->lock);
}

void tty_answer(struct tty *t, const char *bytes, size_t n) {
    ASSERT(spin_held(&t->lock));
    n = MIN(n, sizeof(t->answer) - t->answer_len);
    memcpy(t->answer + t->answer_len, bytes, n);
    t->answer_len += n;
}

void tty_output_ready(struct tty *t) {
    spin_lock(&t->lock);
    flush_output(t);
    spin_unlock(&t->lock);
}

void tty_set_size(struct tty *t, unsigned rows, unsigned cols) {
    spin_lock(&t->lock);
    bool changed = t->size.ws_row != rows || t->size.ws_col != cols;
    t->size.ws_row = rows;
    t->size.ws_col = cols;
    int pgrp = READ_ONCE(t->pgrp);
    spin_unlock(&t->lock);
    if (changed && pgrp)
        signal_send_group(pgrp, SIGWINCH, NULL);
}

// ---- files

static struct tty_file *tty_file(const struct file *f) {
    return f->data;
}

static ssize_t term_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct tty_file *tf = tty_file(f);
    return tty_file_dead(tf) ? 0 : tty_read(tf, u, f->flags & O_NONBLOCK);
}

static ssize_t term_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct tty_file *tf = tty_file(f);
    return tty_file_dead(tf) ? -EIO : tty_write(tf, u, f->flags & O_NONBLOCK);
}

static unsigned term_poll(struct file *f, struct poll_table *table) {
    struct tty_file *tf = tty_file(f);
    struct tty *t = tf->tty;
    unsigned bits = 0;
    poll_wait(table, &t->read_wait);
    poll_wait(table, &t->write_wait);
    spin_lock(&t->lock);
    if (tty_file_dead(tf))
        bits = POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDNORM | POLLWRNORM;
    if (ldisc_readable(t, true))
        bits |= POLLIN | POLLRDNORM;
    if (output_room(t) >= TTY_OUTPUT_SIZE / 4)
        bits |= POLLOUT | POLLWRNORM;
    spin_unlock(&t->lock);
    return bits;
}

static int64_t term_seek(struct file *f, int64_t offset, int whence) {
    return -ESPIPE;
}

static void term_release(struct file *f) {
    struct tty_file *tf = tty_file(f);
    struct tty *t = tf->tty;
    spin_lock(&t->lock);
    bool last = --t->opens == 0;
    if (last) {
        t->exclusive = false;
        output_start(t);
        ldisc_flush_input(t);
    }
    spin_unlock(&t->lock);
    if (last && t->driver->close)
        t->driver->close(t);
    kfree(tf);
}

// Counts one more open file; the driver may refuse. 0 or -errno.
static int count_open(struct tty *t, struct tty_file *tf) {
    struct process *p = current_process();
    spin_lock(&t->lock);
    int err = t->exclusive && p && p->euid != 0 ? -EBUSY : 0;
    if (!err)
        t->opens++; // before the driver is asked: from now on a pty pair is not reused
    tf->generation = t->generation;
    spin_unlock(&t->lock);
    if (err || !t->driver->open)
        return err;
    err = t->driver->open(t);
    if (err) {
        spin_lock(&t->lock);
        t->opens--;
        spin_unlock(&t->lock);
    }
    return err;
}

// Opens t as the file f. 0 or -errno, then nothing is held.
static int open_terminal(struct tty *t, struct file *f, bool detached) {
    struct tty_file *tf = kzalloc(sizeof(*tf));
    if (!tf)
        return -ENOMEM;
    tf->tty = t;
    tf->detached = detached;
    int err = count_open(t, tf);
    if (err) {
        kfree(tf);
        return err;
    }
    f->data = tf;
    if (!detached && !(f->flags & O_NOCTTY))
        tty_acquire_on_open(t);
    return 0;
}

static int term_open(struct inode *i, struct file *f) {
    return open_terminal(dev_data(f), f, false);
}

static const struct file_ops tty_ops;

static int alias_open(struct inode *i, struct file *f) {
    const struct tty_alias *a = dev_data(f);
    struct tty *t = a->resolve();
    if (!t)
        return -ENXIO;
    f->ops = &tty_ops;
    return open_terminal(t, f, a->detached);
}

static const struct file_ops tty_ops = {
    .read = term_read,
    .write = term_write,
    .poll = term_poll,
    .seek = term_seek,
    .ioctl = tty_ioctl,
    .open = term_open,
    .release = term_release,
};
static const struct file_ops alias_ops = {.open = alias_open};

int tty_publish(struct tty *t, uint32_t mode) {
    return dev_register(t->name, mode, t->rdev, &tty_ops, t);
}

int tty_register_alias(const char *name, uint32_t mode, uint64_t rdev, const struct tty_alias *a) {
    return dev_register(name, mode, rdev, &alias_ops, (void *)a);
}

// ---- /dev/tty, /dev/console

static struct tty *resolve_own(void) {
    struct process *p = current_process();
    return p ? tty_of(p) : NULL;
}
static struct tty *resolve_console(void) {
    return console;
}

void tty_init(void) {
    static const struct tty_alias own = {resolve_own, false};
    static const struct tty_alias system = {resolve_console, true};
    tty_register_alias("tty", 0666, DEV(5, 0), &own);
    tty_register_alias("console", 0600, DEV(5, 1), &system);
    pty_init();
}

long sys_vhangup(void) {
    struct process *p = current_process();
    if (p->euid != 0)
        return -EPERM;
    struct tty *t = tty_of(p);
    if (t)
        tty_hangup(t);
    return 0;
}
