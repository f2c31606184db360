// What the implementations of inputs.h share. Private to replay/.
#pragma once
#include "replay/chaos.h"
#include "replay/inputs.h"

struct inputs_ops {
    uint64_t (*wall_clock)(struct inputs *in);
    void (*random)(struct inputs *in, void *buf, size_t n);
    uint64_t (*next_stop)(struct inputs *in, uint64_t count);
    uint64_t (*anchor)(struct inputs *in, const struct landmark *at, uint64_t anchor);
    void (*deliver)(struct inputs *in, const struct landmark *at);
    unsigned (*choose_cpu)(struct inputs *in, const struct landmark *at, unsigned now,
                           uint64_t runnable);
    uint64_t (*idle)(struct inputs *in, const struct landmark *at, uint64_t anchor,
                     uint64_t deadline, int *err);
    int (*finish)(struct inputs *in, const struct landmark *at, const char *how);
    void (*free)(struct inputs *in); // in->own
    uint64_t (*event)(const struct inputs *in);
    uint32_t (*sum_unit)(const struct inputs *in);
};

struct inputs {
    const struct inputs_ops *ops;
    void *own; // the implementation's
    struct inputs_target target;
    struct inputs_figures figures;
    struct input_source *sources; // in order of registration
    unsigned source_count;
    uint64_t hz, anchor_now; // anchor as of the last question, so that V of a landmark is known
    volatile bool left;      // the user wants to leave; set in a signal handler, too
    uint64_t start_ns;       // host's monotonic clock when V was 0 (world.c)
    uint64_t held_ns;        // the same when a debugger took hold of the VM
    struct chaos chaos;
    bool by_exits;     // counts are of exits
    uint64_t moved_at; // count at which time last followed the world's
};

// With an implementation; NULL: out of memory.
struct inputs *inputs_new(const struct inputs_ops *ops, void *own, uint64_t hz);

// ---- The world (world.c): the only file that asks it ---------------------------------------------
// From now on V passes with the host's time; it is `v` now.
void world_start(struct inputs *in, uint64_t v);
uint64_t world_wall_clock(void);
void world_random(void *buf, size_t n);
// V that belongs to this moment of the host's monotonic clock.
uint64_t world_virtual_time(const struct inputs *in);
// Waits until V `deadline` in the host's time or until a source has input; false: a signal came.
bool world_wait(struct inputs *in, uint64_t deadline);
// Takes what has arrived: calls fn for each source that has input and room, with at most INPUT_MAX bytes.
void world_collect(struct inputs *in, void (*fn)(struct inputs *in, struct input_source *s,
                                                 const uint8_t *data, size_t n));

// Slices end at multiples of this many ticks (1 ms), or where chaos wants it, so that they are a function of the
// count in any case.
static inline uint64_t slice_ticks(const struct inputs *in) {
    return in->hz / 1000 ? in->hz / 1000 : 1;
}
static inline uint64_t next_millisecond(const struct inputs *in, uint64_t ticks) {
    return (ticks / slice_ticks(in) + 1) * slice_ticks(in);
}
static inline uint64_t slice_end(const struct inputs *in, uint64_t count) {
    if (in->chaos.adversarial)
        return chaos_slice_end(in->chaos.seed, slice_ticks(in), count);
    return next_millisecond(in, count);
}
static inline uint64_t landmark_v(const struct inputs *in, const struct landmark *at) {
    return in->anchor_now + at->count;
}
struct input_source *inputs_source(struct inputs *in, unsigned id);
