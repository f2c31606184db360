// Signals: Linux's numbers, structures (asm/signal.h, asm/sigcontext.h) and semantics.
#pragma once
#include <asm/siginfo.h>
#include <asm/signal.h>
#include "lib/list.h"
#include "sync/spinlock.h"

struct process;
struct world;
struct trap_frame;

#define SIGNAL_COUNT 64
typedef uint64_t signal_set; // bit n-1 is signal n
#define SIGNAL_BIT(n) (1ull << ((n)-1))

// Of one world; covered by process->signal_lock.
struct world_signals {
    signal_set pending;  // sent to this very thread
    signal_set blocked;
    signal_set saved_blocked; // sigsuspend, ppoll: restored when no handler ran
    bool restore_blocked;
    struct list_node queue;   // struct queued_signal with siginfo
    stack_t altstack;
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
