// What the timeline must answer, by brute force: all places of a mock's run in a list, all stops of steps, all hits
// of the breakpoints.
#pragma once
#include "replay/timeline.h"
#include "target_mock.h"

struct model_place {
    struct position at;
    uint64_t state; // mock_state() there
};
struct model_hit {
    struct run_hit hit;
    uint64_t state;
};
// An interrupt's handler: the place of its first instruction, and that behind its last one.
struct model_handler {
    unsigned cpu;
    struct position enter, leave;
};
struct model {
    struct mock begin;
    struct model_handler *handlers; // that have returned
    unsigned handler_count;
    struct {
        bool there;
        struct position enter;
    } open[MOCK_CPUS]; // that have not
    struct model_place *moments, *stops[MOCK_CPUS];
    unsigned moment_count, stop_count[MOCK_CPUS];
    struct model_hit *hits;
    unsigned hit_count;
    struct breakpoint breakpoints[8];
    unsigned breakpoint_count;
};

void model_init(struct model *m, uint64_t seed, unsigned cpus, uint64_t events);
void model_free(struct model *m);
// Finds the hits of the breakpoints, which were changed.
void model_find_hits(struct model *m);

int model_compare(const struct position *a, const struct position *b);
const struct model_place *model_first(const struct model *m);
const struct model_place *model_last(const struct model *m);
// The first moment at which both are reached; the last of all if they never are.
const struct model_place *model_moment(const struct model *m, uint64_t count, uint64_t v);
// The last stop of that processor before the place; the begin if there is none.
const struct model_place *model_stop_before(const struct model *m, unsigned cpu,
                                            const struct position *place);
// The same, but not in a handler that has returned at the place: that which its interrupt came at.
const struct model_place *model_stop_over(const struct model *m, unsigned cpu,
                                          const struct position *place);
// The first stop after it. NULL: none.
const struct model_place *model_stop_after(const struct model *m, unsigned cpu,
                                           const struct position *place);
// The last hit before the place (watchpoints: up to it), the first one after it. NULL: none.
const struct model_hit *model_hit_before(const struct model *m, const struct position *place);
const struct model_hit *model_hit_after(const struct model *m, const struct position *place);
// Whether something can stand at that place in that state.
bool model_knows(const struct model *m, const struct position *place, uint64_t state);
