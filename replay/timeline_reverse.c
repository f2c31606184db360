// Backwards: nothing runs backwards. The machine runs forwards again, from a checkpoint, and what is wanted is the
// last thing that it meets before now.
#include <errno.h>
#include <stdio.h>
#include "replay/timeline_internal.h"

static struct goal goal_of(const struct position *p) {
    return (struct goal){p->count, p->v};
}

// The first moment that is `ticks` ticks before the place, or the begin of the history.
static struct goal goal_before(const struct timeline *t, const struct position *p, uint64_t ticks) {
    const struct position *first = &t->checkpoints[0].copy.at;
    return p->count > first->count + ticks ? (struct goal){p->count - ticks, 0} : goal_of(first);
}

// ---- the last stop of a step before a place ---------------------------------------------------------------
// What came of stepping from some place on.
struct probe {
    struct traveller base; // stands at that place
    unsigned steps;        // so many end before the goal; 0: none
    struct position stop;  // where the last of them ends
    bool complete;         // and the next one does not
};

// Steps `m`, at most `limit` times, until a step does not end before the place. False: interrupted.
static bool step_towards(struct timeline *t, struct traveller *m, const struct position *place,
                         unsigned cpu, unsigned limit, struct probe *p, struct run_result *result) {
    struct run_request request = {.flags = RUN_STEP,
                                  .step_cpu = cpu,
                                  .until_count = place->count,
                                  .until_v = place->v,
                                  .quiet_until = t->seen_v};
    while (!p->complete && p->steps < limit) {
        traveller_run(t, m, &request, result);
        if (t->interrupted)
            return false;
        if (result->end == RAN_STEP && place_compare(&m->at, place) < 0) {
            p->steps++;
            p->stop = m->at;
        } else {
            p->complete = true;
        }
    }
    return true;
}

// From the first moment of `from`, which is before the place. False: the result says why; there is no base.
static bool probe(struct timeline *t, const struct goal *from, const struct position *place,
                  unsigned cpu, unsigned limit, struct probe *p, struct run_result *result) {
    struct traveller m;
    *p = (struct probe){0};
    if (!traveller_start(t, from, &p->base, result))
        return false;
    p->complete = place_compare(&p->base.at, place) >= 0; // in the shadow of MOV SS nothing stops
    if (p->complete)
        return true;
    if (!traveller_copy(t, &p->base, &m, result)) {
        remote_close(&p->base.machine);
        return false;
    }
    bool done = step_towards(t, &m, place, cpu, limit, p, result);
    remote_close(&m.machine);
    if (!done) {
        remote_close(&p->base.machine);
        timeline_stay(t, RAN_INTERRUPTED, "interrupted on the way", result);
    }
    return done;
}

#define FEW 64 // steps at once

// A place from which a few steps lead to the last stop before `place`. None before: p->steps is 0, and the base is
// the begin of the history. False: the result says why.
//
// Usually the instruction before took one tick. Where other vCPUs ran, it is further back: the search goes
// outwards until a step ends before the place, then in again until few do.
static bool find_stop(struct timeline *t, const struct position *place, unsigned cpu,
                      struct probe *p, struct run_result *result) {
    uint64_t near = 0, far = 2; // ticks before the place: from `near` no step ends before it
    for (;; near = far, far *= 4) {
        struct goal from = goal_before(t, place, far);
        if (!probe(t, &from, place, cpu, FEW, p, result))
            return false;
        if (p->steps || place_compare(&p->base.at, &t->checkpoints[0].copy.at) <= 0)
            break;
        remote_close(&p->base.machine);
    }
    if (p->complete)
        return true;
    while (far - near >= FEW / 2) {
        uint64_t middle = near + (far - near) / 2;
        struct goal from = goal_before(t, place, middle);
        remote_close(&p->base.machine);
        if (!probe(t, &from, place, cpu, 1, p, result))
            return false;
        if (p->steps)
            far = middle;
        else
            near = middle;
    }
    struct goal from = goal_before(t, place, far);
    remote_close(&p->base.machine);
    return probe(t, &from, place, cpu, FEW, p, result);
}

bool traveller_before(struct timeline *t, const struct position *place, unsigned cpu,
                      struct traveller *m, struct run_result *result) {
    struct probe found, way = {0};
    if (!find_stop(t, place, cpu, &found, result))
        return false;
    if (found.steps && !step_towards(t, &found.base, place, cpu, found.steps, &way, result)) {
        remote_close(&found.base.machine);
        timeline_stay(t, RAN_INTERRUPTED, "interrupted on the way", result);
        return false;
    }
    *m = found.base;
    return true;
}

// Moves the cursor there. False: it stays.
static bool go_to_stop(struct timeline *t, const struct position *place, unsigned cpu,
                       struct run_result *result) {
    struct traveller m;
    if (!traveller_before(t, place, cpu, &m, result))
        return false;
    *result = (struct run_result){.end = RAN_STEP};
    traveller_adopt(t, &m, result);
    return true;
}

int timeline_reverse_step(struct timeline *t, unsigned cpu, struct run_result *result) {
    timeline_begin(t);
    if (!t->checkpoint_count)
        return timeline_refuse(t, -ENOTSUP, NO_HISTORY, result);
    struct position now = t->cursor.at;
    if (place_compare(&now, &t->checkpoints[0].copy.at) <= 0)
        timeline_to_begin(t, result);
    else
        go_to_stop(t, &now, cpu, result);
    return 0;
}

// ---- the last hit before now ----------------------------------------------------------------------------------
static bool is_stop(const struct run_result *result) {
    return result->end == RAN_TO_BREAKPOINT || result->end == RAN_TO_WATCHPOINT;
}

// Whether it is met before the place: an access is over at the place of its hit, a breakpoint is not.
static bool hit_before(const struct run_hit *hit, enum run_end end, const struct position *place) {
    return place_compare(&hit->position, place) < (end == RAN_TO_WATCHPOINT);
}

// Goes from hit to hit up to the place. `until` of a run cannot tell as exactly what comes before the place: only
// breakpoints stop in the shadow of STI and on a handler's first instruction.
static void pick(struct timeline *t, struct stops stops, struct traveller *m,
                 const struct position *place, struct run_hit *hit, struct run_result *result) {
    struct goal goal = goal_of(place);
    uint32_t flags = RUN_FROM_HERE;
    for (;;) {
        traveller_advance(t, m, &goal, flags, stops, result);
        if (!is_stop(result) || !hit_before(&result->hit, result->end, place))
            return;
        *hit = result->hit;
        flags = result->end == RAN_TO_WATCHPOINT ? RUN_FROM_HERE : 0;
    }
}

bool timeline_collect(struct timeline *t, struct stops stops, struct position *until,
                      struct run_hit *hit, struct run_result *result) {
    const struct checkpoint *c = checkpoint_before(t, until);
    struct position from = c->copy.at;
    struct goal nearly = goal_before(t, until, 2);
    struct traveller m;
    int error = checkpoint_copy(t, c, &m);
    if (error == -EPIPE)
        return true; // there is one less to try
    if (error)
        return timeline_no_memory(t, result);
    traveller_advance(t, &m, &nearly, RUN_COLLECT | RUN_FROM_HERE, stops, result);
    *hit = result->hit;
    if (result->end == RAN_TO_PLACE)
        pick(t, stops, &m, until, hit, result);
    remote_close(&m.machine);
    if (t->interrupted)
        result->end = RAN_INTERRUPTED;
    bool early = result->end == RAN_INTO_DIFFERENCE && place_compare(&m.at, until) < 0;
    if (t->interrupted || early) {
        timeline_failed(t, result);
        return false;
    }
    *until = from;
    return true;
}

// To the place of a breakpoint that was met, again from hit to hit.
static void go_to_breakpoint(struct timeline *t, const struct run_hit *hit,
                             struct run_result *result) {
    struct goal before = goal_before(t, &hit->position, 2), after = {hit->position.count + 1, 0};
    struct traveller m;
    if (!traveller_start(t, &before, &m, result))
        return;
    uint32_t flags = RUN_FROM_HERE;
    do {
        traveller_advance(t, &m, &after, flags, timeline_stops(t), result);
        flags = result->end == RAN_TO_WATCHPOINT ? RUN_FROM_HERE : 0;
    } while (is_stop(result) && place_compare(&m.at, &hit->position) < 0);
    if (is_stop(result) && place_compare(&m.at, &hit->position) == 0) {
        traveller_adopt(t, &m, result);
        result->end = RAN_TO_BREAKPOINT;
        return;
    }
    remote_close(&m.machine);
    if (result->end != RAN_INTERRUPTED && result->end != RAN_INTO_DIFFERENCE) {
        result->end = RAN_INTO_DIFFERENCE;
        snprintf(result->text, sizeof(result->text), "the breakpoint was not met again");
    }
    timeline_failed(t, result);
}

static void go_to_hit(struct timeline *t, const struct run_hit *hit, struct run_result *result) {
    if (t->breakpoints[hit->which].kind < WATCH_WRITE)
        go_to_breakpoint(t, hit, result);
    else if (go_to_stop(t, &hit->position, hit->position.cpu, result))
        result->end = RAN_TO_WATCHPOINT;
    result->hit = *hit;
}

int timeline_reverse_continue(struct timeline *t, struct run_result *result) {
    timeline_begin(t);
    if (!t->checkpoint_count)
        return timeline_refuse(t, -ENOTSUP, NO_HISTORY, result);
    struct position until = t->cursor.at;
    struct run_hit hit = {0};
    while (!hit.valid && t->breakpoint_count && checkpoint_before(t, &until))
        if (!timeline_collect(t, timeline_stops(t), &until, &hit, result))
            return 0;
    if (hit.valid)
        go_to_hit(t, &hit, result);
    else
        timeline_to_begin(t, result);
    return 0;
}
