// Timing that differs from seed to seed. Jitter moves time a little once in a while, so that two recordings are two
// runs. Chaos looks for mistakes: where slices end, which vCPU runs, how time jumps and when inputs come are drawn
// from the seed instead of being as regular as can be. Everything stays within what a real machine may
// do, so what fails under it can fail. Private to replay/.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct chaos {
    uint64_t seed;      // 0: neither, all functions below leave things as they are
    bool adversarial;   // chaos, not only jitter
    uint64_t state;     // of the generator
    uint64_t slice_end; // as last handed out, and how long that slice is
    uint64_t slice;
};
void chaos_start(struct chaos *c, uint64_t seed, bool adversarial);

// The first end of a slice after `count`; `slice`: ticks of a usual slice. Depends on nothing else, so that
// a replay has the same ends. Phases of some milliseconds differ: in one, slices are long, and who does not
// run starves; in another they are so short that no critical section is safe.
uint64_t chaos_slice_end(uint64_t seed, uint64_t slice, uint64_t count);

// The rest decides while recording, and is written down there.
// How far time jumps at the end of a slice, in ticks: mostly not at all. With chaos, in the mean an eighth of what
// is executed.
uint64_t chaos_jump(struct chaos *c);
// How late a halted machine wakes for its timer, in ticks; mostly 0.
uint64_t chaos_oversleep(struct chaos *c);
// Inputs that have arrived have to wait for another slice.
bool chaos_holds_inputs(struct chaos *c);
// With chaos: who runs next, at `count`: one of `runnable` (a bit per vCPU, not 0), more often than not another than `now`
// when that one gave up the rest of its slice. Some are passed over for a phase where that is possible.
unsigned chaos_choose_cpu(struct chaos *c, uint64_t count, unsigned now, uint64_t runnable);
