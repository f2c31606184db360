// Talking to other processors.
#pragma once
#include "cpu/percpu.h"

// Sends a fixed vector to processor `cpu` (its id). Any context.
void smp_send(unsigned cpu, unsigned vector);
// Runs fn(arg) on all other online processors with interrupts off there, and waits until all did.
// Call with interrupts enabled and no spin lock held.
void smp_call_others(void (*fn)(void *arg), void *arg);
// Makes `cpu` call schedule() soon.
void smp_reschedule(unsigned cpu);
