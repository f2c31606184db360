#include "proc/posix_timer.h"
#include <linux/time.h>
#include "cpu/clock.h"
#include "cpu/percpu.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "proc/signal_internal.h"
#include "proc/table.h"
#include "proc/time_calls.h"
#include "proc/user_time.h"
#include "syscall/syscall.h"

#define TIMERS_MAX   256    // of one process
#define INTERVAL_MIN 100000 // ns; when nobody takes the signals, the timer does not run faster

// In process->posix_timers. Fields: signal_lock, unless a call holds timer_lock and only reads.
struct posix_timer {
    struct list_node node;
    struct process *process;
    struct timer timer;
    int id, clock;
    int notify, signal, tid; // SIGEV_*
    sigval_t value;
    uint64_t deadline; // monotonic; 0: not armed
    uint64_t interval;
    int overrun; // of the last delivered signal
    bool queued; // its signal is pending: the next round starts at its delivery
};

static struct posix_timer *find(struct process *p, int id) {
    struct posix_timer *t;
    list_for_each (t, &p->posix_timers, node) {
        if (t->id == id)
            return t;
    }
    return NULL;
}

// The next deadline after `now`; returns how many were missed. signal_lock is held.
static uint64_t forward(struct posix_timer *t, uint64_t now) {
    uint64_t missed = now > t->deadline ? (now - t->deadline) / t->interval : 0;
    t->deadline += (missed + 1) * t->interval;
    return missed;
}

static void rearm_idle(struct posix_timer *t) {
    forward(t, clock_monotonic());
    timer_arm(&t->timer, MAX(t->deadline, clock_monotonic() + INTERVAL_MIN));
}

// signal_lock is held. True: the signal is now pending.
static bool send(struct posix_timer *t) {
    struct process *p = t->process;
    struct world *to = NULL, *w;
    siginfo_t info;
    memset(&info, 0, sizeof(info));
    info.si_signo = t->signal;
    info.si_code = SI_TIMER;
    info.si_tid = t->id;
    info.si_value = t->value;
    if (t->notify == SIGEV_THREAD_ID) {
        list_for_each (w, &p->worlds, process_node) {
            if (w->tid == t->tid)
                to = w;
        }
        if (!to)
            return false;
    }
    signal_send_locked(p, to, t->signal, &info);
    signal_set pending = to ? to->signals.pending : p->pending;
    return pending & SIGNAL_BIT(t->signal);
}

static void expired(struct timer *timer) {
    struct posix_timer *t = timer->arg;
    struct process *p = t->process;
    spin_lock(&p->signal_lock);
    if (t->deadline) {
        t->queued = t->notify != SIGEV_NONE && send(t);
        if (!t->interval)
            t->deadline = 0;
        else if (!t->queued)
            rearm_idle(t);
    }
    spin_unlock(&p->signal_lock);
}

void posix_timer_delivered(struct process *p, siginfo_t *info) {
    spin_lock(&p->signal_lock);
    struct posix_timer *t = find(p, info->si_tid);
    if (t && t->queued) {
        t->queued = false;
        t->overrun = 0;
        if (t->interval && t->deadline) {
            t->overrun = (int)MIN(forward(t, clock_monotonic()), (uint64_t)INT32_MAX);
            timer_arm(&t->timer, t->deadline);
        }
        info->si_overrun = t->overrun;
    }
    spin_unlock(&p->signal_lock);
}

// timer_lock is held.
static void delete (struct process *p, struct posix_timer *t) {
    spin_lock(&p->signal_lock);
    list_remove(&t->node);
    t->deadline = 0;
    spin_unlock(&p->signal_lock);
    timer_cancel(&t->timer);
    kfree(t);
}

void posix_timers_delete_all(struct process *p) {
    struct posix_timer *t, *next;
    if (list_empty(&p->posix_timers))
        return;
    mutex_lock(&p->timer_lock);
    list_for_each_safe(t, next, &p->posix_timers, node) delete (p, t);
    mutex_unlock(&p->timer_lock);
}

static int check_event(const struct sigevent *e) {
    if (e->sigev_notify != SIGEV_NONE && (e->sigev_signo < 1 || e->sigev_signo > SIGNAL_COUNT))
        return -EINVAL;
    if (e->sigev_notify == SIGEV_THREAD_ID) {
        spin_lock(&process_lock);
        struct world *w = world_find_locked(e->_sigev_un._tid);
        bool ours = w && w->process == current_process();
        spin_unlock(&process_lock);
        return ours ? 0 : -EINVAL;
    }
    return e->sigev_notify == SIGEV_NONE || e->sigev_notify == SIGEV_SIGNAL ||
                   e->sigev_notify == SIGEV_THREAD
               ? 0
               : -EINVAL;
}

static void add(struct process *p, struct posix_timer *t) {
    mutex_lock(&p->timer_lock);
    spin_lock(&p->signal_lock);
    while (find(p, p->next_timer_id))
        p->next_timer_id = (p->next_timer_id + 1) & INT32_MAX;
    t->id = p->next_timer_id;
    p->next_timer_id = (p->next_timer_id + 1) & INT32_MAX;
    list_add_tail(&p->posix_timers, &t->node);
    spin_unlock(&p->signal_lock);
    mutex_unlock(&p->timer_lock);
}

static unsigned count(struct process *p) {
    struct posix_timer *t;
    unsigned n = 0;
    mutex_lock(&p->timer_lock);
    list_for_each (t, &p->posix_timers, node)
        n++;
    mutex_unlock(&p->timer_lock);
    return n;
}

long sys_timer_create(int clock, void __user *event, int __user *id) {
    struct process *p = current_process();
    struct sigevent e;
    memset(&e, 0, sizeof(e));
    e.sigev_notify = SIGEV_SIGNAL;
    e.sigev_signo = SIGALRM;
    if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID || clock < 0)
        return -EOPNOTSUPP;
    uint64_t now;
    if (clock_read(clock, &now))
        return -EINVAL;
    if (event && copy_from_user(&e, event, sizeof(e)))
        return -EFAULT;
    int err = check_event(&e);
    if (err)
        return err;
    struct posix_timer *t = count(p) < TIMERS_MAX ? kzalloc(sizeof(*t)) : NULL;
    if (!t)
        return -EAGAIN;
    t->process = p;
    t->clock = clock;
    t->notify = e.sigev_notify;
    t->signal = e.sigev_signo;
    t->tid = e._sigev_un._tid;
    t->value = e.sigev_value;
    timer_init(&t->timer, expired, t);
    add(p, t);
    if (!event) // the default value is the timer's number
        t->value.sival_int = t->id;
    if (put_user(t->id, id)) {
        mutex_lock(&p->timer_lock);
        delete (p, t);
        mutex_unlock(&p->timer_lock);
        return -EFAULT;
    }
    return 0;
}

static struct __kernel_itimerspec value_locked(const struct posix_timer *t) {
    uint64_t now = clock_monotonic();
    uint64_t left = !t->deadline ? 0 : t->deadline > now ? t->deadline - now : 1;
    return (struct __kernel_itimerspec){ns_to_timespec(t->interval), ns_to_timespec(left)};
}

long sys_timer_settime(int id, int flags, const void __user *in, void __user *out) {
    struct process *p = current_process();
    struct __kernel_itimerspec user, old;
    uint64_t value, interval;
    if (!in)
        return -EINVAL;
    if (copy_from_user(&user, in, sizeof(user)))
        return -EFAULT;
    if (timespec_to_ns(&user.it_value, &value) || timespec_to_ns(&user.it_interval, &interval))
        return -EINVAL;
    mutex_lock(&p->timer_lock);
    struct posix_timer *t = find(p, id);
    if (!t) {
        mutex_unlock(&p->timer_lock);
        return -EINVAL;
    }
    spin_lock(&p->signal_lock);
    old = value_locked(t);
    t->deadline = 0; // an expiry that runs now does nothing
    spin_unlock(&p->signal_lock);
    timer_cancel(&t->timer);
    bool wall = t->clock == CLOCK_REALTIME || t->clock == CLOCK_TAI ||
                t->clock == CLOCK_REALTIME_ALARM;
    spin_lock(&p->signal_lock);
    t->interval = MIN(interval, BIT(62)); // sums with it cannot overflow
    t->queued = false;
    t->overrun = 0;
    if (value) {
        if (!(flags & TIMER_ABSTIME))
            t->deadline = time_after(clock_monotonic(), value);
        else
            t->deadline = wall ? realtime_to_monotonic(value) : value;
        timer_arm(&t->timer, t->deadline);
    }
    spin_unlock(&p->signal_lock);
    mutex_unlock(&p->timer_lock);
    return out ? copy_to_user(out, &old, sizeof(old)) : 0;
}

long sys_timer_gettime(int id, void __user *out) {
    struct process *p = current_process();
    struct __kernel_itimerspec value;
    spin_lock(&p->signal_lock);
    struct posix_timer *t = find(p, id);
    if (t)
        value = value_locked(t);
    spin_unlock(&p->signal_lock);
    return t ? copy_to_user(out, &value, sizeof(value)) : -EINVAL;
}

long sys_timer_getoverrun(int id) {
    struct process *p = current_process();
    spin_lock(&p->signal_lock);
    struct posix_timer *t = find(p, id);
    long overrun = t ? t->overrun : -EINVAL;
    spin_unlock(&p->signal_lock);
    return overrun;
}

long sys_timer_delete(int id) {
    struct process *p = current_process();
    mutex_lock(&p->timer_lock);
    struct posix_timer *t = find(p, id);
    if (t)
        delete (p, t);
    mutex_unlock(&p->timer_lock);
    return t ? 0 : -EINVAL;
}
