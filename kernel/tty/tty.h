// Terminals: line discipline (termios), job control, and the drivers below.
#pragma once
#include <asm/termbits.h>
#include <asm/termios.h>
#include "fs/file.h"

struct tty;
struct tty_driver {
    const char *name; // "ttyS", "tty", "pts"
    // Takes up to n bytes for output; returns how many fit now (0: full; call tty_output_ready()
    // when there is room again). No sleep; any context.
    size_t (*write)(struct tty *t, const char *text, size_t n);
    void (*set_termios)(struct tty *t, const struct ktermios *old); // optional
    void (*hangup)(struct tty *t);                                  // optional
    // Waits until the last byte is on the wire. Optional.
    void (*drain)(struct tty *t);
};

// A terminal; appears as /dev/NAME. NULL: out of memory.
struct tty *tty_create(const char *name, uint64_t rdev, const struct tty_driver *driver, void *data);
void *tty_data(struct tty *t);
// Bytes from the device: any context. Handles echo, editing, ^C ^Z ^\ , flow control.
void tty_input(struct tty *t, const char *bytes, size_t n);
void tty_output_ready(struct tty *t);
void tty_hangup(struct tty *t);
void tty_set_size(struct tty *t, unsigned rows, unsigned cols);
// The terminal chosen by the last console= of the command line; /dev/console opens it.
void tty_set_console(struct tty *t);
// setsid() gave up the controlling terminal / the session's leader died.
struct process;
void tty_disassociate(struct process *leader);
// st_rdev of a process's controlling terminal for /proc/PID/stat; 0: none.
uint64_t tty_rdev(const struct tty *t);
const char *tty_name(const struct tty *t);
