// Terminals: line discipline (termios), job control, and the drivers below.
#pragma once
#include <asm/termbits.h>
#include <asm/termios.h>
#include "fs/file.h"

struct tty;
struct process;

// What a device supplies. Functions are called with the terminal's lock held (interrupts off, must
// not sleep) unless said otherwise; NULL where there is nothing to do.
struct tty_driver {
    const char *name; // "ttyS", "tty", "pts"
    bool pty;         // the death of the session's leader does not hang such a terminal up
    // Takes up to n bytes for output; returns how many fit now (0: full; call tty_output_ready()
    // when there is room again). No sleep; any context. Required.
    size_t (*write)(struct tty *t, const char *text, size_t n);
    void (*set_termios)(struct tty *t, const struct ktermios *old);
    // The input buffer is nearly full (on) / has room again (off).
    void (*throttle)(struct tty *t, bool on);
    // Lock not held, may sleep: a first or further open (0 or -errno) / the last close / hang-up.
    int (*open)(struct tty *t);
    void (*close)(struct tty *t);
    void (*hangup)(struct tty *t);
    // Waits until the last byte is on the wire. Lock not held, may sleep.
    void (*drain)(struct tty *t);
    // Starts or ends a break condition. Lock not held.
    void (*set_break)(struct tty *t, bool on);
    // The device's own requests; -ENOTTY for others. Lock not held, may sleep.
    long (*ioctl)(struct tty *t, unsigned cmd, unsigned long arg);
};

// A terminal; appears as /dev/NAME. It is never freed. NULL: out of memory.
struct tty *tty_create(const char *name, uint64_t rdev, const struct tty_driver *driver,
                       void *data);
// A further node /dev/NAME whose open() opens the terminal that resolve() names (NULL: -ENXIO).
// `detached`: opening it never gives a controlling terminal, and a hang-up leaves it open, as
// Linux has it for /dev/console. 0 or -errno.
struct tty_alias {
    struct tty *(*resolve)(void);
    bool detached;
};
int tty_register_alias(const char *name, uint32_t mode, uint64_t rdev, const struct tty_alias *a);

// The terminal /dev/NAME of a driver (no alias, no pty), or NULL.
struct tty *tty_find(const char *name);
// The driver's data as given to tty_create().
void *tty_data(struct tty *t);
// The present settings; stable inside driver functions that hold the terminal's lock.
const struct ktermios *tty_termios(const struct tty *t);
const char *tty_name(const struct tty *t);
// st_rdev for /proc/PID/stat; 0 for NULL.
uint64_t tty_rdev(const struct tty *t);
// The foreground process group (tpgid); -1 for NULL.
int tty_foreground(const struct tty *t);

// Bytes from the device: any context. Handles echo, editing, ^C ^Z ^\ , flow control.
void tty_input(struct tty *t, const char *bytes, size_t n);
// The same for a driver inside its write(): an answer that the terminal itself gives (cursor
// position and the like). Bytes that do not fit are dropped.
void tty_answer(struct tty *t, const char *bytes, size_t n);
// The device takes output again. Any context, without the lock.
void tty_output_ready(struct tty *t);
// The other end went away: SIGHUP and SIGCONT to the session, open files see end of file and EIO.
// May not be called from interrupts.
void tty_hangup(struct tty *t);
// New window size; SIGWINCH to the foreground group when it changed. Any context.
void tty_set_size(struct tty *t, unsigned rows, unsigned cols);
// Changes the settings that a terminal starts with: input flags to add, the speed's code (B115200;
// 0: as it is). Before it is opened.
void tty_set_defaults(struct tty *t, tcflag_t iflag, tcflag_t speed);
// True when output waits for the device. A snapshot, for power-off.
bool tty_output_pending(const struct tty *t);
// The terminal chosen by the last console= of the command line; /dev/console opens it.
void tty_set_console(struct tty *t);

// The controlling terminal of p, or NULL. p->tty alone does not tell: it is left behind when the
// session gives its terminal up, and only counts while the terminal names p's session.
struct tty *tty_of(const struct process *p);
// The leader of a session exits or gives its terminal up: SIGHUP and SIGCONT to the foreground
// group, the terminal is free for another session. Does nothing without a controlling terminal.
// No spin lock held.
void tty_disassociate(struct process *leader);
