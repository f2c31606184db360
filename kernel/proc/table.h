// The tables of processes, threads and process groups: the inside of proc/.
#pragma once
#include "proc/pid.h"
#include "proc/process.h"
#include "sched/world.h"

// Covers the tables, the family tree, process groups and sessions, and process states.
extern struct spinlock process_lock;
extern struct list_node process_list; // all, by pid; process_lock
extern struct process *init_process;  // pid 1

// A group exists as long as it has members. Its number and its session's number stay reserved.
struct process_group {
    int id, session;
    struct list_node members; // process->group_node
    struct list_node hash;
};

// All of these: process_lock is held. They return no reference.
struct process *process_find_locked(int pid);
struct world *world_find_locked(int tid);
struct process_group *group_find_locked(int pgrp);
bool group_is_orphaned_locked(struct process_group *g);

// Enters a new process with its first world into the tables: gives it pid and tid, and the parent's
// group. 0, -EAGAIN (no number free).
int process_enter_locked(struct process *p, struct world *leader);
// Takes a zombie out of the tables and the family and drops the tables' reference.
void process_release_locked(struct process *p);
// The same for a further thread: number and table only.
int world_enter_locked(struct world *w);
void world_leave_locked(struct world *w);
// After execve by a thread that is not the first: it takes over the number of the process.
void world_take_pid_locked(struct world *w, struct process *p);
// Moves p to group `pgrp` of `session`; makes the group if need be from `spare` (kzalloc'ed by the
// caller; whatever is left of it is stored back for the caller to free).
void group_join_locked(struct process *p, int pgrp, int session, struct process_group **spare);
// p leaves its group.
void group_leave_locked(struct process *p);

// A process structure with nothing in it, one reference, not in any table. NULL: out of memory.
struct process *process_alloc(void);

// Ends the calling thread; the process with it, when it is the last one.
noreturn void thread_exit(int status);
// The children that `p` leaves behind get a new parent. process_lock is held.
void process_set_parent_locked(struct process *p, struct process *parent);
