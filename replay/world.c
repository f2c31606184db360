// The host's clock, randomness and file descriptors, for pass-through and recording.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "replay/inputs_ops.h"

#define MAX_SOURCES 32
#define NSEC        1000000000ull
#define LEAVE_KEY   0x1d     // ^]
#define PATIENCE_NS 20000000 // with which the rest of something unfinished is waited for

static uint64_t monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NSEC + (uint64_t)t.tv_nsec;
}

void world_start(struct inputs *in, uint64_t v) {
    in->start_ns = monotonic() - (uint64_t)((unsigned __int128)v * NSEC / in->hz);
}

void inputs_hold(struct inputs *in) {
    in->held_ns = monotonic();
}

void inputs_release(struct inputs *in) {
    in->start_ns += monotonic() - in->held_ns;
}

uint64_t world_wall_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec;
}

void world_random(void *buf, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t got = getrandom((char *)buf + done, n - done, 0);
        if (got > 0)
            done += (size_t)got;
        else if (errno != EINTR)
            abort(); // getrandom() cannot fail otherwise
    }
}

uint64_t world_virtual_time(const struct inputs *in) {
    return (uint64_t)((unsigned __int128)(monotonic() - in->start_ns) * in->hz / NSEC);
}

static size_t room(const struct input_source *s) {
    size_t n = s->room ? s->room(s->opaque) : INPUT_MAX;
    return n < INPUT_MAX ? n : INPUT_MAX;
}

// A terminal is read when something is typed, not when the device has room.
static bool read_ahead(const struct input_source *s) {
    return s->leave_key || s->translate;
}

// Descriptors that something can be read from now; `who` gets their sources.
static unsigned poll_list(struct inputs *in, struct pollfd list[MAX_SOURCES],
                          struct input_source **who) {
    unsigned n = 0;
    for (struct input_source *s = in->sources; s && n < MAX_SOURCES; s = s->next) {
        if (s->fd < 0 || (!read_ahead(s) && !room(s)))
            continue;
        list[n] = (struct pollfd){.fd = s->fd, .events = POLLIN};
        who[n++] = s;
    }
    return n;
}

// Something was read ahead and can be delivered now.
static bool ready_ahead(const struct inputs *in) {
    for (struct input_source *s = in->sources; s; s = s->next)
        if (s->ahead_count && room(s))
            return true;
    return false;
}

static bool unfinished(const struct inputs *in) {
    for (struct input_source *s = in->sources; s; s = s->next)
        if (s->unfinished)
            return true;
    return false;
}

bool world_wait(struct inputs *in, uint64_t deadline) {
    struct pollfd list[MAX_SOURCES];
    struct input_source *who[MAX_SOURCES];
    unsigned n = poll_list(in, list, who);
    uint64_t ns = UINT64_MAX;
    struct timespec t, *timeout = NULL;
    if (ready_ahead(in))
        return true;
    if (deadline != UINT64_MAX) {
        uint64_t now = world_virtual_time(in), ticks = deadline > now ? deadline - now : 0;
        ns = (uint64_t)((unsigned __int128)ticks * NSEC / in->hz);
        if (!ns)
            return true;
    }
    if (ns > PATIENCE_NS && unfinished(in))
        ns = PATIENCE_NS;
    if (ns != UINT64_MAX) {
        t = (struct timespec){.tv_sec = (time_t)(ns / NSEC), .tv_nsec = (long)(ns % NSEC)};
        timeout = &t;
    }
    return ppoll(list, n, timeout, NULL) >= 0 || !in->left;
}

// Cuts the bytes at the key that leaves.
static size_t look_for_leave_key(struct inputs *in, const uint8_t *data, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (data[i] == LEAVE_KEY) {
            in->left = true;
            return i;
        }
    }
    return n;
}

static size_t read_source(struct input_source *s, uint8_t *data, size_t size) {
    ssize_t n = read(s->fd, data, size);
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        s->fd = -1; // its end
    return n > 0 ? (size_t)n : 0;
}

// Takes what was typed, whether the device has room or not. What does not fit is lost: a guest that does
// not read 4096 bytes does not read.
static void read_terminal(struct inputs *in, struct input_source *s) {
    uint8_t data[INPUT_MAX];
    size_t n = read_source(s, data, sizeof(data));
    if (s->leave_key)
        n = look_for_leave_key(in, data, n);
    if (s->translate && n)
        s->ahead_count += s->translate(s->opaque, data, n, s->ahead + s->ahead_count,
                                       INPUT_MAX - s->ahead_count);
    for (size_t i = 0; !s->translate && i < n && s->ahead_count < INPUT_MAX; i++)
        s->ahead[s->ahead_count++] = data[i];
}

// Nothing has come that what was begun could go on with.
static void finish(struct input_source *s) {
    s->ahead_count += s->translate(s->opaque, NULL, 0, s->ahead + s->ahead_count,
                                   INPUT_MAX - s->ahead_count);
}

typedef void (*take_fn)(struct inputs *in, struct input_source *s, const uint8_t *data, size_t n);

static void deliver_ahead(struct inputs *in, struct input_source *s, take_fn fn) {
    size_t space = room(s), n = s->ahead_count < space ? s->ahead_count : space;
    if (!n)
        return;
    fn(in, s, s->ahead, n);
    s->ahead_count -= n;
    memmove(s->ahead, s->ahead + n, s->ahead_count);
}

void world_collect(struct inputs *in, take_fn fn) {
    static uint8_t data[INPUT_MAX];
    struct pollfd list[MAX_SOURCES];
    struct input_source *who[MAX_SOURCES];
    unsigned count = poll_list(in, list, who);
    if (count && poll(list, count, 0) < 0)
        count = 0;
    for (unsigned i = 0; i < count; i++) {
        struct input_source *s = who[i];
        if (!list[i].revents && s->unfinished)
            finish(s);
        if (!list[i].revents)
            continue;
        if (read_ahead(s)) {
            read_terminal(in, s);
            continue;
        }
        size_t n = read_source(s, data, room(s));
        if (n)
            fn(in, s, data, n);
    }
    for (struct input_source *s = in->sources; s; s = s->next) {
        if (s->unfinished && s->fd < 0)
            finish(s);
        deliver_ahead(in, s, fn);
    }
}
