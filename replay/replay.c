// Inputs from a log: what happened then happens again, at the same landmarks, and every check is compared.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/inputs_ops.h"
#include "replay/log_read.h"

struct replayer {
    struct inputs in;
    uint8_t *file;
    struct log_reader *log;
    // The next record with a landmark, and the next result: two readers of the same file, since results
    // stand between the events in the order of their asking.
    struct log_reader *results;
    struct log_record event;
    bool has_event;
    bool failed;
    bool over; // the end was reached or a difference found: the run is being stopped
};

static struct replayer *replayer(struct inputs *in) {
    return (struct replayer *)in;
}

static void stop(struct replayer *r, bool failed, const char *reason) {
    r->failed |= failed;
    if (!r->over && r->in.target.stop)
        r->in.target.stop(r->in.target.opaque, failed, reason);
    r->over = true;
}

static void next_event(struct replayer *r) {
    int got;
    do
        got = log_next(r->log, &r->event);
    while (got > 0 && r->event.kind == LOG_RESULT);
    r->has_event = got > 0;
    if (got < 0)
        stop(r, true, log_error(r->log));
}

static void differs(struct replayer *r, const struct landmark *at, const char *what) {
    char why[256];
    snprintf(
        why, sizeof(why),
        "the replay differs from the recording at record %llu, count %llu, rip 0x%llx: %s (chunk %u of the log, at 0x%llx)",
        (unsigned long long)r->event.number, (unsigned long long)at->count,
        (unsigned long long)at->rip, what, log_chunk_number(r->log),
        (unsigned long long)log_chunk_offset(r->log));
    stop(r, true, why);
}

// The event of that kind that is due at this landmark; false: none.
static bool due(struct replayer *r, const struct landmark *at, enum log_kind kind) {
    if (!r->has_event || r->over)
        return false;
    uint64_t v = landmark_v(&r->in, at);
    if (r->event.v < v) {
        differs(r, at, "an event was not asked for when it was due");
        return false;
    }
    if (r->event.v != v || r->event.kind != kind)
        return false;
    if (kind < LOG_MEMORY &&
        (uint32_t)r->in.target.hash_state(r->in.target.opaque) != r->event.check) {
        differs(r, at, "registers or devices");
        return false;
    }
    return true;
}

static void result(struct inputs *in, void *buf, size_t n) {
    struct replayer *r = replayer(in);
    struct log_record record;
    int got;
    do
        got = log_next(r->results, &record);
    while (got > 0 && record.kind != LOG_RESULT);
    if (got > 0 && record.size == n) {
        memcpy(buf, record.data, n);
        return;
    }
    memset(buf, 0, n);
    stop(
        r, true,
        got > 0 ? "the replay differs from the recording: an answer of another size was asked for"
        : got < 0
            ? log_error(r->results)
            : "the replay differs from the recording: it asks for an answer that the log does not have");
}

static uint64_t wall_clock(struct inputs *in) {
    uint64_t seconds;
    result(in, &seconds, sizeof(seconds));
    return seconds;
}

// The recording ended because somebody left, not by something the guest did: nothing else ends the replay.
static bool ends_here(const struct replayer *r) {
    static const char *const words[] = {"left", "failed", "running"};
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (r->event.size == strlen(words[i]) && !memcmp(r->event.data, words[i], r->event.size))
            return true;
    return false;
}

static uint64_t next_stop(struct inputs *in, uint64_t count) {
    struct replayer *r = replayer(in);
    uint64_t end = slice_end(in, count);
    if (r->has_event && r->event.kind == LOG_END && !ends_here(r))
        return end; // the guest ends it at an instruction of its own
    if (!r->has_event || r->event.v <= in->anchor_now + count)
        return end;
    // Until the event at the latest, if no idle time comes before it.
    uint64_t at = r->event.v - in->anchor_now;
    return at < end ? at : end;
}

static uint64_t anchor(struct inputs *in, const struct landmark *at, uint64_t now) {
    struct replayer *r = replayer(in);
    if (!due(r, at, LOG_ANCHOR))
        return now;
    now += r->event.value;
    next_event(r);
    return now;
}

static void compare_memory(struct replayer *r, const struct landmark *at) {
    if (r->in.target.hash_memory(r->in.target.opaque) != r->event.memory_hash)
        differs(r, at, "guest memory");
    else if (r->in.target.hash_state(r->in.target.opaque) != r->event.state_hash)
        differs(r, at, "registers or devices");
}

static void deliver(struct inputs *in, const struct landmark *at) {
    struct replayer *r = replayer(in);
    while (due(r, at, LOG_INPUT)) {
        struct input_source *s = inputs_source(in, (unsigned)r->event.value);
        if (!s) {
            differs(r, at, "input for a source that this machine does not have");
            return;
        }
        s->deliver(s->opaque, r->event.data, r->event.size);
        next_event(r);
    }
    if (due(r, at, LOG_MEMORY)) {
        compare_memory(r, at);
        next_event(r);
    }
    if (due(r, at, LOG_END) && ends_here(r)) {
        compare_memory(r, at);
        stop(r, false, "the recording ends here");
    }
}

static unsigned choose_cpu(struct inputs *in, const struct landmark *at, unsigned now,
                           uint64_t runnable) {
    struct replayer *r = replayer(in);
    if (!due(r, at, LOG_SWITCH))
        return now;
    unsigned next = (unsigned)r->event.value;
    if (next > 63 || !(runnable >> next & 1)) {
        differs(r, at, "a switch to a processor that cannot run");
        return now;
    }
    next_event(r);
    return next;
}

static uint64_t idle(struct inputs *in, const struct landmark *at, uint64_t now, uint64_t deadline,
                     int *err) {
    struct replayer *r = replayer(in);
    *err = 0;
    if (due(r, at, LOG_WAKE)) {
        now += r->event.value;
        next_event(r);
        return now;
    }
    if (due(r, at, LOG_END) && ends_here(r)) {
        compare_memory(r, at);
        stop(r, false, "the recording ends here");
    } else if (deadline == UINT64_MAX && !r->over) {
        differs(r, at, "the guest waits for an event that the log does not have");
    }
    if (r->over) {
        *err = -EINTR;
        return now;
    }
    return deadline - at->count;
}

static int finish(struct inputs *in, const struct landmark *at, const char *how) {
    struct replayer *r = replayer(in);
    if (r->over)
        return r->failed ? -EINVAL : 0; // said already
    if (due(r, at, LOG_END)) {
        if (r->event.size != strlen(how) || memcmp(r->event.data, how, r->event.size))
            differs(r, at, "the end of the run");
        else
            compare_memory(r, at);
    } else {
        differs(r, at, "the run ends where the recording goes on");
    }
    return r->over ? -EINVAL : 0;
}

static void free_replayer(struct inputs *in) {
    struct replayer *r = replayer(in);
    log_reader_free(r->log);
    log_reader_free(r->results);
    free(r->file);
    free(r);
}

// The first line in which two descriptions differ.
static void explain_difference(const char *recorded, const char *here, char error[256]) {
    while (*recorded && *here) {
        size_t a = strcspn(recorded, "\n"), b = strcspn(here, "\n");
        if (a != b || memcmp(recorded, here, a)) {
            snprintf(error, 256,
                     "this machine differs from the recorded one: recorded \"%.*s\", here \"%.*s\"",
                     (int)(a < 100 ? a : 100), recorded, (int)(b < 100 ? b : 100), here);
            return;
        }
        recorded += a + (recorded[a] == '\n');
        here += b + (here[b] == '\n');
    }
    snprintf(error, 256,
             "this machine differs from the recorded one: one of the descriptions has more lines");
}

int inputs_replay_hz(const char *path, uint64_t *hz, char error[256]) {
    size_t size;
    uint8_t *file = log_read_file(path, &size, error);
    struct log_reader *log = file ? log_open(path, file, size, error) : NULL;
    if (log)
        *hz = log_header(log)->hz;
    log_reader_free(log);
    free(file);
    return log ? 0 : -EINVAL;
}

struct inputs *inputs_replay(const char *path, const char *description, uint64_t hz,
                             char error[256]) {
    static const struct inputs_ops ops = {
        .wall_clock = wall_clock,
        .random = result,
        .next_stop = next_stop,
        .anchor = anchor,
        .deliver = deliver,
        .choose_cpu = choose_cpu,
        .idle = idle,
        .finish = finish,
        .free = free_replayer,
    };
    struct replayer *r = calloc(1, sizeof(*r));
    size_t size;
    if (!r || !(r->file = log_read_file(path, &size, error))) {
        free(r);
        return NULL;
    }
    r->in.ops = &ops;
    r->in.hz = hz;
    r->log = log_open(path, r->file, size, error);
    r->results = r->log ? log_open(path, r->file, size, error) : NULL;
    if (!r->results || strcmp(log_description(r->log), description) != 0 ||
        log_header(r->log)->hz != hz) {
        if (r->results)
            explain_difference(log_description(r->log), description, error);
        free_replayer(&r->in);
        return NULL;
    }
    next_event(r);
    if (r->failed) { // not even the first chunk is sound
        snprintf(error, 256, "%s", log_error(r->log));
        free_replayer(&r->in);
        return NULL;
    }
    return &r->in;
}
