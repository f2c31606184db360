// The host's clock, randomness and file descriptors, for pass-through and recording.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "replay/inputs_ops.h"

#define MAX_SOURCES 32
#define NSEC        1000000000ull
#define LEAVE_KEY   0x1d // ^]

static uint64_t monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NSEC + (uint64_t)t.tv_nsec;
}

void world_start(struct inputs *in) {
    in->start_ns = monotonic();
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

// Descriptors that something can be taken from now; `who` gets their sources.
static unsigned poll_list(struct inputs *in, struct pollfd list[MAX_SOURCES],
                          struct input_source **who) {
    unsigned n = 0;
    for (struct input_source *s = in->sources; s && n < MAX_SOURCES; s = s->next) {
        if (s->fd < 0 || (s->room && !s->room(s->opaque)))
            continue;
        list[n] = (struct pollfd){.fd = s->fd, .events = POLLIN};
        who[n++] = s;
    }
    return n;
}

bool world_wait(struct inputs *in, uint64_t deadline) {
    struct pollfd list[MAX_SOURCES];
    struct input_source *who[MAX_SOURCES];
    unsigned n = poll_list(in, list, who);
    struct timespec t, *timeout = NULL;
    if (deadline != UINT64_MAX) {
        uint64_t now = world_virtual_time(in), ticks = deadline > now ? deadline - now : 0;
        uint64_t ns = (uint64_t)((unsigned __int128)ticks * NSEC / in->hz);
        if (!ns)
            return true;
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

void world_collect(struct inputs *in, void (*fn)(struct inputs *in, struct input_source *s,
                                                 const uint8_t *data, size_t n)) {
    static uint8_t data[INPUT_MAX];
    struct pollfd list[MAX_SOURCES];
    struct input_source *who[MAX_SOURCES];
    unsigned count = poll_list(in, list, who);
    if (!count || poll(list, count, 0) <= 0)
        return;
    for (unsigned i = 0; i < count; i++) {
        struct input_source *s = who[i];
        if (!list[i].revents)
            continue;
        size_t room = s->room ? s->room(s->opaque) : INPUT_MAX;
        ssize_t n = read(s->fd, data, room < INPUT_MAX ? room : INPUT_MAX);
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
            s->fd = -1; // its end
        size_t bytes = n <= 0         ? 0
                       : s->leave_key ? look_for_leave_key(in, data, (size_t)n)
                                      : (size_t)n;
        if (bytes)
            fn(in, s, data, bytes);
    }
}
