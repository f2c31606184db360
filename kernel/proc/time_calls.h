// Processor-time accounting and interval timers.
#pragma once
#include "sched/timer.h"

struct process;
struct world;

// User and system time of all threads of a process, living and ended, in ns. Takes signal_lock.
void process_times(struct process *p, uint64_t *user, uint64_t *system);
// Time of a clock (CLOCK_*) in ns. 0 or -EINVAL.
int clock_read(int clock, uint64_t *ns);
// Expiry of ITIMER_REAL; for timer_init().
void itimer_real_expired(struct timer *t);
// No interval timer of p runs any more. May not be called with signal_lock held.
void itimer_cancel_all(struct process *p);
