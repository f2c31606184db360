// Where a machine's inputs come from: the world, the world and a log, or a log.
#pragma once
#include <stdint.h>

struct inputs;
struct machine;

// When a log is to be followed: sets m->hz to its ticks per second, before the vCPUs are made. 0, or -errno
// after a message.
int recording_set_hz(struct machine *m);
// By the configuration (keys record, replay, seed), after memory, vCPUs and images are there and before the
// devices are. NULL after a message.
struct inputs *recording_open(struct machine *m);
// At the end of the run. Returns vmx's exit status: `status`, or another when the log could not be completed
// or the replay differed.
int recording_finish(struct machine *m, int status);
