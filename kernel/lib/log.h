// The kernel log: a ring of lines that /dev/kmsg shows and that goes to the consoles chosen with
// console= as far as loglevel= admits. Callable from everywhere, also with locks held, from
// interrupt handlers and NMIs, and before memory is there.
#pragma once
#include "lib/list.h"

enum log_level {
    LOG_ALWAYS = 0,
    LOG_ERROR = 3,
    LOG_WARNING = 4,
    LOG_NOTICE = 5,
    LOG_INFO = 6,
    LOG_DEBUG = 7
};

// Appends one line (no newline at the end), prefixed by time. By convention it starts with the
// area: log_printf(LOG_WARNING, "ide: hda: DMA timed out, falling back to PIO").
void log_printf(enum log_level level, const char *fmt, ...) printf_like(2, 3);
// LOG_ALWAYS is shown whatever loglevel= says.
#define log_error(...)   log_printf(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_printf(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_printf(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_printf(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_printf(LOG_DEBUG, __VA_ARGS__)

// Where log lines are shown. write() must work with interrupts off and must not sleep (polled).
struct console {
    const char *name; // as in console=: "vga", "ttyS0", "ttyS1"
    void (*write)(struct console *c, const char *text, size_t n);
    struct list_node node;
};
// Adds a console; it first gets all earlier lines of the log. Boot only.
void log_add_console(struct console *c);
// Only messages with a level below or equal are shown (all are kept). Default LOG_INFO.
void log_set_level(enum log_level level);
// Each stored line starts with its level as "<6>". Copies log text from byte position *pos (a running number since boot), advances *pos; returns the
// bytes copied, 0 when there is nothing new. If *pos was overwritten, continues with the oldest.
size_t log_read(uint64_t *pos, char *buf, size_t size);
// Called after each new line (in any context: only for setting a flag or waking). One hook, NULL: none.
void log_set_hook(void (*hook)(void));
// The running number after the last byte, for reading only the end of the log.
uint64_t log_end(void);
// Where times come from once the clock runs; before, lines carry time 0.
void log_set_clock(uint64_t (*monotonic_ns)(void));
// Calls fn for every console, without a lock: for panic(), when nothing else runs any more.
void log_for_each_console(void (*fn)(struct console *c, void *arg), void *arg);
