// Inputs from a log: what happened then happens again, at the same landmarks, and every check is compared.
#include "replay/replayer.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct replayer *replayer(const struct inputs *in) {
    return in->own;
}

static void stop(struct inputs *in, bool failed, const char *reason) {
    struct replayer *r = replayer(in);
    r->failed |= failed;
    if (!r->over && in->target.stop)
        in->target.stop(in->target.opaque, failed, reason);
    r->over = true;
}

void replay_next_event(struct inputs *in) {
    struct replayer *r = replayer(in);
    int got;
    do
        got = log_next(r->log, &r->event);
    while (got > 0 && r->event.kind == LOG_RESULT);
    r->has_event = got > 0;
    if (got < 0)
        stop(in, true, log_error(r->log));
}

void replay_differs(struct inputs *in, const struct landmark *at, const char *what) {
    struct replayer *r = replayer(in);
    char why[512];
    snprintf(why, sizeof(why),
             "the replay differs from the recording at event %llu (%s), count %llu, V %llu, "
             "vCPU %u, rip 0x%llx: %s (chunk %u of the log, at 0x%llx)",
             (unsigned long long)r->event.number, log_kind_name(r->event.kind),
             (unsigned long long)at->count, (unsigned long long)landmark_v(in, at), at->cpu,
             (unsigned long long)at->rip, what, log_chunk_number(r->log),
             (unsigned long long)log_chunk_offset(r->log));
    stop(in, true, why);
}

// The event of that kind that is due at this landmark; false: none.
static bool due(struct inputs *in, const struct landmark *at, enum log_kind kind) {
    struct replayer *r = replayer(in);
    if (!r->has_event || r->over)
        return false;
    uint64_t v = landmark_v(in, at);
    if (r->event.v < v) {
        replay_differs(in, at, "the guest passed the place of this event without a stop there");
        return false;
    }
    if (r->event.v != v || r->event.kind != kind)
        return false;
    if (kind == LOG_ANCHOR && !r->event.value) // only a stop, made when more had happened at this V
        return true;
    struct state_check here = {0};
    in->target.check(in->target.opaque, &here);
    if (state_check_equal(&here, &r->event.check)) {
        in->figures.events += log_is_event(kind);
        in->figures.checks++;
        in->figures.hash_bytes += r->event.hash_bytes;
        return true;
    }
    char what[256];
    in->target.name_state(in->target.opaque, &r->event.check, what, sizeof(what));
    replay_differs(in, at, what);
    return false;
}

// ---- results -------------------------------------------------------------------------------------------
static void result(struct inputs *in, void *buf, size_t n) {
    struct replayer *r = replayer(in);
    struct log_record record;
    int got;
    do
        got = log_next(r->results, &record);
    while (got > 0 && record.kind != LOG_RESULT);
    r->results_taken++;
    in->figures.results++;
    if (got > 0 && record.size == n) {
        memcpy(buf, record.data, n);
        return;
    }
    memset(buf, 0, n);
    stop(
        in, true,
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

// ---- events --------------------------------------------------------------------------------------------
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
    while (due(in, at, LOG_ANCHOR)) {
        now += r->event.value;
        bool moved = r->event.value;
        replay_next_event(in);
        if (moved)
            break;
    }
    return now;
}

static void end_here(struct inputs *in) {
    stop(in, false, "the recording ends here");
}

static void deliver(struct inputs *in, const struct landmark *at) {
    struct replayer *r = replayer(in);
    while (due(in, at, LOG_INPUT)) {
        struct input_source *s = r->event.value < in->source_count
                                     ? inputs_source(in, (unsigned)r->event.value)
                                     : NULL;
        size_t room = s && s->room ? s->room(s->opaque) : INPUT_MAX;
        if (!s || r->event.size > (room < INPUT_MAX ? room : INPUT_MAX)) {
            replay_differs(in, at,
                           s ? "more input than the device has room for"
                             : "input for a source that this machine does not have");
            return;
        }
        s->deliver(s->opaque, r->event.data, r->event.size);
        replay_next_event(in);
    }
    while (due(in, at, LOG_MEMORY))
        replay_compare_sums(in, at);
    if (due(in, at, LOG_CHECK))
        replay_next_event(in);
    if (due(in, at, LOG_END) && ends_here(r))
        end_here(in);
}

static unsigned choose_cpu(struct inputs *in, const struct landmark *at, unsigned now,
                           uint64_t runnable) {
    struct replayer *r = replayer(in);
    if (!due(in, at, LOG_SWITCH))
        return now;
    unsigned next = (unsigned)r->event.value;
    if (next > 63 || !(runnable >> next & 1)) {
        replay_differs(in, at, "a switch to a processor that cannot run");
        return now;
    }
    replay_next_event(in);
    return next;
}

static uint64_t idle(struct inputs *in, const struct landmark *at, uint64_t now, uint64_t deadline,
                     int *err) {
    struct replayer *r = replayer(in);
    *err = 0;
    if (due(in, at, LOG_WAKE)) {
        now += r->event.value;
        replay_next_event(in);
        return now;
    }
    if (due(in, at, LOG_MEMORY))
        replay_compare_sums(in, at);
    if (due(in, at, LOG_END) && ends_here(r))
        end_here(in);
    else if (deadline == UINT64_MAX && !r->over)
        replay_differs(in, at, "the guest waits for an event that the log does not have");
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
    while (due(in, at, LOG_MEMORY))
        replay_compare_sums(in, at);
    if (!due(in, at, LOG_END) || r->event.size != strlen(how) ||
        memcmp(r->event.data, how, r->event.size))
        replay_differs(in, at, "the run ends otherwise, or elsewhere, than the recording");
    return r->failed ? -EINVAL : 0;
}

// ---- life ----------------------------------------------------------------------------------------------
static uint64_t next_record(const struct inputs *in) {
    return replayer(in)->event.number;
}

static uint32_t sum_unit(const struct inputs *in) {
    return log_header(replayer(in)->log)->settings.sum_unit;
}

static void free_own(struct inputs *in) {
    struct replayer *r = replayer(in);
    log_reader_free(r->log);
    log_reader_free(r->results);
    free(r->recorded);
    free(r->path);
    free(r);
}

const struct inputs_ops replay_ops = {
    .wall_clock = wall_clock,
    .random = result,
    .next_stop = next_stop,
    .anchor = anchor,
    .deliver = deliver,
    .choose_cpu = choose_cpu,
    .idle = idle,
    .finish = finish,
    .free = free_own,
    .event = next_record,
    .sum_unit = sum_unit,
};

int inputs_replay_hz(const char *path, uint64_t *hz, char error[256]) {
    struct log_reader *log = log_open(path, error);
    if (!log)
        return -EINVAL;
    *hz = log_header(log)->settings.hz;
    log_reader_free(log);
    return 0;
}

// 0, or -EINVAL with a sentence.
static int begin(struct inputs *in, const char *path, const char *description, char error[256]) {
    struct replayer *r = replayer(in);
    r->path = strdup(path);
    if (!(r->log = log_open(path, error)) || !(r->results = log_open(path, error)))
        return -EINVAL;
    if (log_header(r->log)->settings.hz != in->hz) {
        snprintf(error, 256, "the recorded machine's time has another frequency");
        return -EINVAL;
    }
    if (!description_matches(log_description(r->log), description, error))
        return -EINVAL;
    const struct log_settings *s = &log_header(r->log)->settings;
    chaos_start(&in->chaos, s->seed, s->chaos);
    in->figures.log_bytes = log_size(r->log);
    replay_next_event(in);
    if (r->failed) // not even the first chunk is sound
        snprintf(error, 256, "%s", log_error(r->log));
    return r->failed ? -EINVAL : 0;
}

struct inputs *inputs_replay(const char *path, const char *description, uint64_t hz,
                             char error[256]) {
    struct replayer *r = calloc(1, sizeof(*r));
    struct inputs *in = r ? inputs_new(&replay_ops, r, hz) : NULL;
    if (!in) {
        snprintf(error, 256, "out of memory for replaying");
        free(r);
        return NULL;
    }
    if (begin(in, path, description, error) == 0)
        return in;
    inputs_free(in);
    return NULL;
}
