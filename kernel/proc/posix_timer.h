// POSIX timers: timer_create and its family.
#pragma once
#include <asm/siginfo.h>
#include "lib/compiler.h"

struct process;

// A signal of a timer is about to reach the program: fills in the overruns, starts the next round.
// No lock held.
void posix_timer_delivered(struct process *p, siginfo_t *info);
// execve and exit. No lock held.
void posix_timers_delete_all(struct process *p);
