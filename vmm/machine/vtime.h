// Virtual time, the only time that devices know: V = anchor + count, in ticks of the guest's TSC.
//
// While the guest executes, V advances with the instruction clock; the anchor moves forward only at
// a wake from HLT or at a re-anchoring, both of which come through replay/'s inputs.
#pragma once
#include <stdint.h>

struct device;
struct machine;
struct state_visitor;

// V now. Exact at every device access and timer expiry.
uint64_t vtime_now(const struct machine *m);
uint64_t vtime_hz(const struct machine *m); // ticks per second: configuration, in the log header
// Conversions that round down; no overflow for any 64-bit tick count of the other operand < 2^40.
uint64_t vtime_to_ns(const struct machine *m, uint64_t ticks);
uint64_t vtime_from_ns(const struct machine *m, uint64_t ns);
// ticks * hz / vtime_hz: V in units of another clock (PIT 1193182, PM timer 3579545, RTC 32768).
uint64_t vtime_scale(const struct machine *m, uint64_t ticks, uint64_t hz);
// The first V at which vtime_scale(V, hz) >= units.
uint64_t vtime_unscale(const struct machine *m, uint64_t units, uint64_t hz);

// A timer of a device. At one V, timers fire in the order (deadline, order of vtimer_init).
struct vtimer {
    uint64_t deadline; // V; UINT64_MAX: not armed. A field of the device's state.
    void (*fn)(void *opaque);
    void *opaque;
    unsigned order;
    struct machine *machine;
    struct vtimer *next;
};
void vtimer_init(struct machine *m, struct vtimer *t, void (*fn)(void *opaque), void *opaque);
// One-shot. A deadline <= now fires at the next stop, before the guest executes another instruction.
void vtimer_arm(struct vtimer *t, uint64_t deadline);
void vtimer_cancel(struct vtimer *t);
// For the run loop: the earliest deadline, or UINT64_MAX; and calls every timer that is due now.
uint64_t vtime_next_deadline(const struct machine *m);
void vtime_fire(struct machine *m);
// For loading of states: an armed timer whose deadline field was written takes its place again.
void vtimer_restore(struct vtimer *t);
