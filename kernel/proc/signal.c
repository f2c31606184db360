// Sending signals.
#include "proc/process.h"
#include "cpu/percpu.h"
#include "lib/string.h"
#include "proc/signal_internal.h"
#include "proc/table.h"

const char *signal_name(int sig) {
    static const char *const names[] = {
        "signal 0",  "SIGHUP",  "SIGINT",    "SIGQUIT", "SIGILL",   "SIGTRAP", "SIGABRT", "SIGBUS",
        "SIGFPE",    "SIGKILL", "SIGUSR1",   "SIGSEGV", "SIGUSR2",  "SIGPIPE", "SIGALRM", "SIGTERM",
        "SIGSTKFLT", "SIGCHLD", "SIGCONT",   "SIGSTOP", "SIGTSTP",  "SIGTTIN", "SIGTTOU", "SIGURG",
        "SIGXCPU",   "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",   "SIGPWR",  "SIGSYS",
    };
    _Static_assert(ARRAY_SIZE(names) == SIGNAL_RT_MIN, "one name per signal");
    return sig >= 0 && sig < SIGNAL_RT_MIN ? names[sig] : "real-time signal";
}

bool world_must_end(const struct world *w) {
    const struct process *p = w->process;
    struct world *exec = READ_ONCE(p->exec_world);
    return READ_ONCE(p->exiting) || (exec && exec != w);
}

bool signal_pending(const struct world *w) {
    const struct process *p = w->process;
    if (!p)
        return false;
    const struct world_signals *s = &w->signals;
    signal_set pending = READ_ONCE(s->pending) | READ_ONCE(p->pending);
    if (pending & (~READ_ONCE(s->blocked) | READ_ONCE(s->waiting_for)))
        return true;
    return world_must_end(w) || (READ_ONCE(p->stopping) && !s->stopped);
}

bool signal_kill_pending(const struct world *w) {
    signal_set pending = READ_ONCE(w->signals.pending) | READ_ONCE(w->process->pending);
    return (pending & SIGNAL_BIT(SIGKILL)) || world_must_end(w);
}

// Drops the signals of `set` from all queues of a process. signal_lock is held.
static void discard_everywhere(struct process *p, signal_set set) {
    struct world *w;
    signal_discard(&p->pending, &p->signal_queue, set, &p->queued_signals);
    list_for_each (w, &p->worlds, process_node) {
        signal_discard(&w->signals.pending, &w->signals.queue, set, &p->queued_signals);
    }
}

void signal_flush_process(struct process *p, signal_set set) {
    discard_everywhere(p, set);
}

bool signal_default_ignored(int sig) {
    return SIGNALS_IGNORED_BY_DEFAULT & SIGNAL_BIT(sig);
}

// True when sending would have no effect at all. A blocked signal is kept whatever its action,
// which may change before it is unblocked. signal_lock is held.
static bool has_no_effect(struct process *p, struct world *to, int sig) {
    struct world *w = to ? to : p->leader;
    uint64_t handler = p->actions[sig - 1].handler;
    if (w && ((w->signals.blocked | w->signals.waiting_for) & SIGNAL_BIT(sig)))
        return false; // the first program's too: it may take them with sigtimedwait
    if (p == init_process && handler == (uint64_t)SIG_DFL)
        return true; // otherwise it gets only what it has a handler for
    if (handler == (uint64_t)SIG_DFL)
        return signal_default_ignored(sig);
    return handler == (uint64_t)SIG_IGN && !(SIGNAL_BIT(sig) & SIGNALS_UNMASKABLE);
}

static bool accepts(const struct world *w, int sig) {
    return !(w->signals.blocked & SIGNAL_BIT(sig)) || (w->signals.waiting_for & SIGNAL_BIT(sig));
}

// Gets a thread to look at its signals soon. signal_lock is held.
static void alert(struct process *p, struct world *to, int sig) {
    struct world *w;
    if (sig == SIGKILL) {
        list_for_each (w, &p->worlds, process_node)
            world_interrupt(w);
        waitq_wake(&p->stop_wait, 0);
    } else if (to) {
        if (accepts(to, sig))
            world_interrupt(to);
    } else if (p->leader && accepts(p->leader, sig)) {
        world_interrupt(p->leader);
    } else {
        list_for_each (w, &p->worlds, process_node) {
            if (accepts(w, sig)) {
                world_interrupt(w);
                break;
            }
        }
    }
}

// SIGCONT: whatever its action is, the process runs on. signal_lock is held.
static void resume(struct process *p) {
    if (!p->stopping)
        return;
    p->stopping = false;
    if (p->state == PROCESS_STOPPED) {
        p->state = PROCESS_ALIVE;
        p->continued = p->stop_notify = true; // a resumed thread tells the parent
    }
    waitq_wake(&p->stop_wait, 0);
}

int signal_send_locked(struct process *p, struct world *to, int sig, const siginfo_t *info) {
    ASSERT(spin_held(&p->signal_lock) && sig > 0 && sig <= SIGNAL_COUNT);
    if (list_empty(&p->worlds))
        return 0; // a zombie
    if (SIGNALS_STOP & SIGNAL_BIT(sig)) {
        discard_everywhere(p, SIGNAL_BIT(SIGCONT));
    } else if (sig == SIGCONT) {
        discard_everywhere(p, SIGNALS_STOP);
        resume(p);
    }
    if (has_no_effect(p, to, sig))
        return 0;
    uint64_t limit = p->limits[RLIMIT_SIGPENDING].rlim_cur;
    int err = to ? signal_enqueue(&to->signals.pending, &to->signals.queue, sig, info,
                                  &p->queued_signals, limit)
                 : signal_enqueue(&p->pending, &p->signal_queue, sig, info, &p->queued_signals,
                                  limit);
    if (err)
        return err;
    waitq_wake(&p->signal_wait, 0);
    alert(p, to, sig);
    return 0;
}

int signal_send_process(struct process *p, int sig, const siginfo_t *info) {
    spin_lock(&p->signal_lock);
    int err = signal_send_locked(p, NULL, sig, info);
    spin_unlock(&p->signal_lock);
    return err;
}

int signal_send_world(struct world *w, int sig, const siginfo_t *info) {
    struct process *p = w->process;
    if (!p)
        return -ESRCH;
    spin_lock(&p->signal_lock);
    int err = signal_send_locked(p, w, sig, info);
    spin_unlock(&p->signal_lock);
    return err;
}

int signal_send_group_locked(struct process_group *g, int sig, const siginfo_t *info) {
    struct process *p;
    if (!g)
        return -ESRCH;
    list_for_each (p, &g->members, group_node)
        signal_send_process(p, sig, info);
    return 0;
}

int signal_send_group(int pgrp, int sig, const siginfo_t *info) {
    spin_lock(&process_lock);
    int err = signal_send_group_locked(group_find_locked(pgrp), sig, info);
    spin_unlock(&process_lock);
    return err;
}

void signal_force_info(int sig, const siginfo_t *info) {
    struct world *w = current;
    struct process *p = w->process;
    spin_lock(&p->signal_lock);
    struct sigaction_entry *a = &p->actions[sig - 1];
    bool blocked = w->signals.blocked & SIGNAL_BIT(sig);
    if (blocked || a->handler == (uint64_t)SIG_IGN) {
        a->handler = (uint64_t)SIG_DFL;
        w->signals.blocked &= ~SIGNAL_BIT(sig);
    }
    signal_enqueue(&w->signals.pending, &w->signals.queue, sig, info, &p->queued_signals,
                   UINT64_MAX);
    spin_unlock(&p->signal_lock);
}

void signal_force(int sig, int code, uint64_t addr) {
    siginfo_t info;
    memset(&info, 0, sizeof(info));
    info.si_signo = sig;
    info.si_code = code;
    info.si_addr = (void *)addr;
    signal_force_info(sig, &info);
}

bool signal_is_ignored(int sig) {
    struct world *w = current;
    return (w->signals.blocked & SIGNAL_BIT(sig)) ||
           READ_ONCE(w->process->actions[sig - 1].handler) == (uint64_t)SIG_IGN;
}

void signal_notify_parent_locked(struct process *p, int code, int status) {
    ASSERT(spin_held(&process_lock));
    struct process *parent = p->parent;
    if (!parent)
        return;
    bool ended = code == CLD_EXITED || code == CLD_KILLED || code == CLD_DUMPED;
    int sig = ended ? p->exit_signal : SIGCHLD;
    siginfo_t info;
    memset(&info, 0, sizeof(info));
    info.si_signo = sig;
    info.si_code = code;
    info.si_pid = p->pid;
    info.si_uid = p->uid;
    info.si_status = status;
    info.si_utime = (long)(p->user_time / 10000000);
    info.si_stime = (long)(p->system_time / 10000000);
    spin_lock(&parent->signal_lock);
    bool quiet = !ended && (parent->actions[SIGCHLD - 1].flags & SA_NOCLDSTOP);
    if (sig && !quiet)
        signal_send_locked(parent, NULL, sig, &info);
    spin_unlock(&parent->signal_lock);
    waitq_wake(&parent->child_wait, 0);
}
