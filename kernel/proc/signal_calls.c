// System calls about signals.
#include "cpu/clock.h"
#include "cpu/percpu.h"
#include "cpu/trapframe.h"
#include "lib/string.h"
#include "mm/uaccess.h"
#include "proc/signal_internal.h"
#include "proc/table.h"
#include "proc/user_time.h"
#include "syscall/syscall.h"

// struct sigaction as the kernel ABI has it (<asm/signal.h>, struct sigaction of the kernel).
struct user_sigaction {
    uint64_t handler, flags, restorer, mask;
};

long sys_rt_sigaction(int sig, const void __user *act, void __user *old, size_t size) {
    struct process *p = current_process();
    struct user_sigaction new_action, old_action;
    if (size != sizeof(signal_set) || sig < 1 || sig > SIGNAL_COUNT)
        return -EINVAL;
    if (act) {
        if (SIGNAL_BIT(sig) & SIGNALS_UNMASKABLE)
            return -EINVAL;
        if (get_user(new_action, (const struct user_sigaction *)act))
            return -EFAULT;
    }
    struct sigaction_entry *a = &p->actions[sig - 1];
    spin_lock(&p->signal_lock);
    old_action = (struct user_sigaction){a->handler, a->flags, a->restorer, a->mask};
    if (act) {
        a->handler = new_action.handler;
        a->flags = new_action.flags;
        a->restorer = new_action.restorer;
        a->mask = new_action.mask & ~SIGNALS_UNMASKABLE;
        bool ignored = a->handler == (uint64_t)SIG_IGN ||
                       (a->handler == (uint64_t)SIG_DFL && signal_default_ignored(sig));
        if (ignored) // POSIX: a pending signal that becomes ignored is dropped
            signal_flush_process(p, SIGNAL_BIT(sig));
    }
    spin_unlock(&p->signal_lock);
    return old ? put_user(old_action, (struct user_sigaction *)old) : 0;
}

long sys_rt_sigprocmask(int how, const void __user *set, void __user *old, size_t size) {
    signal_set before = current->signals.blocked, mask;
    if (size != sizeof(signal_set))
        return -EINVAL;
    if (set) {
        if (get_user(mask, (const signal_set *)set))
            return -EFAULT;
        switch (how) {
        case SIG_BLOCK: signal_set_blocked(before | mask); break;
        case SIG_UNBLOCK: signal_set_blocked(before & ~mask); break;
        case SIG_SETMASK: signal_set_blocked(mask); break;
        default: return -EINVAL;
        }
    }
    return old ? put_user(before, (signal_set *)old) : 0;
}

long sys_rt_sigpending(void __user *set, size_t size) {
    signal_set pending = signal_pending_set() & current->signals.blocked;
    if (size > sizeof(signal_set))
        return -EINVAL;
    return copy_to_user(set, &pending, size);
}

int signal_use_mask(const void __user *mask, size_t size) {
    signal_set set;
    if (!mask)
        return 0;
    if (size != sizeof(signal_set))
        return -EINVAL;
    if (get_user(set, (const signal_set *)mask))
        return -EFAULT;
    struct world_signals *s = &current->signals;
    s->saved_blocked = s->blocked;
    s->restore_blocked = true;
    signal_set_blocked(set);
    return 0;
}

void signal_restore_mask(void) {
    struct world_signals *s = &current->signals;
    if (s->restore_blocked) {
        s->restore_blocked = false;
        signal_set_blocked(s->saved_blocked);
    }
}

// Sleeps until a signal comes that is not blocked.
static void sleep_for_signal(void) {
    struct waitq nobody = WAITQ_INIT(nobody);
    (void)wait_event_interruptible(&nobody, false);
}

long sys_rt_sigsuspend(const void __user *mask, size_t size) {
    if (!mask)
        return -EFAULT;
    int err = signal_use_mask(mask, size);
    if (err)
        return err;
    sleep_for_signal();
    return -ERESTARTNOHAND;
}

long sys_pause(void) {
    sleep_for_signal();
    return -ERESTARTNOHAND;
}

static bool try_dequeue(signal_set set, siginfo_t *info, int *sig) {
    return (*sig = signal_dequeue(set, info)) != 0;
}

long sys_rt_sigtimedwait(const void __user *set, void __user *uinfo, const void __user *timeout,
                         size_t size) {
    struct world *w = current;
    struct process *p = w->process;
    signal_set mask;
    uint64_t deadline = UINT64_MAX;
    siginfo_t info;
    int sig = 0;
    if (size != sizeof(signal_set))
        return -EINVAL;
    if (get_user(mask, (const signal_set *)set))
        return -EFAULT;
    mask &= ~SIGNALS_UNMASKABLE;
    if (timeout) {
        uint64_t ns;
        int err = user_timespec(timeout, &ns);
        if (err)
            return err;
        deadline = time_after(clock_monotonic(), ns);
    }
    spin_lock(&p->signal_lock);
    w->signals.waiting_for = mask;
    spin_unlock(&p->signal_lock);
    int err = 0;
    if (!try_dequeue(mask, &info, &sig)) {
        err = wait_event_until(&p->signal_wait, signal_pending_set() & mask, deadline);
        try_dequeue(mask, &info, &sig);
    }
    spin_lock(&p->signal_lock);
    w->signals.waiting_for = 0;
    spin_unlock(&p->signal_lock);
    if (!sig)
        return err == -ETIMEDOUT ? -EAGAIN : -EINTR;
    if (uinfo && copy_to_user(uinfo, &info, sizeof(info)))
        return -EFAULT;
    return sig;
}

// ---- sending ----------------------------------------------------------------------------------

// May the caller send sig to p? (root, the same user, or SIGCONT within the session)
static bool may_signal(const struct process *p, int sig) {
    const struct process *me = current_process();
    const struct credentials *c = &me->credentials, *t = &p->credentials;
    return c->euid == 0 || c->euid == t->uid || c->euid == t->suid || c->uid == t->uid ||
           c->uid == t->suid || (sig == SIGCONT && me->session == p->session);
}

static void user_info(siginfo_t *info, int sig, int code) {
    memset(info, 0, sizeof(*info));
    info->si_signo = sig;
    info->si_code = code;
    info->si_pid = current_process()->pid;
    info->si_uid = current_process()->uid;
}

// To one process; sig 0 only asks. process_lock is held.
static int send_one(struct process *p, int sig, const siginfo_t *info) {
    if (!may_signal(p, sig))
        return -EPERM;
    return sig ? signal_send_process(p, sig, info) : 0;
}

// Members of a group, or every process but init and the caller (g NULL). process_lock is held.
static int send_many(struct process_group *g, int sig, const siginfo_t *info) {
    struct process *p;
    int result = -ESRCH;
    if (g) {
        list_for_each (p, &g->members, group_node) {
            int err = send_one(p, sig, info);
            result = result == 0 ? 0 : err;
        }
    } else {
        list_for_each (p, &process_list, all_node) {
            if (p == init_process || p == current_process())
                continue;
            int err = send_one(p, sig, info);
            result = result == 0 || err == -EPERM ? 0 : err;
        }
    }
    return result;
}

long sys_kill(int pid, int sig) {
    siginfo_t info;
    int err = -ESRCH;
    if (sig < 0 || sig > SIGNAL_COUNT)
        return -EINVAL;
    if (pid == INT32_MIN)
        return -ESRCH;
    user_info(&info, sig, SI_USER);
    spin_lock(&process_lock);
    if (pid > 0) {
        struct process *p = process_find_locked(pid);
        if (!p) { // a thread's number stands for its process, as in Linux
            struct world *w = world_find_locked(pid);
            p = w ? w->process : NULL;
        }
        if (p)
            err = send_one(p, sig, &info);
    } else if (pid == -1) {
        err = send_many(NULL, sig, &info);
    } else {
        struct process_group *g = group_find_locked(pid ? -pid : current_process()->pgrp);
        if (g)
            err = send_many(g, sig, &info);
    }
    spin_unlock(&process_lock);
    return err;
}

// tgid 0: any.
static long send_thread(int tgid, int tid, int sig, const siginfo_t *info) {
    int err = -ESRCH;
    if (tid <= 0 || sig < 0 || sig > SIGNAL_COUNT)
        return -EINVAL;
    spin_lock(&process_lock);
    struct world *w = world_find_locked(tid);
    if (w && (!tgid || w->process->pid == tgid)) {
        err = may_signal(w->process, sig) ? 0 : -EPERM;
        if (!err && sig)
            err = signal_send_world(w, sig, info);
    }
    spin_unlock(&process_lock);
    return err;
}

long sys_tgkill(int tgid, int tid, int sig) {
    siginfo_t info;
    if (tgid <= 0)
        return -EINVAL;
    user_info(&info, sig, SI_TKILL);
    return send_thread(tgid, tid, sig, &info);
}

long sys_tkill(int tid, int sig) {
    siginfo_t info;
    user_info(&info, sig, SI_TKILL);
    return send_thread(0, tid, sig, &info);
}

// Programs may not pretend to be the kernel or kill() towards others.
static bool forged(int target, const siginfo_t *info) {
    return (info->si_code >= 0 || info->si_code == SI_TKILL) && target != current_process()->pid;
}

long sys_rt_sigqueueinfo(int pid, int sig, const void __user *uinfo) {
    siginfo_t info;
    int err = -ESRCH;
    if (sig < 0 || sig > SIGNAL_COUNT)
        return -EINVAL;
    if (copy_from_user(&info, uinfo, sizeof(info)))
        return -EFAULT;
    info.si_signo = sig;
    if (forged(pid, &info))
        return -EPERM;
    spin_lock(&process_lock);
    struct process *p = process_find_locked(pid);
    if (p)
        err = send_one(p, sig, &info);
    spin_unlock(&process_lock);
    return err;
}

long sys_rt_tgsigqueueinfo(int tgid, int tid, int sig, const void __user *uinfo) {
    siginfo_t info;
    if (tgid <= 0 || tid <= 0)
        return -EINVAL;
    if (copy_from_user(&info, uinfo, sizeof(info)))
        return -EFAULT;
    info.si_signo = sig;
    if (forged(tgid, &info))
        return -EPERM;
    return send_thread(tgid, tid, sig, &info);
}

// ---- others -----------------------------------------------------------------------------------

#define ALTSTACK_MIN 2048 // MINSIGSTKSZ of x86-64

long sys_sigaltstack(const void __user *new_stack, void __user *old_stack) {
    struct world *w = current;
    stack_t *alt = &w->signals.altstack;
    uint64_t sp = w->frame->rsp, base = (uint64_t)alt->ss_sp;
    bool on_it = alt->ss_size && sp > base && sp - base <= alt->ss_size;
    stack_t old, st;
    memset(&old, 0, sizeof(old)); // padding goes to user memory
    old.ss_sp = alt->ss_sp;
    old.ss_size = alt->ss_size;
    old.ss_flags = alt->ss_size ? (alt->ss_flags & (int)SS_AUTODISARM) | (on_it ? SS_ONSTACK : 0)
                                : SS_DISABLE;
    if (new_stack) {
        if (get_user(st, (const stack_t *)new_stack))
            return -EFAULT;
        int mode = st.ss_flags & ~(int)SS_AUTODISARM;
        if (on_it && !(alt->ss_flags & (int)SS_AUTODISARM))
            return -EPERM;
        if (mode != 0 && mode != SS_ONSTACK && mode != SS_DISABLE)
            return -EINVAL;
        if (mode == SS_DISABLE)
            memset(&st, 0, sizeof(st)), st.ss_flags = SS_DISABLE;
        else if (st.ss_size < ALTSTACK_MIN)
            return -ENOMEM;
        else
            st.ss_flags &= (int)SS_AUTODISARM;
        *alt = st;
    }
    return old_stack ? copy_to_user(old_stack, &old, sizeof(old)) : 0;
}

long sys_restart_syscall(void) {
    struct syscall_restart *r = &current->signals.restart;
    return r->fn ? r->fn(r) : -EINTR;
}
