// The front of the timeline: cursor, breakpoints, ways forwards, explicit checkpoints.
#include "replay/timeline.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/timeline_internal.h"

#define NEAREST 10000 // ticks: to run them again costs less than the copy that is run

struct timeline *timeline_create(struct remote machine, const struct timeline_limits *limits) {
    struct timeline *t = calloc(1, sizeof(*t));
    unsigned room = limits->checkpoints ? limits->checkpoints : 1;
    if (t)
        t->checkpoints = calloc(room, sizeof(t->checkpoints[0]));
    if (!t || !t->checkpoints) {
        remote_close(&machine);
        free(t);
        return NULL;
    }
    t->limits.checkpoints = room;
    t->limits.nearest = limits->nearest ? limits->nearest : NEAREST;
    t->attention.fd = -1;
    t->cursor.machine = machine;
    remote_info(&t->cursor.machine, &t->info);
    remote_where(&t->cursor.machine, &t->cursor.at);
    t->seen_v = t->cursor.at.v;
    int error = t->cursor.machine.socket < 0       ? -EPIPE
                : t->info.kind == TARGET_REPLAYING ? checkpoint_take(t, &t->cursor, 0)
                                                   : 0;
    t->limits.reserve = limits->reserve; // only now: the begin is needed in any case
    if (error) {
        timeline_free(t);
        return NULL;
    }
    return t;
}

void timeline_free(struct timeline *t) {
    if (!t)
        return;
    checkpoints_free(t);
    remote_close(&t->cursor.machine);
    free(t->checkpoints);
    free(t);
}

void timeline_set_attention(struct timeline *t, const struct remote_attention *attention) {
    t->attention = attention ? *attention : (struct remote_attention){.fd = -1};
}

struct remote *timeline_machine(struct timeline *t) {
    return &t->cursor.machine;
}

const struct target_info *timeline_info(const struct timeline *t) {
    return &t->info;
}

const struct position *timeline_now(const struct timeline *t) {
    return &t->cursor.at;
}

void timeline_get_costs(const struct timeline *t, struct timeline_costs *costs) {
    *costs = t->costs;
}

// ---- breakpoints ----------------------------------------------------------------------------------------
static unsigned find(const struct timeline *t, const struct breakpoint *b) {
    unsigned i = 0;
    for (; i < t->breakpoint_count; i++) {
        const struct breakpoint *o = &t->breakpoints[i];
        bool same_length = b->kind < WATCH_WRITE || o->length == b->length;
        if (o->kind == b->kind && o->address == b->address && o->cr3 == b->cr3 && same_length)
            break;
    }
    return i;
}

int timeline_add_breakpoint(struct timeline *t, const struct breakpoint *b) {
    unsigned i = find(t, b);
    if (i < t->breakpoint_count)
        return 0;
    if (i == BREAKPOINTS_MAX)
        return -ENOSPC;
    t->breakpoints[t->breakpoint_count++] = *b;
    return 0;
}

int timeline_remove_breakpoint(struct timeline *t, const struct breakpoint *b) {
    unsigned i = find(t, b);
    if (i == t->breakpoint_count)
        return -ENOENT;
    t->breakpoint_count--;
    memmove(&t->breakpoints[i], &t->breakpoints[i + 1],
            (t->breakpoint_count - i) * sizeof(t->breakpoints[0]));
    return 0;
}

struct stops timeline_stops(const struct timeline *t) {
    return (struct stops){t->breakpoints, t->breakpoint_count};
}

void timeline_clear_breakpoints(struct timeline *t) {
    t->breakpoint_count = 0;
}

const struct breakpoint *timeline_breakpoint(const struct timeline *t, unsigned index) {
    return index < t->breakpoint_count ? &t->breakpoints[index] : NULL;
}

// ---- forwards -------------------------------------------------------------------------------------------
void timeline_begin(struct timeline *t) {
    t->interrupted = false;
    t->costs.reexecuted = 0;
}

// The cursor's process may have died on its way: another one is brought to where it was.
static void revive(struct timeline *t, struct run_result *result) {
    struct goal was = {t->cursor.at.count, t->cursor.at.v};
    struct traveller m;
    struct run_result way;
    if (t->cursor.machine.socket >= 0 || !t->checkpoint_count ||
        !traveller_start(t, &was, &m, &way))
        return;
    traveller_adopt(t, &m, &way);
    char why[256];
    snprintf(why, sizeof(why), "%.255s", result->text);
    timeline_stay(t, RAN_INTO_DIFFERENCE, why, result);
}

void timeline_continue(struct timeline *t, struct run_result *result) {
    timeline_begin(t);
    traveller_advance(t, &t->cursor, &GOAL_NEVER, 0, timeline_stops(t), result);
    revive(t, result);
}

void timeline_step(struct timeline *t, unsigned cpu, bool over_interrupts,
                   struct run_result *result) {
    struct run_request request = {.flags = RUN_STEP | (over_interrupts ? RUN_OVER_INTERRUPTS : 0),
                                  .step_cpu = cpu,
                                  .until_count = UINT64_MAX,
                                  .until_v = UINT64_MAX,
                                  .quiet_until = t->seen_v,
                                  .breakpoint_count = t->breakpoint_count,
                                  .breakpoints = t->breakpoints};
    timeline_begin(t);
    traveller_run(t, &t->cursor, &request, result);
    revive(t, result);
}

// ---- travel -----------------------------------------------------------------------------------------------
int timeline_refuse(struct timeline *t, int error, const char *why, struct run_result *result) {
    timeline_stay(t, RAN_INTO_DIFFERENCE, why, result);
    return error;
}

static int to_event(struct timeline *t, uint64_t event, struct run_result *result) {
    struct goal goal = {0, remote_event_v(&t->cursor.machine, event)};
    if (goal.v == UINT64_MAX)
        return timeline_refuse(t, -EINVAL, "the log has no event of that number", result);
    timeline_travel(t, &goal, result);
    return 0;
}

void timeline_to_begin(struct timeline *t, struct run_result *result) {
    struct position first = t->checkpoints[0].copy.at;
    struct goal goal = {first.count, first.v};
    timeline_travel(t, &goal, result);
    if (result->end == RAN_TO_PLACE) {
        result->end = RAN_TO_END;
        snprintf(result->text, sizeof(result->text), "the history begins here");
    }
}

static void to_end(struct timeline *t, struct run_result *result) {
    timeline_travel(t, t->end.count ? &t->end : &GOAL_NEVER, result);
    if (result->end == RAN_TO_PLACE) // as far as the place goes; whether it ends there shows
        traveller_advance(t, &t->cursor, &GOAL_NEVER, 0, NO_STOPS, result);
}

int timeline_goto(struct timeline *t, enum timeline_place place, uint64_t value,
                  struct run_result *result) {
    const struct position *now = &t->cursor.at;
    struct goal goal = {place == PLACE_COUNT ? value : 0, place == PLACE_V ? value : 0};
    timeline_begin(t);
    bool back = place == PLACE_BEGIN || (place == PLACE_COUNT && value < now->count) ||
                (place == PLACE_V && value < now->v);
    if (!t->checkpoint_count && (back || place == PLACE_EVENT))
        return timeline_refuse(t, -ENOTSUP, NO_HISTORY, result);
    int error = 0;
    if (place == PLACE_EVENT)
        error = to_event(t, value, result);
    else if (place == PLACE_BEGIN)
        timeline_to_begin(t, result);
    else if (place == PLACE_END)
        to_end(t, result);
    else
        timeline_travel(t, &goal, result);
    revive(t, result);
    return error;
}

// ---- explicit checkpoints -----------------------------------------------------------------------------------
static struct checkpoint *numbered(struct timeline *t, int number) {
    for (unsigned i = 0; i < t->checkpoint_count; i++)
        if (t->checkpoints[i].number == number && number > 0)
            return &t->checkpoints[i];
    return NULL;
}

int timeline_checkpoint(struct timeline *t) {
    if (!t->checkpoint_count)
        return -ENOTSUP;
    for (unsigned i = 0; i < t->checkpoint_count; i++) {
        struct checkpoint *c = &t->checkpoints[i];
        if (!c->number && place_compare(&c->copy.at, &t->cursor.at) == 0)
            return c->number = ++t->last_number; // there is an automatic one
    }
    int error = checkpoint_take(t, &t->cursor, t->last_number + 1);
    return error ? error : ++t->last_number;
}

int timeline_delete_checkpoint(struct timeline *t, int number) {
    struct checkpoint *c = numbered(t, number);
    if (!c)
        return -ENOENT;
    c->number = 0; // goes when its place is needed
    return 0;
}

int timeline_restart(struct timeline *t, int number, struct run_result *result) {
    struct checkpoint *c = numbered(t, number);
    timeline_begin(t);
    if (!c)
        return timeline_refuse(t, -ENOENT, "there is no checkpoint of that number", result);
    struct traveller m;
    int error = checkpoint_copy(t, c, &m);
    if (error)
        return timeline_refuse(t, error, "not enough memory for a copy of the checkpoint", result);
    *result = (struct run_result){.end = RAN_TO_PLACE};
    traveller_adopt(t, &m, result);
    return 0;
}

unsigned timeline_list(const struct timeline *t, struct timeline_entry *entries, unsigned n) {
    for (unsigned i = 0; i < n && i < t->checkpoint_count; i++)
        entries[i] = (struct timeline_entry){t->checkpoints[i].number, t->checkpoints[i].copy.at};
    return t->checkpoint_count;
}

int timeline_go_live(struct timeline *t, const char *record, char error[256]) {
    int result = remote_go_live(&t->cursor.machine, record, error);
    if (result)
        return result;
    checkpoints_free(t);
    remote_info(&t->cursor.machine, &t->info);
    // Another future: where the recording ended says nothing of it, and nothing of what it prints was seen.
    t->end = (struct goal){0, 0};
    t->seen_v = t->cursor.at.v;
    return 0;
}
