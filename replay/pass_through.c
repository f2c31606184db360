// Inputs that are neither recorded nor replayed: straight from the world.
#include <errno.h>
#include "replay/live.h"

uint64_t live_next_stop(struct inputs *in, uint64_t count) {
    uint64_t end = slice_end(in, count);
    in->chaos.slice = end - count;
    return in->chaos.slice_end = end;
}

// By exits: 1 ms; more when time has just moved. Where exits are slow, a timer would otherwise expire anew at each of
// them, and the guest would do nothing but take its interrupts.
static uint64_t lag_by_exits(const struct inputs *in, const struct landmark *at) {
    return at->count - in->moved_at < 8 ? 20 * slice_ticks(in) : slice_ticks(in);
}

uint64_t live_anchor(struct inputs *in, const struct landmark *at, uint64_t anchor) {
    // The guest falls behind when the host gives it less than a whole processor. It is moved on in steps
    // of some size: each is an event, and a few in 10 ms are enough for a clock on the wall.
    anchor += chaos_jump(&in->chaos);
    uint64_t real = world_virtual_time(in), v = anchor + at->count;
    uint64_t lag = in->by_exits ? lag_by_exits(in, at) : in->hz / ANCHORS_PER_SECOND;
    if (real <= v + lag)
        return anchor;
    in->moved_at = at->count;
    return real / slice_ticks(in) * slice_ticks(in) -
           at->count; // whole milliseconds are short in a log
}

unsigned live_choose_cpu(struct inputs *in, const struct landmark *at, unsigned now,
                         uint64_t runnable) {
    if (in->chaos.adversarial)
        return chaos_choose_cpu(&in->chaos, at->count, now, runnable);
    // The next one in turn.
    for (unsigned i = 1; i <= 64; i++)
        if (runnable >> ((now + i) % 64) & 1)
            return (now + i) % 64;
    return now;
}

uint64_t live_idle(struct inputs *in, const struct landmark *at, uint64_t anchor, uint64_t deadline,
                   int *err) {
    *err = 0;
    if (!world_wait(in, deadline)) {
        *err = -EINTR;
        return anchor;
    }
    // A timer woke it: V is exactly its deadline. Input came first: V is now, but never past the deadline.
    uint64_t v = next_millisecond(in, world_virtual_time(in)), least = anchor + at->count;
    if (v >= deadline)
        v = deadline + chaos_oversleep(&in->chaos);
    return (v > least ? v : least) - at->count;
}

void live_collect(struct inputs *in, void (*fn)(struct inputs *in, struct input_source *s,
                                                const uint8_t *data, size_t n)) {
    if (!chaos_holds_inputs(&in->chaos))
        world_collect(in, fn);
}

static uint64_t wall_clock(struct inputs *in) {
    (void)in;
    return world_wall_clock();
}

static void random_bytes(struct inputs *in, void *buf, size_t n) {
    (void)in;
    world_random(buf, n);
}

static void hand_over(struct inputs *in, struct input_source *s, const uint8_t *data, size_t n) {
    (void)in;
    s->deliver(s->opaque, data, n);
}

static void deliver(struct inputs *in, const struct landmark *at) {
    (void)at;
    live_collect(in, hand_over);
}

const struct inputs_ops pass_through_ops = {
    .wall_clock = wall_clock,
    .random = random_bytes,
    .next_stop = live_next_stop,
    .anchor = live_anchor,
    .deliver = deliver,
    .choose_cpu = live_choose_cpu,
    .idle = live_idle,
};

struct inputs *inputs_pass_through(uint64_t hz) {
    struct inputs *in = inputs_new(&pass_through_ops, NULL, hz);
    if (in)
        world_start(in, 0);
    return in;
}
