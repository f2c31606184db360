// What processes and the machine say about themselves.
#pragma once

struct process;
struct rusage;

// Resource use of a process with all its threads. Takes signal_lock.
void process_rusage(struct process *p, struct rusage *out);
// Boot: /proc/sys/kernel/hostname and its neighbours. (uname.c)
void uname_init(void);
