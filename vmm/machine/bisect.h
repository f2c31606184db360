// Two replays of one log, side by side, for a replay that differs from its recording (key bisect): where do they
// part? What is found there did not come from the log.
#pragma once

struct machine;

// Instead of machine_run(), of a machine that is powered on. Returns vmx's exit status.
int bisect_run(struct machine *m);
