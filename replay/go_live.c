// Looking at the log of a replay besides following it, and leaving it.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "replay/log_text.h"
#include "replay/recorder.h"
#include "replay/replayer.h"

static const struct replayer *replaying(const struct inputs *in) {
    return in->ops == &replay_ops ? in->own : NULL;
}

// Calls fn for each sound record from the first on, until it returns false.
static void each_record(const struct inputs *in,
                        bool (*fn)(void *opaque, const struct log_record *r), void *opaque) {
    const struct replayer *r = replaying(in);
    char error[256];
    struct log_reader *log = r ? log_open(r->path, error) : NULL;
    struct log_record record;
    while (log && log_next(log, &record) > 0 && fn(opaque, &record))
        ;
    log_reader_free(log);
}

// ---- looking -------------------------------------------------------------------------------------------
static bool count_record(void *opaque, const struct log_record *r) {
    *(uint64_t *)opaque = r->number + 1;
    return true;
}

uint64_t inputs_events(const struct inputs *in) {
    uint64_t count = 0;
    each_record(in, count_record, &count);
    return count;
}

struct search {
    uint64_t event, v;
};

static bool find_v(void *opaque, const struct log_record *r) {
    struct search *s = opaque;
    if (r->number == s->event)
        s->v = r->v;
    return r->number < s->event;
}

uint64_t inputs_event_v(const struct inputs *in, uint64_t event) {
    struct search s = {event, UINT64_MAX};
    each_record(in, find_v, &s);
    return s.v;
}

struct lines {
    uint64_t first, last;
    char *buf;
    size_t left;
};

static bool add_line(void *opaque, const struct log_record *r) {
    struct lines *l = opaque;
    if (r->number < l->first)
        return true;
    char text[256];
    size_t n = log_record_text(r, text, sizeof(text) - 1);
    text[n++] = '\n';
    if (r->number > l->last || n >= l->left)
        return false;
    memcpy(l->buf, text, n);
    l->buf += n;
    l->left -= n;
    return true;
}

void inputs_describe(const struct inputs *in, uint64_t first, uint64_t last, char *buf, size_t n) {
    struct lines l = {first, last, buf, n};
    each_record(in, add_line, &l);
    *l.buf = 0;
}

bool inputs_replaying(const struct inputs *in) {
    return replaying(in) != NULL;
}

uint64_t inputs_accessed_only(const struct inputs *in) {
    const struct replayer *r = replaying(in);
    return r ? r->accessed_only : 0;
}

// ---- leaving -------------------------------------------------------------------------------------------
struct prefix {
    struct recorder *to;
    uint64_t events, results; // records before this one, and so many answers
    int err;
};

static bool copy_record(void *opaque, const struct log_record *r) {
    struct prefix *p = opaque;
    if (r->kind == LOG_RESULT) {
        if (!p->results)
            return true; // asked for later
        p->results--;
    } else if (r->number >= p->events) {
        return p->results > 0; // not reached, but an answer behind it was
    }
    p->err = recorder_copy(p->to, r);
    return !p->err;
}

// A log that has everything that was replayed so far. NULL with a sentence.
static struct recorder *continued(struct inputs *in, const char *path, char error[256]) {
    const struct replayer *r = replaying(in);
    if (log_is_at(r->log, path)) {
        snprintf(error, 256, "%s is being replayed: the new log must be another file", path);
        return NULL;
    }
    struct recorder *to = recorder_new(path, log_description(r->log), &log_header(r->log)->settings,
                                       error);
    if (!to)
        return NULL;
    struct prefix p = {to, r->has_event ? r->event.number : UINT64_MAX, r->results_taken, 0};
    each_record(in, copy_record, &p);
    if (!p.err)
        return to;
    snprintf(error, 256, "%s: %s", path, strerror(-p.err));
    recorder_free(to);
    return NULL;
}

int inputs_go_live(struct inputs *in, const char *record, const struct landmark *at,
                   char error[256]) {
    const struct replayer *r = replaying(in);
    if (!r || r->over) {
        snprintf(error, 256, r ? "the replay is over" : "this is no replay");
        return -EINVAL;
    }
    struct recorder *to = record ? continued(in, record, error) : NULL;
    if (record && !to)
        return -EINVAL;
    in->ops->free(in);
    in->own = to;
    in->ops = to ? &record_ops : &pass_through_ops;
    if (to)
        recorder_start(in, at);
    else
        world_start(in, landmark_v(in, at));
    return 0;
}
