// A replay that is stopped before its end (keys until, go-live): shown, left, or cut off.
#pragma once

struct machine;

// Instead of machine_run(): replays up to the place that the configuration names and says what is there. Then the
// replay ends; with go-live the VM goes on from there, recorded with the key record; with record alone the new log
// has the run up to that place. Returns vmx's exit status.
int until_run(struct machine *m);
