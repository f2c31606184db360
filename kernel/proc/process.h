// A process: what its threads (worlds) share. Identifiers, family, files, memory, signal handlers.
//
// Locks: P: process_lock (proc/process.c). S: this process's signal_lock. -: set once before others
// can see the process. O: only threads of the process itself, one at a time by construction.
// A: read and written as one word, atomically. Order: process_lock, then signal_lock, then those of
// wait queues, run queues and timers.
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
struct pool;
struct process_group;
struct space;
struct tty;
struct world;

enum process_state { PROCESS_ALIVE, PROCESS_STOPPED, PROCESS_ZOMBIE };

#define GROUPS_MAX 32 // supplementary groups of a process

struct credentials {
    uint32_t uid, euid, suid, fsuid;
    uint32_t gid, egid, sgid, fsgid;
    uint32_t group_count;
    uint32_t groups[GROUPS_MAX];
};

struct process {
    uint32_t refs;            // A
    int pid;                  // -
    int pgrp, session;        // P
    int ppid;                 // A: pid of ->parent, 0: none; what getppid() returns
    enum process_state state; // P and S to write, A to read
    char name[16];            // as of execve; A
    struct process *parent;   // P, and so the family below
    struct list_node children, sibling, all_node, group_node;
    struct process_group *group; // P
    struct list_node worlds;     // S: live threads
    unsigned thread_count;       // S
    struct world *leader;        // S: the thread with tid == pid, NULL when it has ended
    int exit_code;               // S until a zombie, then P: wait status
    union {                      // what its threads must heed before they go on in user mode
        struct {
            bool exiting;  // S: all are to end
            bool stopping; // S: all are to stop
        };
        uint64_t demands; // not 0: something of it
    };
    bool execed;                   // A: has called execve since fork
    bool stop_notify;              // S: the parent is still to be told of a stop
    bool stop_reported;            // P: wait4 has reported the stop
    bool continued;                // P: WCONTINUED may report
    uint8_t stop_signal;           // S
    unsigned stopped_count;        // S: threads that have stopped
    struct waitq stop_wait;        // stopped threads sleep here
    int exit_signal;               // - to the parent at the end: SIGCHLD; 0: none
    int parent_death_signal;       // A: prctl(PR_SET_PDEATHSIG)
    bool child_subreaper;          // P: prctl(PR_SET_CHILD_SUBREAPER)
    bool undumpable, no_new_privs; // A: prctl()
    bool files_shared;             // A: ->files was shared with another process (CLONE_FILES)
    uint32_t personality;          // A
    struct waitq child_wait;       // wait4 sleeps here
    bool vfork_pending;            // A: the parent waits until this is false
    struct waitq vfork_wait;       // ... here
    struct world *exec_world;      // S: the thread in execve that waits for the others to end

    struct space *space;                // O; NULL: kernel process, or ending
    struct file_table *files;           // O
    struct fs_context *fs;              // O: root, working directory, umask
    struct file *exe;                   // O
    struct tty *tty;                    // P: controlling terminal
    struct pool *pool;                  // P
    struct rlimit limits[RLIM_NLIMITS]; // S to write
    // The effective ones, for permission checks; copies of credentials.uid, gid, fsuid, fsgid.
    uint32_t uid, gid, euid, egid;
    struct credentials credentials; // S

    struct spinlock signal_lock; // handlers, pending sets of the process and its worlds, threads
    struct sigaction_entry {
        uint64_t handler, flags, restorer;
        signal_set mask;
    } actions[SIGNAL_COUNT];       // S
    signal_set pending;            // S to write, A to read
    struct list_node signal_queue; // S: struct queued_signal
    unsigned queued_signals;       // S: on all queues, against RLIMIT_SIGPENDING
    struct waitq signal_wait;      // signalfd, sigtimedwait

    struct mutex timer_lock; // taken by the calls about timers, before S
    struct timer real_timer; // ITIMER_REAL
    uint64_t real_interval;  // S
    uint64_t real_deadline;  // S: 0: not armed
    struct cpu_itimer {
        uint64_t left, interval; // S; ns of processor time; left 0: not armed
    } virtual_timer, prof_timer;
    struct list_node posix_timers;               // S
    int next_timer_id;                           // S
    uint64_t start_time;                         // - monotonic ns
    uint64_t user_time, system_time;             // S: ns of threads that have ended
    uint64_t child_user_time, child_system_time; // P: ns of children that were waited for
    uint64_t min_faults, maj_faults, switches;   // S: of threads that have ended
    uint64_t child_min_faults, child_maj_faults; // P
    struct mutex exec_lock; // held while execve replaces ->space, ->exe and ->name, and by
                            // whoever looks at them from another process
};

// The calling process; NULL in a kernel world.
struct process *current_process(void);
// By pid, with a reference, or NULL. Zombies are found too.
struct process *process_find(int pid);
void process_get(struct process *p);
// Drops a reference; the last one frees it. Any context that may take process_lock.
void process_put(struct process *p);
// Calls fn for every process with a lock held (must not sleep), in order of pid.
void process_for_each(void (*fn)(struct process *p, void *arg), void *arg);
// True when no member of the group has a living parent in another group of its session: nobody could
// continue it (terminals). True as well when there is no such group.
bool process_group_orphaned(int pgrp);
// There is a group `pgrp`, and it is in that session (terminals).
bool process_group_exists(int pgrp, int session);
// Ends the calling process (all its threads). status: as wait4 gives it.
noreturn void process_exit(int status);
// The timer interrupt found `w` running, in user mode or not; `ns` since the last tick on this
// processor. For ITIMER_VIRTUAL and ITIMER_PROF. Interrupt context.
void process_tick(struct world *w, bool user, uint64_t ns);
// Starts the first program as pid 1 with the given arguments and /dev/console as 0, 1, 2. Boot only.
// 0 or -errno. When pid 1 exits VMkernel says so and powers off.
int process_start_init(const char *path, char *const argv[], char *const envp[]);

// ---- for /proc/PID ----------------------------------------------------------------------------
// All of these take a process with a reference from any context that may sleep.

// The address space with a reference (space_put() it), or NULL: ending or a zombie.
struct space *process_space(struct process *p);
// The program's file with a reference, or NULL.
struct file *process_exe(struct process *p);

// The descriptor table and the directories with a reference, or NULL.
struct file_table *process_files(struct process *p);
struct fs_context *process_fs(struct process *p);

// A snapshot of the numbers that ps and top show.
struct process_info {
    int pid, ppid, pgrp, session;
    char state; // R S D T Z as in /proc/PID/stat
    char name[16];
    unsigned threads;
    int nice;
    unsigned cpu;                                                        // processor it last ran on
    uint64_t user_time, system_time, child_user_time, child_system_time; // ns
    uint64_t start_time;                                                 // monotonic ns
    uint64_t min_faults, maj_faults, child_min_faults, child_maj_faults, switches;
    uint64_t tty; // st_rdev of the controlling terminal, 0: none
    int tty_pgrp; // its foreground process group, -1: none
    signal_set pending, shared_pending, blocked, ignored, caught;
    struct credentials credentials;
    int exit_code, exit_signal;
};
void process_info(struct process *p, struct process_info *out);
// The same with name, state, times, faults and signals of one of its threads; false: no such thread.
bool process_thread_info(struct process *p, int tid, struct process_info *out);
// Thread ids of a process into ids[max]; returns how many there are.
unsigned process_threads(struct process *p, int *ids, unsigned max);
// Number of processes alive or zombie, and of threads; pid given out last.
unsigned process_count(void);
unsigned thread_count(void);
int process_last_pid(void);
