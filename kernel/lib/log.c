// The kernel log: a ring of text, shown on consoles (lib/log.h).
//
// Stored text carries its level in front of each line as "<6>", so that a reader of /dev/kmsg can
// choose; consoles get the line without it.
#include "lib/log.h"
#include "lib/printf.h"
#include "lib/string.h"

#define RING_SIZE (128 * 1024) // a power of two
#define LINE_MAX  512

static char ring[RING_SIZE];
static uint64_t ring_end; // running number of the next byte; covered by log_lock
static struct list_node consoles = LIST_INIT(consoles);
static enum log_level shown_level = LOG_INFO;
static void (*new_line_hook)(void);
static uint64_t (*time_source)(void);

// The log is written from everywhere, also by an NMI handler or a panic on a processor that was just
// writing to it. So its lock is not a struct spinlock: it works before per-CPU data is there, and it
// gives up after a while, because a garbled line is better than a silent machine.
struct log_guard {
    bool owned, irq;
};

#ifdef UNIT_TEST
static struct log_guard log_lock(void) {
    return (struct log_guard){true, false};
}
static void log_unlock(struct log_guard g) {
    (void)g;
}
#else
#include "cpu/x86.h"

#define LOCK_PATIENCE 20000000u // polls
static bool log_locked;

static struct log_guard log_lock(void) {
    struct log_guard g = {.irq = irq_enabled()};
    irq_disable();
    for (unsigned i = 0; i < LOCK_PATIENCE && !g.owned; i++) {
        g.owned = !__atomic_test_and_set(&log_locked, __ATOMIC_ACQUIRE);
        if (!g.owned)
            cpu_relax();
    }
    return g;
}

static void log_unlock(struct log_guard g) {
    if (g.owned)
        __atomic_clear(&log_locked, __ATOMIC_RELEASE);
    if (g.irq)
        irq_enable();
}
#endif

static void ring_append(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        ring[(ring_end + i) % RING_SIZE] = text[i];
    ring_end += n;
}

// "[    1.234567] " in seconds since boot.
static size_t put_time(char *buf, size_t size) {
    uint64_t us = time_source ? time_source() / 1000 : 0;
    return scnprintf(buf, size, "[%5u.%06u] ", (unsigned)(us / 1000000), (unsigned)(us % 1000000));
}

void log_printf(enum log_level level, const char *fmt, ...) {
    char line[LINE_MAX];
    size_t n = scnprintf(line, sizeof(line), "<%u>", level & 7);
    size_t prefix = n;
    n += put_time(line + n, sizeof(line) - n);
    va_list ap;
    va_start(ap, fmt);
    int length = vsnprintf(line + n, sizeof(line) - n, fmt, ap);
    va_end(ap);
    n = MIN(n + length, sizeof(line) - 2);
    line[n++] = '\n';

    struct log_guard g = log_lock();
    ring_append(line, n);
    if (level <= shown_level) {
        struct console *c;
        list_for_each (c, &consoles, node)
            c->write(c, line + prefix, n - prefix);
    }
    log_unlock(g);
    if (new_line_hook)
        new_line_hook();
}

static uint64_t oldest(void) {
    return ring_end > RING_SIZE ? ring_end - RING_SIZE : 0;
}

// Copies text from *pos under the lock.
static size_t ring_read(uint64_t *pos, char *buf, size_t size) {
    if (*pos < oldest()) { // overwritten: go on with the first whole line
        *pos = oldest();
        while (*pos < ring_end && ring[*pos % RING_SIZE] != '\n')
            ++*pos;
        ++*pos;
    }
    if (*pos >= ring_end) {
        *pos = MIN(*pos, ring_end);
        return 0;
    }
    size_t n = MIN(size, ring_end - *pos);
    for (size_t i = 0; i < n; i++)
        buf[i] = ring[(*pos + i) % RING_SIZE];
    *pos += n;
    return n;
}

size_t log_read(uint64_t *pos, char *buf, size_t size) {
    struct log_guard g = log_lock();
    size_t n = ring_read(pos, buf, size);
    log_unlock(g);
    return n;
}

uint64_t log_end(void) {
    return READ_ONCE(ring_end);
}

// Shows the lines from `pos` on that the level admits.
static void replay(struct console *c, uint64_t pos) {
    char line[LINE_MAX];
    while (pos < ring_end) {
        uint64_t start = pos;
        size_t n = ring_read(&pos, line, sizeof(line));
        char *end = memchr(line, '\n', n);
        n = end ? (size_t)(end - line) + 1 : n;
        pos = pos - start > n ? start + n : pos;
        if (n > 3 && line[1] - '0' <= (int)shown_level)
            c->write(c, line + 3, n - 3);
    }
}

void log_add_console(struct console *c) {
    struct log_guard g = log_lock();
    replay(c, oldest());
    list_add_tail(&consoles, &c->node);
    log_unlock(g);
}

void log_for_each_console(void (*fn)(struct console *c, void *arg), void *arg) {
    struct console *c;
    list_for_each (c, &consoles, node)
        fn(c, arg);
}

void log_set_level(enum log_level level) {
    shown_level = level;
}
void log_set_hook(void (*hook)(void)) {
    new_line_hook = hook;
}
void log_set_clock(uint64_t (*monotonic_ns)(void)) {
    time_source = monotonic_ns;
}
