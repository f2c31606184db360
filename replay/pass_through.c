// Inputs that come straight from the world and are not written down.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "replay/inputs.h"

#define LEAVE_KEY       0x1d // ^]
#define NS_PER_SECOND   1000000000ull
#define SLICES_PER_SECOND 1000
#define LAG_PER_SECOND  500 // virtual time is moved forward when it is 1/500 s behind
#define MAX_SOURCES     16

struct inputs {
    uint64_t hz;
    struct input_source *sources;
    unsigned source_count;
    uint64_t slice_end;
    bool started;
    uint64_t real_base, v_base; // at host time real_base (ns) V was v_base
    volatile bool left;
};

static uint64_t host_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

// ---- results -----------------------------------------------------------------------------------
uint64_t inputs_wall_clock(struct inputs *in) {
    return time(NULL);
}

void inputs_random(struct inputs *in, void *buf, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t r = getrandom((char *)buf + done, n - done, 0);
        if (r > 0)
            done += r;
    }
}

// ---- events ------------------------------------------------------------------------------------
void inputs_add_source(struct inputs *in, struct input_source *s) {
    struct input_source **end = &in->sources;
    while (*end)
        end = &(*end)->next;
    s->id = in->source_count++;
    s->next = NULL;
    *end = s;
}

static size_t room(const struct input_source *s) {
    size_t n = s->room ? s->room(s->opaque) : INPUT_MAX;
    return n < INPUT_MAX ? n : INPUT_MAX;
}

// Descriptors that something can be taken from now; `who` gets their sources.
static unsigned descriptors(struct inputs *in, struct pollfd *fds, struct input_source **who) {
    unsigned n = 0;
    for (struct input_source *s = in->sources; s && n < MAX_SOURCES; s = s->next) {
        if (s->fd < 0 || !room(s))
            continue;
        fds[n] = (struct pollfd){.fd = s->fd, .events = POLLIN};
        who[n++] = s;
    }
    return n;
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

static void take(struct inputs *in, struct input_source *s) {
    uint8_t data[INPUT_MAX];
    ssize_t n = read(s->fd, data, room(s));
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        s->fd = -1; // its end
    if (n <= 0)
        return;
    size_t bytes = s->leave_key ? look_for_leave_key(in, data, n) : (size_t)n;
    if (bytes)
        s->deliver(s->opaque, data, bytes);
}

void inputs_deliver(struct inputs *in, const struct landmark *at) {
    struct pollfd fds[MAX_SOURCES];
    struct input_source *who[MAX_SOURCES];
    unsigned n = descriptors(in, fds, who);
    if (!n || poll(fds, n, 0) <= 0)
        return;
    for (unsigned i = 0; i < n; i++)
        if (fds[i].revents)
            take(in, who[i]);
}

bool inputs_left(const struct inputs *in) {
    return in->left;
}

void inputs_leave(struct inputs *in) {
    in->left = true;
}

// ---- stops -------------------------------------------------------------------------------------
uint64_t inputs_next_stop(struct inputs *in, uint64_t count) {
    if (count >= in->slice_end)
        in->slice_end = count + in->hz / SLICES_PER_SECOND;
    return in->slice_end;
}

// V as it would be if the guest had run at full speed since the first stop.
static uint64_t real_v(struct inputs *in, uint64_t v) {
    uint64_t now = host_ns();
    if (!in->started) {
        in->started = true;
        in->real_base = now;
        in->v_base = v;
    }
    return in->v_base + (uint64_t)((unsigned __int128)(now - in->real_base) * in->hz / NS_PER_SECOND);
}

uint64_t inputs_anchor(struct inputs *in, const struct landmark *at, uint64_t anchor, uint64_t hz) {
    uint64_t v = anchor + at->count, real = real_v(in, v);
    return real > v + hz / LAG_PER_SECOND ? anchor + (real - v) : anchor;
}

unsigned inputs_choose_cpu(struct inputs *in, const struct landmark *at, unsigned now, uint64_t runnable) {
    for (unsigned i = 1; i < 64; i++) {
        unsigned next = (now + i) % 64;
        if (runnable >> next & 1)
            return next;
    }
    return now;
}

uint64_t inputs_idle(struct inputs *in, const struct landmark *at, uint64_t anchor, uint64_t deadline,
                     uint64_t hz, int *err) {
    struct pollfd fds[MAX_SOURCES];
    struct input_source *who[MAX_SOURCES];
    unsigned n = descriptors(in, fds, who);
    uint64_t v = anchor + at->count, real = real_v(in, v);
    uint64_t ticks = deadline > real ? deadline - real : 0;
    struct timespec wait = {.tv_sec = ticks / hz, .tv_nsec = ticks % hz * NS_PER_SECOND / hz};
    if (deadline != UINT64_MAX && !ticks)
        return anchor + (deadline > v ? deadline - v : 0);
    if (ppoll(fds, n, deadline == UINT64_MAX ? NULL : &wait, NULL) < 0 && in->left)
        *err = -EINTR;
    real = real_v(in, v);
    uint64_t reached = real < deadline ? real : deadline;
    return reached > v ? anchor + (reached - v) : anchor;
}

struct inputs *inputs_pass_through(uint64_t hz) {
    struct inputs *in = calloc(1, sizeof(*in));
    if (in)
        in->hz = hz;
    return in;
}

void inputs_free(struct inputs *in) {
    free(in);
}
