// Travel: machines that run from a checkpoint to a place, and leave checkpoints on their way.
//
// Around the goal they are dense, so that another travel to a place just before it is short; far from it they are
// sparse.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include "replay/timeline_internal.h"

// Distances of checkpoints before a goal, in units of limits.nearest. Far from any goal one follows the other at the
// first of these distances.
static const unsigned distances[] = {6400, 800, 100, 10, 1};

static uint64_t stride(const struct timeline *t) {
    return distances[0] * t->limits.nearest;
}

// ---- where to take checkpoints ----------------------------------------------------------------------------
// The next multiple of the stride from `at` on around which there is none, well before the end.
static uint64_t far_seam(const struct timeline *t, bool by_v, uint64_t at, uint64_t end) {
    uint64_t step = stride(t);
    for (uint64_t seam = at + step; end - seam > step; seam += step)
        if (!checkpoint_near(t, by_v, seam, step / 2))
            return seam;
    return end;
}

// The next place before `end` at which one is wanted; `end`: none.
static uint64_t next_seam(const struct timeline *t, bool by_v, uint64_t at, uint64_t end) {
    if (end - at > 2 * stride(t)) {
        uint64_t seam = far_seam(t, by_v, at, end);
        if (seam < end)
            return seam;
    }
    for (unsigned i = 0; i < sizeof(distances) / sizeof(distances[0]); i++) {
        uint64_t d = distances[i] * t->limits.nearest;
        if (end - at > d + d / 4 && !checkpoint_near(t, by_v, end - d, d / 4))
            return end - d;
    }
    return end;
}

// How far to go at once. True: to the goal.
static bool next_piece(const struct timeline *t, const struct traveller *m, const struct goal *goal,
                       struct goal *piece) {
    bool by_v = goal->count == 0; // only V is known
    uint64_t at = by_v ? m->at.v : m->at.count, end = by_v ? goal->v : goal->count;
    *piece = *goal;
    if (!t->checkpoint_count || end <= at)
        return true;
    uint64_t seam = next_seam(t, by_v, at, end);
    if (seam == end)
        return true;
    *piece = by_v ? (struct goal){0, seam} : (struct goal){seam, 0};
    return false;
}

// Where replay and recording differ, the history is over: a place like any other.
static bool history_ends(const struct traveller *m, const struct run_result *result) {
    return m->machine.socket >= 0 &&
           (result->end == RAN_TO_END || result->end == RAN_INTO_DIFFERENCE);
}

// ---- runs -------------------------------------------------------------------------------------------------
void traveller_run(struct timeline *t, struct traveller *m, const struct run_request *request,
                   struct run_result *result) {
    struct position from = m->at;
    t->interrupted |= remote_run(&m->machine, request, &t->attention, result);
    if (m->machine.socket >= 0)
        m->at = result->position;
    else
        result->position = from;
    if (from.v < t->seen_v) {
        t->costs.reexecuted += m->at.count - from.count;
        t->costs.total_reexecuted += m->at.count - from.count;
    }
    if (m->at.v > t->seen_v)
        t->seen_v = m->at.v;
    if (history_ends(m, result))
        t->end = (struct goal){m->at.count, m->at.v};
}

void traveller_advance(struct timeline *t, struct traveller *m, const struct goal *goal,
                       uint32_t flags, struct stops stops, struct run_result *result) {
    struct run_request request = {.flags = flags,
                                  .quiet_until = t->seen_v,
                                  .breakpoints = stops.list,
                                  .breakpoint_count = stops.count};
    struct run_hit hit = {0};
    for (;;) {
        struct goal piece;
        bool last = next_piece(t, m, goal, &piece);
        request.until_count = piece.count;
        request.until_v = piece.v;
        t->focus = goal->count && goal->count != UINT64_MAX ? goal->count : m->at.count;
        traveller_run(t, m, &request, result);
        if (result->hit.valid)
            hit = result->hit;
        if (last || result->end != RAN_TO_PLACE)
            break;
        if (t->interrupted) {
            result->end = RAN_INTERRUPTED;
            break;
        }
        checkpoint_take(t, m, 0); // without it the next travel is longer, no more
        request.flags |= RUN_FROM_HERE;
    }
    if (result->end == RAN_INTERRUPTED)
        snprintf(result->text, sizeof(result->text), "interrupted on the way");
    if (result->end != RAN_TO_BREAKPOINT && result->end != RAN_TO_WATCHPOINT)
        result->hit = hit;
}

// ---- travellers ---------------------------------------------------------------------------------------------
void timeline_stay(struct timeline *t, enum run_end end, const char *why,
                   struct run_result *result) {
    *result = (struct run_result){.end = end, .position = t->cursor.at};
    snprintf(result->text, sizeof(result->text), "%.300s; still at count %" PRIu64, why,
             t->cursor.at.count);
}

void timeline_failed(struct timeline *t, struct run_result *result) {
    char why[256];
    snprintf(why, sizeof(why), "%.255s", result->text);
    if (result->end == RAN_INTERRUPTED)
        timeline_stay(t, RAN_INTERRUPTED, "interrupted on the way", result);
    else
        timeline_stay(t, RAN_INTO_DIFFERENCE, why, result);
}

bool timeline_no_memory(struct timeline *t, struct run_result *result) {
    timeline_stay(t, RAN_INTO_DIFFERENCE,
                  "not enough memory for another copy of the machine: delete checkpoints", result);
    return false;
}

bool traveller_start(struct timeline *t, const struct goal *goal, struct traveller *m,
                     struct run_result *result) {
    int error = -EPIPE;
    while (error == -EPIPE && t->checkpoint_count > 0)
        error = checkpoint_copy(t, checkpoint_for(t, goal), m);
    if (error)
        return timeline_no_memory(t, result);
    traveller_advance(t, m, goal, 0, NO_STOPS, result);
    if (result->end == RAN_TO_PLACE || history_ends(m, result))
        return true;
    timeline_failed(t, result);
    remote_close(&m->machine);
    return false;
}

bool traveller_copy(struct timeline *t, struct traveller *m, struct traveller *copy,
                    struct run_result *result) {
    copy->at = m->at;
    return machine_copy(t, &m->machine, &copy->machine) == 0 || timeline_no_memory(t, result);
}

void traveller_adopt(struct timeline *t, struct traveller *m, struct run_result *result) {
    remote_close(&t->cursor.machine);
    t->cursor = *m;
    result->position = m->at;
}

// Whether the cursor need only run on to get there.
static bool on_the_way(struct timeline *t, const struct goal *goal) {
    const struct position *now = &t->cursor.at;
    if (!t->checkpoint_count)
        return true;
    if (now->count >= goal->count && now->v >= goal->v)
        return now->count == goal->count && now->v == goal->v && now->deliveries == 0;
    return place_compare(&checkpoint_for(t, goal)->copy.at, now) <= 0;
}

void timeline_travel(struct timeline *t, const struct goal *goal, struct run_result *result) {
    struct traveller m;
    if (on_the_way(t, goal))
        traveller_advance(t, &t->cursor, goal, 0, NO_STOPS, result);
    else if (traveller_start(t, goal, &m, result))
        traveller_adopt(t, &m, result);
}
