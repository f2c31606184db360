// The life of a VM beyond one run of its loop: resets, and vmx's exit status in the end.
#pragma once
#include <stdbool.h>

struct machine;

enum {
    EXIT_DIFFERS = 124, // the replay differed from the recording, or the log was incomplete
    EXIT_NOT_STARTED,
    EXIT_FAILED,
    EXIT_RESET,
    EXIT_TRIPLE_FAULT,
    EXIT_LEFT
};

// After machine_run() has come to an end: if that was a reset which is to start the guest again, it has done so.
bool life_goes_on(struct machine *m);
// vmx's exit status for the end that the machine came to, with a message where it needs one.
int life_status(struct machine *m);
