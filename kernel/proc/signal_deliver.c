// On the way back to user mode: acting on pending signals, and restarting system calls.
#include <asm/unistd.h>
#include "cpu/percpu.h"
#include "cpu/trapframe.h"
#include "lib/log.h"
#include "lib/string.h"
#include "proc/exit.h"
#include "proc/posix_timer.h"
#include "proc/signal_internal.h"
#include "proc/table.h"

#define SYSCALL_INSTRUCTION_LENGTH 2 // 0F 05

void signal_set_blocked(signal_set set) {
    struct world *w = current;
    spin_lock(&w->process->signal_lock);
    w->signals.blocked = set & ~SIGNALS_UNMASKABLE;
    spin_unlock(&w->process->signal_lock);
}

signal_set signal_pending_set(void) {
    return READ_ONCE(current->signals.pending) | READ_ONCE(current->process->pending);
}

// Takes the next signal of `set`; the thread's own before the process's. signal_lock is held.
static int dequeue_locked(struct process *p, struct world *w, signal_set set, siginfo_t *info) {
    struct world_signals *s = &w->signals;
    int sig = signal_next(s->pending & set);
    if (sig) {
        signal_take(&s->pending, &s->queue, sig, info, &p->queued_signals);
    } else {
        sig = signal_next(p->pending & set);
        if (sig)
            signal_take(&p->pending, &p->signal_queue, sig, info, &p->queued_signals);
    }
    return sig;
}

int signal_dequeue(signal_set set, siginfo_t *info) {
    struct world *w = current;
    struct process *p = w->process;
    spin_lock(&p->signal_lock);
    int sig = dequeue_locked(p, w, set & ~SIGNALS_UNMASKABLE, info);
    spin_unlock(&p->signal_lock);
    if (sig && info->si_code == SI_TIMER)
        posix_timer_delivered(p, info);
    return sig;
}

// ---- stopping ---------------------------------------------------------------------------------

bool signal_stop_complete(struct process *p) {
    if (!p->stopping || p->stopped_count < p->thread_count || p->state == PROCESS_STOPPED)
        return false;
    p->state = PROCESS_STOPPED;
    return true;
}

// Tells the parent that p has stopped or goes on, whichever holds now.
void signal_stop_notify(struct process *p) {
    spin_lock(&process_lock);
    if (p->state == PROCESS_STOPPED) {
        p->stop_reported = false;
        p->continued = false;
        signal_notify_parent_locked(p, CLD_STOPPED, p->stop_signal);
    } else if (p->state == PROCESS_ALIVE && p->continued) {
        signal_notify_parent_locked(p, CLD_CONTINUED, SIGCONT);
    }
    spin_unlock(&process_lock);
}

// The calling thread stops, if its process does, until SIGCONT or the end.
static void stop_here(struct process *p, struct world *w) {
    spin_lock(&p->signal_lock);
    if (!p->stopping || signal_kill_pending(w)) {
        spin_unlock(&p->signal_lock);
        return;
    }
    w->signals.stopped = true;
    p->stopped_count++;
    bool last = signal_stop_complete(p);
    spin_unlock(&p->signal_lock);
    if (last)
        signal_stop_notify(p);
    wait_event(&p->stop_wait, !READ_ONCE(p->stopping) || signal_kill_pending(w));

    spin_lock(&p->signal_lock);
    w->signals.stopped = false;
    p->stopped_count--;
    if (signal_kill_pending(w)) { // it ends: no longer stopped, and the other threads go with it
        p->stopping = false;
        if (p->state == PROCESS_STOPPED)
            p->state = PROCESS_ALIVE;
    }
    bool notify = p->stop_notify;
    p->stop_notify = false;
    spin_unlock(&p->signal_lock);
    if (notify)
        signal_stop_notify(p);
}

static void stop_process(struct process *p, int sig) {
    // A shell is needed to continue it: without one only SIGSTOP stops (POSIX).
    if (sig != SIGSTOP && process_group_orphaned(p->pgrp))
        return;
    struct world *w;
    spin_lock(&p->signal_lock);
    if (!p->stopping && !p->exiting && !(p->pending & SIGNAL_BIT(SIGCONT))) {
        p->stopping = true;
        p->stop_signal = sig;
        list_for_each (w, &p->worlds, process_node) {
            if (w != current)
                world_interrupt(w);
        }
    }
    spin_unlock(&p->signal_lock);
}

// ---- the actions ------------------------------------------------------------------------------

static void log_fatal(struct world *w, const struct trap_frame *frame, int sig,
                      const siginfo_t *info) {
    if (!(SIGNALS_CORE & SIGNAL_BIT(sig)))
        return;
    if (info->si_code > 0 && info->si_code != SI_KERNEL)
        log_notice("proc: %s[%d]: %s at ip %#llx addr %#llx sp %#llx", w->name, w->tid,
                   signal_name(sig), (unsigned long long)frame->rip,
                   (unsigned long long)(uint64_t)info->si_addr, (unsigned long long)frame->rsp);
    else
        log_notice("proc: %s[%d]: %s at ip %#llx", w->name, w->tid, signal_name(sig),
                   (unsigned long long)frame->rip);
}

// Does what the default action says. Returns when the process lives on.
static void default_action(struct trap_frame *frame, int sig, const siginfo_t *info) {
    struct world *w = current;
    struct process *p = w->process;
    if (signal_default_ignored(sig))
        return;
    bool fault = (SIGNALS_SYNCHRONOUS & SIGNAL_BIT(sig)) && info->si_code > 0;
    if (p == init_process && !fault)
        return; // blocked when it was sent; the first program is not killed by signals
    if (SIGNALS_STOP & SIGNAL_BIT(sig)) {
        stop_process(p, sig);
        return;
    }
    log_fatal(w, frame, sig, info);
    process_exit(sig); // the core flag (0x80) stays off: there are no core files
}

// One step of an interrupted call: what user mode will see when no handler runs.
static void restart_call(struct trap_frame *frame) {
    long result = (long)frame->rax;
    switch (result) {
    case -ERESTARTSYS:
    case -ERESTARTNOINTR:
    case -ERESTARTNOHAND: frame->rax = frame->vector; break;
    case -ERESTART_RESTARTBLOCK: frame->rax = __NR_restart_syscall; break;
    default: return;
    }
    frame->rip -= SYSCALL_INSTRUCTION_LENGTH;
}

// What an interrupted call returns, or whether it starts again, when a handler runs.
static void restart_after_handler(struct trap_frame *frame, uint64_t handler_flags) {
    long result = (long)frame->rax;
    bool again = result == -ERESTARTNOINTR ||
                 (result == -ERESTARTSYS && (handler_flags & SA_RESTART));
    if (again)
        restart_call(frame);
    else if (result == -ERESTARTSYS || result == -ERESTARTNOHAND ||
             result == -ERESTART_RESTARTBLOCK)
        frame->rax = -EINTR;
}

// Lets the handler of sig run. False: its frame cannot be built.
static bool run_handler(struct trap_frame *frame, int sig, const siginfo_t *info,
                        const struct sigaction_entry *action) {
    struct world *w = current;
    struct world_signals *s = &w->signals;
    if (frame_is_syscall(frame)) {
        restart_after_handler(frame, action->flags);
        frame->error = 0;
    }
    signal_set old = s->restore_blocked ? s->saved_blocked : s->blocked;
    if (sigframe_build(frame, action, sig, info, old) < 0)
        return false;
    s->restore_blocked = false;
    signal_set more = action->mask | (action->flags & SA_NODEFER ? 0 : SIGNAL_BIT(sig));
    signal_set_blocked(s->blocked | more);
    return true;
}

// Takes one signal that can be delivered, and its action; SA_RESETHAND applied. 0: none.
static int take_signal(struct process *p, struct world *w, siginfo_t *info,
                       struct sigaction_entry *action) {
    spin_lock(&p->signal_lock);
    int sig;
    if (p->pending & ~w->signals.blocked & SIGNAL_BIT(SIGKILL)) // before everything else
        sig = dequeue_locked(p, w, SIGNAL_BIT(SIGKILL), info);
    else
        sig = dequeue_locked(p, w, ~w->signals.blocked, info);
    if (sig) {
        struct sigaction_entry *a = &p->actions[sig - 1];
        *action = *a;
        if ((a->flags & SA_RESETHAND) && a->handler != (uint64_t)SIG_IGN)
            a->handler = (uint64_t)SIG_DFL;
    }
    spin_unlock(&p->signal_lock);
    if (sig && info->si_code == SI_TIMER)
        posix_timer_delivered(p, info);
    return sig;
}

void signal_deliver(struct trap_frame *frame) {
    struct world *w = current;
    struct process *p = w->process;
    struct sigaction_entry action;
    siginfo_t info;
    for (;;) {
        if (world_must_end(w))
            thread_exit(0);
        if (READ_ONCE(p->stopping)) {
            stop_here(p, w);
            continue;
        }
        int sig = take_signal(p, w, &info, &action);
        if (!sig)
            break;
        if (action.handler == (uint64_t)SIG_IGN)
            continue;
        if (action.handler == (uint64_t)SIG_DFL) {
            default_action(frame, sig, &info);
            continue;
        }
        if (run_handler(frame, sig, &info, &action))
            return;
        log_notice("proc: %s[%d]: no stack for the handler of %s", w->name, w->tid,
                   signal_name(sig));
        if (sig == SIGSEGV) // its handler cannot be told
            process_exit(SIGSEGV);
        signal_force(SIGSEGV, SI_KERNEL, 0);
    }
    if (frame_is_syscall(frame)) {
        restart_call(frame);
        frame->error = 0;
    }
    if (w->signals.restore_blocked) {
        w->signals.restore_blocked = false;
        signal_set_blocked(w->signals.saved_blocked);
    }
}
