// The end of threads and processes.
#pragma once
#include "lib/compiler.h"

struct process;

// Ends the calling thread, and its process when it is the last one (status: as wait4 gives it, used
// only then and when no other thread has ended the process before).
noreturn void thread_exit(int status);
// True when children of `parent` leave no zombie (SIGCHLD ignored, or SA_NOCLDWAIT).
bool process_autoreaps(struct process *parent);
// vfork: the child no longer uses the parent's memory.
void vfork_complete(struct process *p);
// What the calling thread owes its memory before it leaves it: robust futexes, clear_child_tid.
void thread_leave_memory(void);
