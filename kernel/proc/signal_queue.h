// Pending signals as sets and queues, without locks: the caller holds process->signal_lock.
#pragma once
#include "proc/signal.h"

// Signals that several functions treat alike.
#define SIGNALS_STOP \
    (SIGNAL_BIT(SIGSTOP) | SIGNAL_BIT(SIGTSTP) | SIGNAL_BIT(SIGTTIN) | SIGNAL_BIT(SIGTTOU))
#define SIGNALS_IGNORED_BY_DEFAULT \
    (SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGCONT) | SIGNAL_BIT(SIGURG) | SIGNAL_BIT(SIGWINCH))
#define SIGNALS_CORE                                                                        \
    (SIGNAL_BIT(SIGQUIT) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGABRT) | \
     SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGXCPU) |  \
     SIGNAL_BIT(SIGXFSZ) | SIGNAL_BIT(SIGSYS))
#define SIGNALS_UNMASKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))
// Caused by the instruction that just ran: taken before all others.
#define SIGNALS_SYNCHRONOUS                                                                \
    (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGTRAP) | \
     SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGSYS))
#define SIGNAL_RT_MIN 32

struct queued_signal {
    struct list_node node;
    siginfo_t info;
};

// The signal of `set` that is to be taken next (synchronous ones, then by number); 0: none.
int signal_next(signal_set set);
// Adds sig to a pending set and its queue. Below SIGNAL_RT_MIN a signal that is pending already is
// dropped. *count is the process's number of queued entries and `limit` its bound. Without memory
// or beyond the limit the signal is pending without its siginfo; a real-time signal that a program
// queued itself (si_code < 0) then fails instead: -EAGAIN.
int signal_enqueue(signal_set *pending, struct list_node *queue, int sig, const siginfo_t *info,
                   unsigned *count, uint64_t limit);
// Takes sig, which is pending, out: its siginfo, or one that says SI_USER from pid 0 (as Linux).
void signal_take(signal_set *pending, struct list_node *queue, int sig, siginfo_t *info,
                 unsigned *count);
// Removes every signal of `set`.
void signal_discard(signal_set *pending, struct list_node *queue, signal_set set, unsigned *count);
