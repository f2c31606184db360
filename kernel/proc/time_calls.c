// Clocks and sleeping.
#include "proc/time_calls.h"
#include <asm/siginfo.h>
#include <linux/time.h>
#include "cpu/clock.h"
#include "cpu/percpu.h"
#include "ipc/ipc.h"
#include "proc/process.h"
#include "proc/table.h"
#include "proc/user_time.h"
#include "syscall/syscall.h"

#define COARSE_RESOLUTION 1000000 // ns; what the coarse clocks and the tick promise

// Clock numbers of other processes and threads: ~id << 3 | kind (clock_getcpuclockid(3)).
#define CPUCLOCK_ID(clock)     (~((clock) >> 3))
#define CPUCLOCK_THREAD(clock) ((clock)&4)

void process_times(struct process *p, uint64_t *user, uint64_t *system) {
    struct world *w;
    spin_lock(&p->signal_lock);
    *user = p->user_time;
    *system = p->system_time;
    list_for_each (w, &p->worlds, process_node) {
        uint64_t u, s;
        world_times(w, &u, &s);
        *user += u;
        *system += s;
    }
    spin_unlock(&p->signal_lock);
}

static uint64_t world_cpu_time(const struct world *w) {
    uint64_t user, system;
    world_times(w, &user, &system);
    return user + system;
}

static uint64_t process_cpu_time(struct process *p) {
    uint64_t user, system;
    process_times(p, &user, &system);
    return user + system;
}

static int read_cpu_clock(int clock, uint64_t *ns) {
    int id = CPUCLOCK_ID(clock), err = -EINVAL;
    if (CPUCLOCK_THREAD(clock)) {
        spin_lock(&process_lock);
        struct world *w = id ? world_find_locked(id) : current;
        if (w && w->process == current_process()) {
            *ns = world_cpu_time(w);
            err = 0;
        }
        spin_unlock(&process_lock);
        return err;
    }
    struct process *p = process_find(id ? id : current_process()->pid);
    if (!p)
        return -EINVAL;
    *ns = process_cpu_time(p);
    process_put(p);
    return 0;
}

int clock_read(int clock, uint64_t *ns) {
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_TAI: *ns = clock_realtime(); return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME_ALARM:
    case CLOCK_BOOTTIME: *ns = clock_monotonic(); return 0;
    case CLOCK_PROCESS_CPUTIME_ID: *ns = process_cpu_time(current_process()); return 0;
    case CLOCK_THREAD_CPUTIME_ID: *ns = world_cpu_time(current); return 0;
    default: return clock < 0 ? read_cpu_clock(clock, ns) : -EINVAL;
    }
}

long sys_clock_gettime(int clock, void __user *out) {
    uint64_t ns;
    int err = clock_read(clock, &ns);
    if (err)
        return err;
    struct __kernel_timespec t = ns_to_timespec(ns);
    return copy_to_user(out, &t, sizeof(t));
}

long sys_clock_getres(int clock, void __user *out) {
    uint64_t ns;
    int err = clock_read(clock, &ns);
    if (err || !out)
        return err;
    bool coarse = clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE;
    struct __kernel_timespec t = {0, coarse ? COARSE_RESOLUTION : 1};
    return copy_to_user(out, &t, sizeof(t));
}

static long set_wall_clock(uint64_t ns) {
    if (current_process()->euid != 0)
        return -EPERM;
    clock_set_realtime(ns);
    timerfd_clock_set();
    return 0;
}

long sys_clock_settime(int clock, const void __user *in) {
    uint64_t ns;
    if (clock != CLOCK_REALTIME)
        return -EINVAL;
    int err = user_timespec(in, &ns);
    return err ? err : set_wall_clock(ns);
}

long sys_gettimeofday(void __user *tv, void __user *tz) {
    struct __kernel_old_timeval t = ns_to_timeval(clock_realtime());
    struct timezone zone = {0, 0};
    if ((tv && copy_to_user(tv, &t, sizeof(t))) || (tz && copy_to_user(tz, &zone, sizeof(zone))))
        return -EFAULT;
    return 0;
}

long sys_settimeofday(const void __user *tv, const void __user *tz) {
    struct __kernel_old_timeval t;
    if (!tv)
        return 0; // only a time zone, which the kernel has no use for
    if (copy_from_user(&t, tv, sizeof(t)))
        return -EFAULT;
    if (t.tv_usec < 0 || t.tv_usec >= 1000000)
        return -EINVAL;
    struct __kernel_timespec ts = {t.tv_sec, t.tv_usec * 1000};
    uint64_t ns;
    int err = timespec_to_ns(&ts, &ns);
    return err ? err : set_wall_clock(ns);
}

long sys_time(long __user *out) {
    long now = (long)(clock_realtime() / NSEC_PER_SEC);
    return out && put_user(now, out) ? -EFAULT : now;
}

// ---- sleeping ---------------------------------------------------------------------------------

static long sleep_relative(struct syscall_restart *r) {
    int err = world_sleep_until(r->deadline);
    if (!err)
        return 0;
    if (r->remaining) {
        uint64_t now = clock_monotonic();
        struct __kernel_timespec t = ns_to_timespec(r->deadline > now ? r->deadline - now : 0);
        if (copy_to_user(r->remaining, &t, sizeof(t)))
            return -EFAULT;
    }
    return -ERESTART_RESTARTBLOCK;
}

static long start_sleep(uint64_t ns, void __user *remaining) {
    struct syscall_restart *r = &current->signals.restart;
    *r = (struct syscall_restart){
        .fn = sleep_relative,
        .deadline = time_after(clock_monotonic(), ns),
        .remaining = remaining,
    };
    return sleep_relative(r);
}

long sys_nanosleep(const void __user *request, void __user *remaining) {
    uint64_t ns;
    int err = user_timespec(request, &ns);
    return err ? err : start_sleep(ns, remaining);
}

long sys_clock_nanosleep(int clock, int flags, const void __user *request, void __user *remaining) {
    uint64_t ns, now;
    if (clock == CLOCK_THREAD_CPUTIME_ID || clock_read(clock, &now))
        return -EINVAL;
    if (clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID)
        return -EOPNOTSUPP;
    int err = user_timespec(request, &ns);
    if (err)
        return err;
    if (!(flags & TIMER_ABSTIME))
        return start_sleep(ns, remaining);
    bool wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM || clock == CLOCK_TAI ||
                clock == CLOCK_REALTIME_COARSE;
    err = world_sleep_until(wall ? realtime_to_monotonic(ns) : ns);
    return err ? -ERESTARTNOHAND : 0;
}
