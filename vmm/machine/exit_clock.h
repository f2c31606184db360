// Clock none: nothing counts the guest's instructions, so a tick is an exit that the guest itself makes and that comes
// to us. Reads of the TSC exit, too. Virtual time is moved at exits, and things happen to the guest at exits, so
// that a replay can do the same; docs/recording.md is the chapter.
#pragma once

struct cpu;
struct landmark;
struct machine;

// Starts watching for a guest that makes no exits; a replay needs no watch.
void exit_clock_start(struct machine *m);
// KVM_RUN until the guest makes an exit: 0. Signals do not end it: it would stand at a place that is no landmark.
// -EINTR: with immediate_exit set, the access is finished; or the machine was stopped as MACHINE_SILENT.
int exit_clock_run(struct cpu *c);
// At each exit, before it is handled: time follows the host's. When it moves a slice ends.
void exit_clock_follow(struct machine *m, const struct landmark *at);
