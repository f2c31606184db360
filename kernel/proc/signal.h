// Signals: Linux's numbers, structures (asm/signal.h, asm/sigcontext.h) and semantics.
#pragma once
#include <linux/signal.h>
#include "lib/errno.h"
#include "lib/list.h"
#include "sync/spinlock.h"

struct process;
struct world;
struct trap_frame;

#define SIGNAL_COUNT 64
typedef uint64_t signal_set; // bit n-1 is signal n
#define SIGNAL_BIT(n) (1ull << ((n)-1))

// As ERESTARTSYS and its kin (lib/errno.h): no handler ran: call world->signals.restart.fn instead
// of the call itself, since part of its time is over (Linux's value).
#define ERESTART_RESTARTBLOCK 516

// How an interrupted call with a relative timeout goes on. Only the world itself uses it.
struct syscall_restart {
    long (*fn)(struct syscall_restart *r); // returns as a system call does
    uint64_t deadline;                     // monotonic ns
    void __user *remaining;                // where the rest of the time is stored, or NULL
    uint32_t args[3];                      // the call's own
    void __user *fds;                      // poll: its other arguments
    unsigned count;
};

// Of one world; covered by process->signal_lock.
struct world_signals {
    signal_set pending; // sent to this very thread
    signal_set blocked;
    signal_set saved_blocked; // sigsuspend, ppoll: restored when no handler ran
    bool restore_blocked;
    bool stopped;           // counted in process->stopped_count
    struct list_node queue; // struct queued_signal with siginfo
    signal_set waiting_for; // sigtimedwait: these interrupt the sleep although blocked
    stack_t altstack;
    struct syscall_restart restart;
};

// Sends to a process (any of its threads takes it) or to one world. info NULL: SI_KERNEL.
// 0, or -EAGAIN (queue full for real-time signals). Any context.
int signal_send_process(struct process *p, int sig, const siginfo_t *info);
int signal_send_world(struct world *w, int sig, const siginfo_t *info);
// To every process of a group (terminals, kill(-pgrp)). Returns 0 or -ESRCH.
int signal_send_group(int pgrp, int sig, const siginfo_t *info);
// A fault of the calling world: sends sig with si_addr even if blocked (then default action).
void signal_force(int sig, int code, uint64_t addr);
// True when the world should leave an interruptible sleep. Any context.
bool signal_pending(const struct world *w);
// On the way back to user mode: delivers or acts on pending signals, may not return (exit).
// Also restarts or fails an interrupted system call.
void signal_deliver(struct trap_frame *frame);

// ---- for calls that wait with another mask (ppoll, pselect6, epoll_pwait) and for signalfd ------
// Replaces the calling world's mask by the user's set of `size` bytes (must be 8; mask NULL: nothing
// is done) until the call ends: the old one comes back when the call returns, after a handler ran.
// 0, -EFAULT, -EINVAL.
int signal_use_mask(const void __user *mask, size_t size);
// The call did not end by a signal: puts the old mask back at once.
void signal_restore_mask(void);
// Takes the next pending signal of `set` from the calling world or its process. Its number, or 0.
int signal_dequeue(signal_set set, siginfo_t *info);
// Signals pending for the calling world and its process.
signal_set signal_pending_set(void);
// True when the calling world blocks or ignores sig (terminals: SIGTTOU, SIGTTIN).
bool signal_is_ignored(int sig);
