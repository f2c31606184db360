// History of a replayed run: checkpoints (forked machine processes) and travel between them. Of a live or
// recording VM it is the present alone, and everything that goes back returns -ENOTSUP.
//
// Session (record.c, replay.c: runs), timeline (this file: where) and debugger (replay/gdb/: packets) are
// kept apart: checkpoints know no breakpoints, the timeline knows no packets. docs/timeline.md explains it.
//
// Every call leaves the cursor at a place of the history, and result->position says at which. What is interrupted
// or fails ends with RAN_INTERRUPTED or RAN_INTO_DIFFERENCE and a sentence in result->text: a way back leaves the
// cursor where it was, a way forwards where it came to.
#pragma once
#include "replay/remote.h"

struct timeline;

struct timeline_limits {
    unsigned checkpoints; // at most so many processes beside the cursor; at least 1, the begin
    uint64_t reserve;     // bytes of the host's memory that automatic checkpoints leave free
    uint64_t nearest; // ticks from a place travelled to, to the nearest one before it; 0: 10,000
};

// Takes over the machine process. NULL: out of memory, or the process has ended; it is gone then.
struct timeline *timeline_create(struct remote machine, const struct timeline_limits *limits);
void timeline_free(struct timeline *t); // ends all machine processes
// Who is asked whether to interrupt a run or a travel (a client's ^C). NULL: nobody.
void timeline_set_attention(struct timeline *t, const struct remote_attention *attention);

// The machine at the cursor, for registers, memory and texts. Changes with every travel.
struct remote *timeline_machine(struct timeline *t);
const struct target_info *timeline_info(const struct timeline *t);
const struct position *timeline_now(const struct timeline *t);

// ---- breakpoints: a list, applied to whatever runs ------------------------------------------------
int timeline_add_breakpoint(struct timeline *t,
                            const struct breakpoint *b); // -ENOSPC; twice is once
int timeline_remove_breakpoint(struct timeline *t, const struct breakpoint *b); // -ENOENT
void timeline_clear_breakpoints(struct timeline *t);
const struct breakpoint *timeline_breakpoint(const struct timeline *t, unsigned index);

// ---- forwards -------------------------------------------------------------------------------------
// Until a breakpoint, an end or an interrupt.
void timeline_continue(struct timeline *t, struct run_result *result);
void timeline_step(struct timeline *t, unsigned cpu, bool over_interrupts,
                   struct run_result *result);

// ---- backwards (-ENOTSUP outside a replay, else 0) ----------------------------------------------------
// To the last hit before now; RAN_TO_END at the begin of the history. At a watchpoint: before the access.
int timeline_reverse_continue(struct timeline *t, struct run_result *result);
// The instruction before: the last place that a step forward would have stopped at (RAN_STEP), at last the begin
// of the history; from there RAN_TO_END.
int timeline_reverse_step(struct timeline *t, unsigned cpu, struct run_result *result);
// The same, but not into the handler of an interrupt that has just returned: then it is the place where that came.
int timeline_reverse_step_over(struct timeline *t, unsigned cpu, struct run_result *result);

// ---- travel ---------------------------------------------------------------------------------------
// To the first moment with that count, at which that event is due, with that V; RAN_TO_PLACE. PLACE_BEGIN and
// PLACE_END end with RAN_TO_END. -ENOTSUP: backwards in a live VM, or to events of one. -EINVAL: no such event.
enum timeline_place { PLACE_COUNT, PLACE_EVENT, PLACE_V, PLACE_BEGIN, PLACE_END };
int timeline_goto(struct timeline *t, enum timeline_place place, uint64_t value,
                  struct run_result *result);
// Explicit checkpoints, kept until deleted. The number of the new one (from 1), or -errno: -ENOSPC (as many as
// the limit allows), -ENOMEM, -ENOTSUP.
int timeline_checkpoint(struct timeline *t);
int timeline_delete_checkpoint(struct timeline *t, int number);                  // -ENOENT
int timeline_restart(struct timeline *t, int number, struct run_result *result); // -ENOENT
struct timeline_entry {
    int number; // 0: an automatic one
    struct position position;
};
// Up to n entries in the order of positions; returns how many there are.
unsigned timeline_list(const struct timeline *t, struct timeline_entry *entries, unsigned n);
// From here on live: the history is given up. 0 or -errno with a sentence.
int timeline_go_live(struct timeline *t, const char *record, char error[256]);

// What travel has cost, for figures.
struct timeline_costs {
    uint64_t
        reexecuted; // guest ticks run to get somewhere again, by the last call that went somewhere
    uint64_t total_reexecuted; // by all
    unsigned checkpoints;      // taken so far
    uint64_t checkpoint_ticks; // of the host's TSC that the last one took
};
void timeline_get_costs(const struct timeline *t, struct timeline_costs *costs);
