// Memory of a replay compared with the sums in the log.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/replayer.h"

// Takes over what a record says; false after a difference was reported.
static bool take_record(struct inputs *in, const struct landmark *at, size_t count) {
    struct replayer *r = in->own;
    if (!r->recorded && !(r->recorded = calloc(count, sizeof(*r->recorded)))) {
        replay_differs(in, at, "no memory for the sums of memory");
        return false;
    }
    r->recorded_count = count;
    struct log_sums s = log_sums_of(&r->event);
    struct memory_sum sum;
    uint64_t unit;
    while (log_sum_next(&s, &unit, &sum)) {
        if (unit >= count) {
            replay_differs(in, at, "a sum of memory that this machine does not have");
            return false;
        }
        r->recorded[unit] = sum;
    }
    return true;
}

static void compare_unit(struct inputs *in, const struct landmark *at, size_t unit,
                         const struct memory_sum *here) {
    struct replayer *r = in->own;
    if (here->masked == r->recorded[unit].masked) {
        r->accessed_only++;
        return;
    }
    char what[256];
    in->target.name_memory(in->target.opaque, unit, &r->recorded[unit], what, sizeof(what));
    replay_differs(in, at, what);
}

void replay_compare_sums(struct inputs *in, const struct landmark *at) {
    struct replayer *r = in->own;
    size_t count;
    const struct memory_sum *here = in->target.sums(in->target.opaque, &count);
    uint64_t v = r->event.v;
    bool more = true;
    while (more && !r->over) {
        if (!r->has_event || r->event.kind != LOG_MEMORY || r->event.v != v)
            replay_differs(in, at, "the log's sums of memory are not complete");
        else if (take_record(in, at, count)) {
            more = r->event.value;
            if (more)
                replay_next_event(in);
        }
    }
    for (size_t i = 0; i < count && !r->over; i++)
        if (!memory_sum_equal(&here[i], &r->recorded[i]))
            compare_unit(in, at, i, &here[i]);
    if (!r->over)
        replay_next_event(in);
}
