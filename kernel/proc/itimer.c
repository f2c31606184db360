// Interval timers of a process: setitimer, getitimer, alarm.
#include <asm/siginfo.h>
#include <linux/time.h>
#include "cpu/clock.h"
#include "cpu/percpu.h"
#include "proc/signal_internal.h"
#include "proc/time_calls.h"
#include "proc/user_time.h"
#include "syscall/syscall.h"

#define TICK_MAX 10000000ull // ns

void itimer_real_expired(struct timer *t) {
    struct process *p = t->arg;
    spin_lock(&p->signal_lock);
    if (p->real_deadline) {
        signal_send_locked(p, NULL, SIGALRM, NULL);
        if (p->real_interval) {
            uint64_t now = clock_monotonic();
            uint64_t missed = (now - p->real_deadline) / p->real_interval;
            p->real_deadline += (missed + 1) * p->real_interval;
            timer_arm(t, p->real_deadline);
        } else {
            p->real_deadline = 0;
        }
    }
    spin_unlock(&p->signal_lock);
}

static void spend(struct process *p, struct cpu_itimer *t, uint64_t ns, int sig) {
    if (!t->left)
        return;
    if (t->left > ns) {
        t->left -= ns;
        return;
    }
    t->left = t->interval;
    signal_send_locked(p, NULL, sig, NULL);
}

void process_tick(struct world *w, bool user, uint64_t ns) {
    struct process *p = w->process;
    ns = MIN(ns, TICK_MAX); // the processor may have been idle since its last tick
    if (!READ_ONCE(p->virtual_timer.left) && !READ_ONCE(p->prof_timer.left))
        return;
    spin_lock(&p->signal_lock);
    if (user)
        spend(p, &p->virtual_timer, ns, SIGVTALRM);
    spend(p, &p->prof_timer, ns, SIGPROF);
    spin_unlock(&p->signal_lock);
}

void itimer_cancel_all(struct process *p) {
    spin_lock(&p->signal_lock);
    p->real_deadline = p->real_interval = 0;
    p->virtual_timer = p->prof_timer = (struct cpu_itimer){0, 0};
    spin_unlock(&p->signal_lock);
    timer_cancel(&p->real_timer); // waits for a running expiry, which takes signal_lock
}

struct itimer_value {
    uint64_t left, interval; // ns; left 0: not armed
};

static struct itimer_value get_locked(struct process *p, int which) {
    if (which == ITIMER_VIRTUAL)
        return (struct itimer_value){p->virtual_timer.left, p->virtual_timer.interval};
    if (which == ITIMER_PROF)
        return (struct itimer_value){p->prof_timer.left, p->prof_timer.interval};
    uint64_t now = clock_monotonic(), left = 0;
    if (p->real_deadline) // one that is about to expire still shows as armed
        left = p->real_deadline > now ? p->real_deadline - now : 1000;
    return (struct itimer_value){left, p->real_interval};
}

static struct itimer_value set(int which, const struct itimer_value *value) {
    struct process *p = current_process();
    mutex_lock(&p->timer_lock);
    if (which == ITIMER_REAL)
        timer_cancel(&p->real_timer);
    spin_lock(&p->signal_lock);
    struct itimer_value old = get_locked(p, which);
    if (which == ITIMER_REAL) {
        p->real_interval = MIN(value->interval, BIT(62)); // sums with it cannot overflow
        p->real_deadline = value->left ? time_after(clock_monotonic(), value->left) : 0;
        if (value->left)
            timer_arm(&p->real_timer, p->real_deadline);
    } else {
        struct cpu_itimer *t = which == ITIMER_VIRTUAL ? &p->virtual_timer : &p->prof_timer;
        *t = (struct cpu_itimer){value->left, value->interval};
    }
    spin_unlock(&p->signal_lock);
    mutex_unlock(&p->timer_lock);
    return old;
}

static int timeval_to_ns(const struct __kernel_old_timeval *t, uint64_t *ns) {
    if (t->tv_usec < 0 || t->tv_usec >= 1000000)
        return -EINVAL;
    struct __kernel_timespec ts = {t->tv_sec, t->tv_usec * 1000};
    return timespec_to_ns(&ts, ns);
}

static int put_itimer(void __user *to, const struct itimer_value *v) {
    // Rounded up: a timer that runs never shows zero.
    struct __kernel_old_itimerval out = {ns_to_timeval(v->interval), ns_to_timeval(v->left + 999)};
    if (!v->left)
        out.it_value = ns_to_timeval(0);
    return copy_to_user(to, &out, sizeof(out));
}

long sys_setitimer(int which, const void __user *in, void __user *out) {
    struct __kernel_old_itimerval user = {{0, 0}, {0, 0}};
    struct itimer_value value;
    if (which != ITIMER_REAL && which != ITIMER_VIRTUAL && which != ITIMER_PROF)
        return -EINVAL;
    if (in && copy_from_user(&user, in, sizeof(user)))
        return -EFAULT;
    if (timeval_to_ns(&user.it_value, &value.left) ||
        timeval_to_ns(&user.it_interval, &value.interval))
        return -EINVAL;
    struct itimer_value old = set(which, &value);
    return out ? put_itimer(out, &old) : 0;
}

long sys_getitimer(int which, void __user *out) {
    struct process *p = current_process();
    if (which != ITIMER_REAL && which != ITIMER_VIRTUAL && which != ITIMER_PROF)
        return -EINVAL;
    spin_lock(&p->signal_lock);
    struct itimer_value value = get_locked(p, which);
    spin_unlock(&p->signal_lock);
    return put_itimer(out, &value);
}

long sys_alarm(unsigned seconds) {
    struct itimer_value value = {seconds * NSEC_PER_SEC, 0};
    struct itimer_value old = set(ITIMER_REAL, &value);
    // Rounded to the nearest second, but never to 0 while it runs.
    return old.left ? (long)MAX((old.left + NSEC_PER_SEC / 2) / NSEC_PER_SEC, 1ull) : 0;
}
