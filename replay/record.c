// Inputs from the world, written down.
#include "replay/recorder.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/log_write.h"

#define FLUSH_TICKS(in) (3 * (in)->hz) // a chunk is at most some three seconds old
#define CHECK_INTERVAL  (1ull << 24)   // ticks between two checks where no event comes

struct recorder {
    struct log_writer *log;
    struct log_settings settings;
    uint64_t next_sums, next_check; // counts
    uint64_t next_flush;            // V
    struct memory_sum *known;       // of memory, as the log has them
    size_t known_count;
    bool told; // of a failed write
    uint8_t sums[LOG_SUMS_MAX * LOG_SUM_MAX];
};

static struct recorder *recorder(const struct inputs *in) {
    return in->own;
}

// ---- records -----------------------------------------------------------------------------------------
static void append(struct inputs *in, const struct log_record *record) {
    struct recorder *r = recorder(in);
    int err = log_append(r->log, record);
    in->figures.events += log_is_event(record->kind);
    in->figures.results += record->kind == LOG_RESULT;
    in->figures.checks += record->kind != LOG_RESULT;
    in->figures.hash_bytes += log_hash_bytes(record);
    if (record->kind != LOG_RESULT) // the state is in it
        r->next_check = record->v - in->anchor_now + r->settings.check_interval;
    if (err && !r->told) {
        char why[160];
        r->told = true;
        snprintf(
            why, sizeof(why),
            "the log cannot be written: %s; what was recorded until its last chunk can be replayed",
            strerror(-err));
        in->target.stop(in->target.opaque, true, why);
    }
}

// With the check of the state before the event.
static void append_event(struct inputs *in, enum log_kind kind, uint64_t v, uint64_t value,
                         const void *data, size_t n) {
    struct log_record record = {.kind = kind, .v = v, .value = value, .data = data, .size = n};
    in->target.check(in->target.opaque, &record.check);
    append(in, &record);
}

static void append_result(struct inputs *in, const void *data, size_t n) {
    append(in, &(struct log_record){.kind = LOG_RESULT, .data = data, .size = n});
}

// ---- sums of memory ------------------------------------------------------------------------------------
static bool know(struct recorder *r, size_t count) {
    if (count <= r->known_count)
        return true;
    struct memory_sum *known = realloc(r->known, count * sizeof(*known));
    if (!known)
        return false;
    memset(known + r->known_count, 0, (count - r->known_count) * sizeof(*known));
    r->known = known;
    r->known_count = count;
    return true;
}

// The sums that changed since the record before, as many as one record takes, from *unit on.
static struct log_record changed_sums(struct recorder *r, const struct memory_sum *now,
                                      size_t count, size_t *unit) {
    struct log_record record = {.kind = LOG_MEMORY, .data = r->sums};
    uint64_t last = 0;
    for (; *unit < count; ++*unit) {
        if (memory_sum_equal(&r->known[*unit], &now[*unit]))
            continue;
        if (record.sum_count == LOG_SUMS_MAX) {
            record.value = 1;
            break;
        }
        r->known[*unit] = now[*unit];
        record.size += log_sum_put(r->sums + record.size, &last, *unit, &now[*unit]);
        record.sum_count++;
    }
    return record;
}

static void append_sums(struct inputs *in, uint64_t v) {
    struct recorder *r = recorder(in);
    size_t count, unit = 0;
    const struct memory_sum *now = in->target.sums(in->target.opaque, &count);
    if (!know(r, count)) {
        in->target.stop(in->target.opaque, true, "out of memory for the sums of memory");
        return;
    }
    struct log_record record;
    do {
        record = changed_sums(r, now, count, &unit);
        record.v = v;
        in->target.check(in->target.opaque, &record.check);
        append(in, &record);
    } while (record.value);
}

int recorder_copy(struct recorder *r, const struct log_record *record) {
    struct log_sums s = log_sums_of(record);
    struct memory_sum sum;
    uint64_t unit;
    while (log_sum_next(&s, &unit, &sum)) {
        if (!know(r, unit + 1))
            return -ENOMEM;
        r->known[unit] = sum;
    }
    return log_append(r->log, record);
}

// ---- results -------------------------------------------------------------------------------------------
static uint64_t wall_clock(struct inputs *in) {
    uint64_t seconds = world_wall_clock();
    append_result(in, &seconds, sizeof(seconds));
    return seconds;
}

static void random_bytes(struct inputs *in, void *buf, size_t n) {
    world_random(buf, n);
    append_result(in, buf, n);
}

// ---- events --------------------------------------------------------------------------------------------
static uint64_t anchor(struct inputs *in, const struct landmark *at, uint64_t now) {
    uint64_t to = live_anchor(in, at, now);
    if (to != now)
        append_event(in, LOG_ANCHOR, landmark_v(in, at), to - now, NULL, 0);
    return to;
}

static const struct landmark *delivering; // for the callback of world_collect()

static void deliver_one(struct inputs *in, struct input_source *s, const uint8_t *data, size_t n) {
    append_event(in, LOG_INPUT, landmark_v(in, delivering), s->id, data, n);
    s->deliver(s->opaque, data, n);
}

static void deliver(struct inputs *in, const struct landmark *at) {
    struct recorder *r = recorder(in);
    delivering = at;
    live_collect(in, deliver_one);
    if (at->count >= r->next_sums) {
        append_sums(in, landmark_v(in, at));
        r->next_sums = at->count + r->settings.sum_interval;
    }
    if (at->count >= r->next_check)
        append_event(in, LOG_CHECK, landmark_v(in, at), 0, NULL, 0);
    if (landmark_v(in, at) >= r->next_flush) {
        log_sync(r->log);
        r->next_flush = landmark_v(in, at) + FLUSH_TICKS(in);
    }
}

static unsigned choose_cpu(struct inputs *in, const struct landmark *at, unsigned now,
                           uint64_t runnable) {
    unsigned next = live_choose_cpu(in, at, now, runnable);
    if (next != now)
        append_event(in, LOG_SWITCH, landmark_v(in, at), next, NULL, 0);
    return next;
}

static uint64_t idle(struct inputs *in, const struct landmark *at, uint64_t now, uint64_t deadline,
                     int *err) {
    uint64_t from = landmark_v(in, at), to = live_idle(in, at, now, deadline, err);
    if (deadline != UINT64_MAX && to + at->count == deadline)
        return to; // as it would be without any input
    append_event(in, LOG_WAKE, from, to - now, NULL, 0);
    return to;
}

static int finish(struct inputs *in, const struct landmark *at, const char *how) {
    struct recorder *r = recorder(in);
    if (how) {
        append_sums(in, landmark_v(in, at));
        append_event(in, LOG_END, landmark_v(in, at), 0, how, strlen(how));
    }
    log_flush(r->log); // an error shows when it is closed
    in->figures.log_bytes = log_writer_size(r->log);
    int err = log_close(r->log);
    r->log = NULL;
    if (err)
        fprintf(stderr, "vmx: the end of the log could not be written: %s\n", strerror(-err));
    return err;
}

// ---- life ----------------------------------------------------------------------------------------------
static uint64_t next_record(const struct inputs *in) {
    return recorder(in)->log ? log_writer_records(recorder(in)->log) : 0;
}

static uint32_t sum_unit(const struct inputs *in) {
    return recorder(in)->settings.sum_unit;
}

static void free_own(struct inputs *in) {
    recorder_free(recorder(in));
}

const struct inputs_ops record_ops = {
    .wall_clock = wall_clock,
    .random = random_bytes,
    .next_stop = live_next_stop,
    .anchor = anchor,
    .deliver = deliver,
    .choose_cpu = choose_cpu,
    .idle = idle,
    .finish = finish,
    .free = free_own,
    .event = next_record,
    .sum_unit = sum_unit,
};

void recorder_free(struct recorder *r) {
    if (r->log)
        log_close(r->log);
    free(r->known);
    free(r);
}

struct recorder *recorder_new(const char *path, const char *description,
                              const struct log_settings *settings, char error[256]) {
    struct recorder *r = calloc(1, sizeof(*r));
    if (!r) {
        snprintf(error, 256, "out of memory for recording");
        return NULL;
    }
    r->settings = *settings;
    r->log = log_create(path, description, settings, error);
    if (r->log)
        return r;
    free(r);
    return NULL;
}

void recorder_start(struct inputs *in, const struct landmark *at) {
    struct recorder *r = recorder(in);
    chaos_start(&in->chaos, r->settings.seed, r->settings.chaos);
    r->next_sums = at->count + r->settings.sum_interval;
    r->next_check = at->count + r->settings.check_interval;
    r->next_flush = landmark_v(in, at) + FLUSH_TICKS(in);
    world_start(in, landmark_v(in, at));
    // Where a replay was left is an exit of the guest: the next replay has it, too. An event there does as well.
    if (log_writer_records(r->log) && log_writer_v(r->log) != landmark_v(in, at))
        append_event(in, LOG_ANCHOR, landmark_v(in, at), 0, NULL, 0);
}

struct inputs *inputs_record(const char *path, const char *description, uint64_t hz,
                             const struct record_options *options, char error[256]) {
    const struct log_settings settings = {
        .hz = hz,
        .seed = options->seed,
        .chaos = options->chaos,
        .sum_interval = options->sum_interval ? options->sum_interval : RECORD_SUM_INTERVAL,
        .check_interval = CHECK_INTERVAL,
        .sum_unit = options->sum_unit ? options->sum_unit : MEMORY_REGION,
    };
    struct recorder *r = recorder_new(path, description, &settings, error);
    struct inputs *in = r ? inputs_new(&record_ops, r, hz) : NULL;
    if (in)
        recorder_start(in, &(struct landmark){0});
    else if (r)
        recorder_free(r);
    return in;
}
