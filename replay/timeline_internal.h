// Between the files of the timeline.
#pragma once
#include "replay/timeline.h"

// A machine process and where it stands.
struct traveller {
    struct remote machine;
    struct position at;
};

struct checkpoint {
    struct traveller copy; // never runs
    int number;            // 0: taken automatically
};

// The first moment at which both are reached; as run_request.until_count and until_v.
struct goal {
    uint64_t count, v;
};
#define GOAL_NEVER ((struct goal){UINT64_MAX, UINT64_MAX})

// What a run looks out for; a NULL list: nothing.
struct stops {
    const struct breakpoint *list;
    unsigned count;
};
#define NO_STOPS ((struct stops){0})

struct timeline {
    struct traveller cursor;
    struct target_info info;
    struct timeline_limits limits;
    struct remote_attention attention;
    bool interrupted; // the attention asked for it, in the call under way
    // In the order of their places. The first is the begin of the history, which is never dropped. None: not a
    // replay.
    struct checkpoint *checkpoints;
    unsigned checkpoint_count;
    int last_number;
    uint64_t focus; // count around which checkpoints are to be dense
    struct breakpoint breakpoints[BREAKPOINTS_MAX];
    unsigned breakpoint_count;
    struct goal end; // of the history; {0, 0}: not known yet
    uint64_t seen_v; // what was printed before is on the screen
    struct timeline_costs costs;
};

int place_compare(const struct position *a, const struct position *b); // <0, 0, >0: as strcmp

// ---- timeline.c -----------------------------------------------------------------------------------------
void timeline_begin(struct timeline *t); // of a call that goes somewhere
// The sentence into the result; returns the error.
int timeline_refuse(struct timeline *t, int error, const char *why, struct run_result *result);
#define NO_HISTORY "a VM that is not replayed has no history"
struct stops timeline_stops(const struct timeline *t); // its breakpoints
// Moves the cursor to the begin of the history; RAN_TO_END.
void timeline_to_begin(struct timeline *t, struct run_result *result);

// ---- timeline_checkpoints.c ---------------------------------------------------------------------------
// The last checkpoint at a place before the goal's, or at exactly that; the begin if there is none.
struct checkpoint *checkpoint_for(struct timeline *t, const struct goal *goal);
// The last one strictly before that place. NULL: none.
struct checkpoint *checkpoint_before(struct timeline *t, const struct position *place);
// Whether there is one within `distance` ticks (of V or of the count) of that value.
bool checkpoint_near(const struct timeline *t, bool by_v, uint64_t value, uint64_t distance);
// Keeps a copy of the machine as it is. An automatic one (number 0) that finds no room is left out. 0 or -errno.
int checkpoint_take(struct timeline *t, struct traveller *m, int number);
// A copy of the machine; automatic checkpoints go when memory is short. 0 or -errno.
int machine_copy(struct timeline *t, struct remote *from, struct remote *to);
// A machine of one's own at the checkpoint's place; when memory is short at last its own. 0 or -errno; -EPIPE: it
// is no longer in the list.
int checkpoint_copy(struct timeline *t, const struct checkpoint *c, struct traveller *m);
void checkpoints_free(struct timeline *t);

// ---- timeline_travel.c ----------------------------------------------------------------------------------
// One run. m->at and result->position are where it stands then.
void traveller_run(struct timeline *t, struct traveller *m, const struct run_request *request,
                   struct run_result *result);
// Runs with these flags and stops until the goal; takes checkpoints on its way.
void traveller_advance(struct timeline *t, struct traveller *m, const struct goal *goal,
                       uint32_t flags, struct stops stops, struct run_result *result);
// A new machine at the goal: RAN_TO_PLACE; or where the history ends before it, RAN_TO_END, RAN_INTO_DIFFERENCE. Else
// there is none, and the result says why.
bool traveller_start(struct timeline *t, const struct goal *goal, struct traveller *m,
                     struct run_result *result);
// A copy of the machine. False: the result says why.
bool traveller_copy(struct timeline *t, struct traveller *m, struct traveller *copy,
                    struct run_result *result);
// Becomes the cursor.
void traveller_adopt(struct timeline *t, struct traveller *m, struct run_result *result);
// The cursor stays where it is: result->end is that, with a sentence.
void timeline_stay(struct timeline *t, enum run_end end, const char *why,
                   struct run_result *result);
// The same after a run that ended in an undesired way, with its text, and when memory is short (false).
void timeline_failed(struct timeline *t, struct run_result *result);
bool timeline_no_memory(struct timeline *t, struct run_result *result);
// Moves the cursor to the goal.
void timeline_travel(struct timeline *t, const struct goal *goal, struct run_result *result);

// ---- timeline_reverse.c ---------------------------------------------------------------------------------
// A new machine at the last place before `place` that a step of the vCPU would have stopped at, or at the begin of
// the history. False: the result says why.
bool traveller_before(struct timeline *t, const struct position *place, unsigned cpu,
                      struct traveller *m, struct run_result *result);
// Runs from the last checkpoint before *until to there: *hit is the last of the stops met before it, *until becomes
// the checkpoint's place. False: the result says why.
bool timeline_collect(struct timeline *t, struct stops stops, struct position *until,
                      struct run_hit *hit, struct run_result *result);
