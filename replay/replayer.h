// A log that is being followed: what replay.c, replay_sums.c and go_live.c share. Private to replay/.
#pragma once
#include "replay/inputs_ops.h"
#include "replay/log_read.h"

struct replayer {
    // The next record with a landmark, and the next result: two readers of the same file, since results
    // stand between the events in the order of their asking.
    struct log_reader *log, *results;
    char *path;
    struct log_record event;
    bool has_event;
    bool failed;
    bool over;              // the end was reached or a difference found: the run is being stopped
    uint64_t results_taken; // answers handed out
    struct memory_sum *recorded; // of memory, by unit, as the log has them
    size_t recorded_count;
    uint64_t accessed_only; // units, at sums, in which nothing but accessed bits differed
};

extern const struct inputs_ops replay_ops;

void replay_next_event(struct inputs *in);
// The first difference: stops the run with a report.
void replay_differs(struct inputs *in, const struct landmark *at, const char *what);
// The event is a LOG_MEMORY that is due: compares, and goes on to the next event.
void replay_compare_sums(struct inputs *in, const struct landmark *at);

// description.c: whether a machine is the recorded one; else a sentence with the first difference.
bool description_matches(const char *recorded, const char *here, char error[256]);
