// Numbers for processes, threads, process groups and sessions. Process_lock is held for all calls.
#pragma once

#define PID_MAX 32768 // numbers are below this, as Linux's default

// A free number, the next after the one given out last, so that numbers come back late. It has one
// user. -EAGAIN: all are in use.
int pid_alloc(void);
// One user more, one less: a number is free again when no process, group or session uses it.
void pid_hold(int pid);
void pid_drop(int pid);
// The number given out last.
int pid_last(void);
