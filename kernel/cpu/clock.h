// Time. The monotonic clock is the calibrated TSC (synchronous on all processors).
#pragma once
#include "lib/compiler.h"

#define NSEC_PER_SEC 1000000000ull

// Nanoseconds since boot. Any context.
uint64_t clock_monotonic(void);
// Nanoseconds since 1970 UTC: monotonic plus an offset that the RTC or clock_settime gave.
uint64_t clock_realtime(void);
// Sets the wall clock. Any context.
void clock_set_realtime(uint64_t ns);
// TSC ticks per second, and conversions.
uint64_t clock_tsc_hz(void);
uint64_t clock_ns_to_tsc(uint64_t ns);
uint64_t clock_tsc_to_ns(uint64_t ticks);
// Arms this processor's timer interrupt (VECTOR_TIMER) for that monotonic time; UINT64_MAX: off.
// Interrupts off. A time in the past fires at once.
void clock_arm(uint64_t monotonic_ns);
// Waits by looping; for drivers at boot.
void clock_delay(uint64_t ns);
