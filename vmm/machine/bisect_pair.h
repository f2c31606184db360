// The two replays of a bisection: one of them is compared with the other after each step. Private to bisect*.c.
#pragma once
#include "replay/target.h"

struct machine;

struct bisect_round {
    uint64_t from, step; // V up to which they are known to agree; ticks of a step from there on
};
enum bisect_outcome {
    BISECT_FAILED,          // text says why
    BISECT_SAME,            // no difference anywhere
    BISECT_SAME_DIFFERENCE, // both differ from the recording in the same way; text
    BISECT_PARTED // they differ at `after` and did not at `before`; text has all differences
};
struct bisect_found {
    int outcome; // enum bisect_outcome
    struct position before, after;
    char text[1500];
};

// In children of the process that has the machine, at power-on, each with an end of one socket. The suspect is the
// one with the fault, where one is injected.
struct bisect_found bisect_suspect(struct machine *m, const struct bisect_round *round, int socket);
void bisect_reference(struct machine *m, const struct bisect_round *round, int socket);
