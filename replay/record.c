// Inputs from the world, written down.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/live.h"
#include "replay/log_write.h"

#define FLUSH_TICKS(in) (2 * (in)->hz) // a chunk is at most some two seconds old
#define MEMORY_INTERVAL (1ull << 30)   // ticks between two sums of all memory

struct recorder {
    struct inputs in;
    struct log_writer *log;
    uint64_t next_flush, next_memory;
    uint64_t jitter; // state of the generator; 0: no jitter
    bool told;       // of a failed write
};

static struct recorder *recorder(struct inputs *in) {
    return (struct recorder *)in;
}

static void append(struct recorder *r, const struct log_record *record) {
    int err = log_append(r->log, record);
    if (err && !r->told) {
        char why[160];
        r->told = true;
        snprintf(
            why, sizeof(why),
            "the log cannot be written: %s; what was recorded until its last chunk can be replayed",
            strerror(-err));
        r->in.target.stop(r->in.target.opaque, true, why);
    }
}

// An event's record with the check of the state before the event.
static void append_event(struct recorder *r, enum log_kind kind, uint64_t v, uint64_t value,
                         const uint8_t *data, size_t n) {
    append(r,
           &(struct log_record){.kind = kind,
                                .v = v,
                                .value = value,
                                .data = data,
                                .size = n,
                                .check = (uint32_t)r->in.target.hash_state(r->in.target.opaque)});
}

static void append_result(struct recorder *r, const void *data, size_t n) {
    append(r, &(struct log_record){.kind = LOG_RESULT, .data = data, .size = n});
}

static uint64_t wall_clock(struct inputs *in) {
    uint64_t seconds = world_wall_clock();
    append_result(recorder(in), &seconds, sizeof(seconds));
    return seconds;
}

static void random_bytes(struct inputs *in, void *buf, size_t n) {
    world_random(buf, n);
    append_result(recorder(in), buf, n);
}

// xorshift64: the jitter only has to be different for different seeds.
static uint64_t jitter(struct recorder *r) {
    r->jitter ^= r->jitter << 13;
    r->jitter ^= r->jitter >> 7;
    r->jitter ^= r->jitter << 17;
    return r->jitter;
}

static uint64_t anchor(struct inputs *in, const struct landmark *at, uint64_t now) {
    struct recorder *r = recorder(in);
    uint64_t to = live_anchor(in, at, now);
    if (r->jitter && jitter(r) % 64 == 0) // once in a while, up to 1/2 ms: other timing, same guest
        to += jitter(r) % (in->hz / 2000 + 1);
    if (to != now)
        append_event(r, LOG_ANCHOR, landmark_v(in, at), to - now, NULL, 0);
    return to;
}

static const struct landmark *delivering; // for the callback of world_collect()

static void deliver_one(struct inputs *in, struct input_source *s, const uint8_t *data, size_t n) {
    append_event(recorder(in), LOG_INPUT, landmark_v(in, delivering), s->id, data, n);
    s->deliver(s->opaque, data, n);
}

static void append_memory(struct recorder *r, uint64_t v) {
    append(r, &(struct log_record){.kind = LOG_MEMORY,
                                   .v = v,
                                   .memory_hash = r->in.target.hash_memory(r->in.target.opaque),
                                   .state_hash = r->in.target.hash_state(r->in.target.opaque)});
}

static void deliver(struct inputs *in, const struct landmark *at) {
    struct recorder *r = recorder(in);
    delivering = at;
    world_collect(in, deliver_one);
    if (at->count >= r->next_memory) {
        append_memory(r, landmark_v(in, at));
        r->next_memory = at->count + MEMORY_INTERVAL;
    }
    if (at->count >= r->next_flush) {
        log_flush(r->log);
        r->next_flush = at->count + FLUSH_TICKS(in);
    }
}

static unsigned choose_cpu(struct inputs *in, const struct landmark *at, unsigned now,
                           uint64_t runnable) {
    struct recorder *r = recorder(in);
    unsigned next = r->jitter && jitter(r) % 4 == 0 && runnable >> now & 1
                        ? now
                        : live_choose_cpu(in, at, now, runnable);
    if (next != now)
        append_event(r, LOG_SWITCH, landmark_v(in, at), next, NULL, 0);
    return next;
}

static uint64_t idle(struct inputs *in, const struct landmark *at, uint64_t now, uint64_t deadline,
                     int *err) {
    uint64_t from = landmark_v(in, at), to = live_idle(in, at, now, deadline, err);
    if (deadline != UINT64_MAX && to + at->count == deadline)
        return to; // as it would be without any input
    append_event(recorder(in), LOG_WAKE, from, to - now, NULL, 0);
    return to;
}

static int finish(struct inputs *in, const struct landmark *at, const char *how) {
    struct recorder *r = recorder(in);
    append(r, &(struct log_record){.kind = LOG_END,
                                   .v = landmark_v(in, at),
                                   .data = (const uint8_t *)how,
                                   .size = strlen(how),
                                   .memory_hash = in->target.hash_memory(in->target.opaque),
                                   .state_hash = in->target.hash_state(in->target.opaque)});
    int err = log_close(r->log);
    r->log = NULL;
    if (err)
        fprintf(stderr, "vmx: the end of the log could not be written: %s\n", strerror(-err));
    return err;
}

static void free_recorder(struct inputs *in) {
    struct recorder *r = recorder(in);
    if (r->log)
        log_close(r->log);
    free(r);
}

struct inputs *inputs_record(const char *path, const char *description, uint64_t hz, uint64_t seed,
                             char error[256]) {
    static const struct inputs_ops ops = {
        .wall_clock = wall_clock,
        .random = random_bytes,
        .next_stop = live_next_stop,
        .anchor = anchor,
        .deliver = deliver,
        .choose_cpu = choose_cpu,
        .idle = idle,
        .finish = finish,
        .free = free_recorder,
    };
    struct recorder *r = calloc(1, sizeof(*r));
    if (!r) {
        snprintf(error, 256, "out of memory for recording");
        return NULL;
    }
    r->in.ops = &ops;
    r->in.hz = hz;
    r->jitter = seed;
    r->next_memory = MEMORY_INTERVAL;
    r->next_flush = FLUSH_TICKS(&r->in);
    r->log = log_create(path, description, hz, seed, error);
    if (!r->log) {
        free(r);
        return NULL;
    }
    world_start(&r->in);
    return &r->in;
}
