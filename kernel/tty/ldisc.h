// Inside tty/: what a terminal is, and the line discipline's functions. Nothing here may sleep
// except where it is said.
#pragma once
#include "sync/waitq.h"
#include "tty/tty.h"

#define TTY_INPUT_SIZE  4096u // power of two; as Linux: the longest line is one less
#define TTY_OUTPUT_SIZE 2048u // power of two
#define TTY_ECHO_SPACE  256u  // of the output buffer: writers leave it to echoes
#define TTY_ANSWER_SIZE 64u

// What input[] holds at a place besides the byte.
enum tty_mark {
    MARK_NONE,
    MARK_LINE, // a line ends with this byte
    MARK_EOF,  // a line ends before this byte, which is no data
};

struct tty {
    // Fixed once created.
    char name[16];
    uint64_t rdev;
    const struct tty_driver *driver;
    void *data;
    struct list_node node; // of the list in tty.c; not for ptys

    // Covered by the lock of tty/job.c; single reads without it use READ_ONCE.
    int session, pgrp; // 0: none

    struct spinlock lock; // covers all that follows; may be taken in interrupt handlers
    struct ktermios termios;
    struct winsize size;
    unsigned opens;        // open files
    unsigned generation;   // counts hang-ups: files opened in an earlier one are dead
    bool exclusive;        // TIOCEXCL
    bool reading, writing; // a read() / write() is in progress: others wait their turn

    // Input ring. The counters run freely; tail <= canon <= head. [tail, canon) are complete lines,
    // [canon, head) is the line being edited (canonical) or simply the newest data.
    unsigned head, canon, tail;
    bool literal_next; // ^V was typed
    bool throttled;    // the sender was asked to pause
    unsigned answer_len;
    char answer[TTY_ANSWER_SIZE]; // tty_answer() collects here during driver->write()

    // Output ring and cursor column (for tabs and erasing them).
    unsigned out_head, out_tail;
    unsigned column, line_column; // line_column: where the line being edited began
    bool stopped;                 // by ^S or TCXONC
    bool flushing;                // flush_output() is at work further up the call chain
    unsigned char flow_char;      // START or STOP to send before everything else; 0: none

    struct waitq read_wait, write_wait;
    char output[TTY_OUTPUT_SIZE];
    char input[TTY_INPUT_SIZE];
    uint8_t mark[TTY_INPUT_SIZE];
};

// What file->data of an open terminal points to.
struct tty_file {
    struct tty *tty;     // a pty master: its slave
    unsigned generation; // of the terminal when it was opened
    bool detached;       // opened as /dev/console: hang-ups do not reach it
    struct pty *master;  // NULL: not a pty master
};

static inline bool tty_file_dead(const struct tty_file *tf) {
    return !tf->detached && tf->generation != READ_ONCE(tf->tty->generation);
}
static inline bool ldisc_flag(const struct tty *t, tcflag_t local) {
    return t->termios.c_lflag & local;
}

// ---- ldisc.c: input. Lock held.
void ldisc_init(struct tty *t);
// Bytes from the device.
void ldisc_receive(struct tty *t, const char *bytes, size_t n);
// How many bytes a sender that can wait should send now.
size_t ldisc_input_room(const struct tty *t);
// True when read() would not wait; `poll`: as poll() sees it, with VMIN.
bool ldisc_readable(const struct tty *t, bool poll);
// Bytes that FIONREAD reports.
size_t ldisc_pending(const struct tty *t);
// Moves up to n readable bytes to buf. *end: a line is complete. Returns the number, 0 with *end
// for an end of file typed at the start of a line.
size_t ldisc_take(struct tty *t, char *buf, size_t n, bool *end);
void ldisc_flush_input(struct tty *t);
// Asks the sender to pause or to go on as the fill of the buffer demands.
void ldisc_check_throttle(struct tty *t);
// After t->termios was replaced.
void ldisc_termios_changed(struct tty *t, const struct ktermios *old);

// ---- output.c. Lock held.
// Puts one byte through output processing (OPOST). False: no room, nothing done.
bool output_char(struct tty *t, unsigned char c, unsigned reserve);
// Writes program text: returns how many bytes were taken.
size_t output_write(struct tty *t, const char *text, size_t n);
size_t output_room(const struct tty *t);
// Echoes: as `^X` where ECHOCTL says so / as it is. Dropped when the buffer is full.
void echo_char(struct tty *t, unsigned char c);
void echo_raw(struct tty *t, unsigned char c);
// Hands the ring to the driver as far as it takes it, wakes writers.
void flush_output(struct tty *t);
void output_discard(struct tty *t);
void output_stop(struct tty *t);
void output_start(struct tty *t);

// ---- read.c, write.c: the calls. May sleep. Bytes or -errno.
ssize_t tty_read(struct tty_file *tf, struct uio *u, bool nonblock);
ssize_t tty_write(struct tty_file *tf, struct uio *u, bool nonblock);
// Waits until all output is with the device and on the wire. 0, -EIO or -ERESTARTSYS.
int tty_drain(struct tty_file *tf);

// ---- job.c: sessions and process groups.
// The calling process wants to read from (SIGTTIN) or change (SIGTTOU) the terminal: 0 when it may,
// -ERESTARTSYS when its group was sent the signal, -EIO when that cannot help.
int tty_check_job(struct tty *t, int sig);
// open() of a terminal by a session leader that has none: it becomes its controlling terminal.
void tty_acquire_on_open(struct tty *t);
int tty_set_controlling(struct tty *t, bool steal); // TIOCSCTTY
int tty_give_up(struct tty *t);                     // TIOCNOTTY
long tty_get_group(struct tty_file *tf);            // TIOCGPGRP
int tty_set_group(struct tty_file *tf, int pgrp);   // TIOCSPGRP
long tty_get_session(struct tty_file *tf);          // TIOCGSID

// ---- tty.c
void tty_init_struct(struct tty *t, const char *name, uint64_t rdev,
                     const struct tty_driver *driver, void *data);
// Makes the node /dev/NAME. 0 or -errno.
int tty_publish(struct tty *t, uint32_t mode);
// All settings back to those of a new terminal. Not open anywhere.
void tty_reset(struct tty *t);

// ---- ioctl.c
// Computes the rates in numbers from the codes in c_cflag.
void termios_fill_speeds(struct ktermios *k);
long tty_ioctl(struct file *f, unsigned cmd, unsigned long arg);
// ---- pty.c
void pty_init(void);
// Requests of a master; -ENOTTY: not one of them.
long pty_master_ioctl(struct pty *p, unsigned cmd, unsigned long arg);
