// What the files of the signal code share.
#pragma once
#include "proc/process.h"
#include "proc/signal_queue.h"
#include "sched/world.h"

struct process_group;

const char *signal_name(int sig);
// True when w is to end as soon as it comes by: exit of the whole process, or execve elsewhere.
bool world_must_end(const struct world *w);
// True when nothing may keep w from ending: SIGKILL, or world_must_end().
bool signal_kill_pending(const struct world *w);
// The signals whose default action is to do nothing.
bool signal_default_ignored(int sig);

// Sends to one thread (`to`) or to the process. p->signal_lock is held. 0 or -EAGAIN.
int signal_send_locked(struct process *p, struct world *to, int sig, const siginfo_t *info);
// To all members. process_lock is held; g may be NULL: -ESRCH.
int signal_send_group_locked(struct process_group *g, int sig, const siginfo_t *info);
// signal_force() with any siginfo.
void signal_force_info(int sig, const siginfo_t *info);
// Drops pending signals of `set` of the process and its threads. signal_lock is held.
void signal_flush_process(struct process *p, signal_set set);
// Tells the parent: SIGCHLD (or the exit signal) with CLD_* code, and wakes its wait4.
// process_lock is held.
void signal_notify_parent_locked(struct process *p, int code, int status);
// Counts a thread as stopped if the process is stopping. signal_lock is held. True: it was the last
// one, and the caller is to call signal_stop_notify() without locks.
bool signal_stop_complete(struct process *p);
void signal_stop_notify(struct process *p);
// A new signal mask for the calling world (SIGKILL and SIGSTOP taken out).
void signal_set_blocked(signal_set set);

// Builds the frame of a handler on the user's stack and lets `frame` return into the handler.
// 0 or -EFAULT. (sigframe.c)
struct trap_frame;
int sigframe_build(struct trap_frame *frame, const struct sigaction_entry *a, int sig,
                   const siginfo_t *info, signal_set old_blocked);
