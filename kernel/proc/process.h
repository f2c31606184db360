// A process: what its threads (worlds) share. Identifiers, family, files, memory, signal handlers.
#pragma once
#include <linux/resource.h>
#include "lib/list.h"
#include "proc/signal.h"
#include "sched/timer.h"
#include "sync/mutex.h"
#include "sync/waitq.h"

struct file_table;
struct fs_context;
struct file;
struct space;
struct tty;
struct world;

enum process_state { PROCESS_ALIVE, PROCESS_STOPPED, PROCESS_ZOMBIE };

// Resource pool: a memory limit and a share for a tree of processes; children inherit it.
struct pool;

struct process {
    uint32_t refs;
    int pid, pgrp, session;
    enum process_state state;
    char name[16];               // as of execve
    struct process *parent;      // family: covered by process_lock (proc/process.c)
    struct list_node children, sibling, all_node, group_node;
    struct list_node worlds;     // live threads
    unsigned thread_count;
    int exit_code;               // wait status
    bool exiting, execed, stop_reported, continued;
    int exit_signal;             // to the parent at the end: SIGCHLD
    struct waitq child_wait;     // wait4 sleeps here
    struct waitq *vfork_done;

    struct space *space;         // NULL: kernel process
    struct file_table *files;
    struct fs_context *fs;       // root, working directory, umask
    struct file *exe;
    struct tty *tty;             // controlling terminal
    struct pool *pool;
    struct rlimit limits[RLIM_NLIMITS];
    uint32_t uid, gid, euid, egid;

    struct spinlock signal_lock; // handlers, pending sets of the process and its worlds
    struct sigaction_entry {
        uint64_t handler, flags, restorer;
        signal_set mask;
    } actions[SIGNAL_COUNT];
    signal_set pending;
    struct list_node signal_queue;
    struct waitq signal_wait;    // signalfd, sigtimedwait

    struct timer real_timer;     // ITIMER_REAL
    uint64_t real_interval;
    struct list_node posix_timers;
    uint64_t start_time;         // monotonic ns
    uint64_t user_time, system_time, child_user_time, child_system_time; // ns
    uint64_t min_faults, maj_faults;
};

// The calling process; NULL in a kernel world.
struct process *current_process(void);
// By pid, with a reference, or NULL.
struct process *process_find(int pid);
void process_get(struct process *p);
void process_put(struct process *p);
// Calls fn for every process with a lock held (must not sleep), in order of pid.
void process_for_each(void (*fn)(struct process *p, void *arg), void *arg);
// Ends the calling process (all its threads). status: as wait4 gives it.
noreturn void process_exit(int status);
// Starts the first program as pid 1 with the given arguments and /dev/console as 0, 1, 2. Boot only.
// 0 or -errno. When pid 1 exits VMkernel says so and powers off.
int process_start_init(const char *path, char *const argv[], char *const envp[]);
