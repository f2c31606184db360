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
// For panic(): stops all other processors by NMI and waits a moment until they did.
void smp_stop_others(void);
// Where such a processor was when it was stopped; 0: it was not.
uint64_t smp_stopped_at(unsigned cpu);
