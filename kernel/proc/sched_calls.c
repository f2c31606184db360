// System calls about scheduling: weights by nice value, affinity. There is one policy, proportional
// share; the real-time policies are remembered for the program's eyes only.
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include "cpu/percpu.h"
#include "lib/string.h"
#include "mm/uaccess.h"
#include "proc/pool.h"
#include "proc/sched_calls.h"
#include "proc/table.h"
#include "proc/user_time.h"
#include "syscall/syscall.h"

#define NICE_MIN        (-20)
#define NICE_MAX        19
#define PRIORITY_RT_MAX 99
#define SLICE_NS        4000000 // what sched_rr_get_interval says

// Each step is a factor of 1.25, as in Linux: ten per cent of the processor between two worlds.
static uint32_t nice_weight(int nice) {
    uint64_t w = 1024;
    for (int i = 0; i < nice; i++)
        w = w * 4 / 5;
    for (int i = 0; i > nice; i--)
        w = w * 5 / 4;
    return (uint32_t)MAX(w, 1ull);
}

void sched_update_weight(struct world *w) {
    uint64_t weight = (uint64_t)nice_weight(w->nice) * pool_weight(w->process->pool) / 1024;
    world_set_weight(w, (uint32_t)MAX(weight, 1ull));
}

// Calls fn for thread `tid` (0: the caller) with process_lock held. fn's result, or -ESRCH.
static long with_world(int tid, long (*fn)(struct world *w, void *arg), void *arg) {
    if (tid < 0)
        return -EINVAL;
    spin_lock(&process_lock);
    struct world *w = tid ? world_find_locked(tid) : current;
    long result = w ? fn(w, arg) : -ESRCH;
    spin_unlock(&process_lock);
    return result;
}

long sys_sched_yield(void) {
    schedule();
    return 0;
}

// ---- nice -------------------------------------------------------------------------------------

static void set_nice(struct process *p, int nice) {
    struct world *w;
    spin_lock(&p->signal_lock);
    list_for_each (w, &p->worlds, process_node) {
        w->nice = nice;
        sched_update_weight(w);
    }
    spin_unlock(&p->signal_lock);
}

static int get_nice(struct process *p) {
    struct world *w;
    int best = NICE_MAX;
    spin_lock(&p->signal_lock);
    list_for_each (w, &p->worlds, process_node)
        best = MIN(best, w->nice);
    spin_unlock(&p->signal_lock);
    return best;
}

static bool selected(const struct process *p, int which, int who) {
    const struct process *me = current_process();
    switch (which) {
    case PRIO_PROCESS: return p->pid == (who ? who : me->pid);
    case PRIO_PGRP: return p->pgrp == (who ? who : me->pgrp);
    default: return p->uid == (who ? (uint32_t)who : me->uid);
    }
}

long sys_setpriority(int which, int who, int nice) {
    struct process *p;
    long result = -ESRCH;
    if (which != PRIO_PROCESS && which != PRIO_PGRP && which != PRIO_USER)
        return -EINVAL;
    nice = MAX(NICE_MIN, MIN(nice, NICE_MAX));
    spin_lock(&process_lock);
    list_for_each (p, &process_list, all_node) {
        if (!selected(p, which, who))
            continue;
        bool raise = nice < get_nice(p);
        if (raise && current_process()->euid != 0) {
            result = -EACCES;
            continue;
        }
        set_nice(p, nice);
        result = result == -EACCES ? result : 0;
    }
    spin_unlock(&process_lock);
    return result;
}

// The result is 20 - nice, so that it is never negative.
long sys_getpriority(int which, int who) {
    struct process *p;
    long result = -ESRCH;
    if (which != PRIO_PROCESS && which != PRIO_PGRP && which != PRIO_USER)
        return -EINVAL;
    spin_lock(&process_lock);
    list_for_each (p, &process_list, all_node) {
        if (selected(p, which, who) && p->state != PROCESS_ZOMBIE)
            result = MAX(result, (long)(20 - get_nice(p)));
    }
    spin_unlock(&process_lock);
    return result;
}

// ---- policies ---------------------------------------------------------------------------------

static bool policy_known(int policy) {
    return policy == SCHED_NORMAL || policy == SCHED_FIFO || policy == SCHED_RR ||
           policy == SCHED_BATCH || policy == SCHED_IDLE;
}

static bool is_realtime(int policy) {
    return policy == SCHED_FIFO || policy == SCHED_RR;
}

struct policy_change {
    int policy, priority; // policy -1: keep
};

static long apply_policy(struct world *w, void *arg) {
    const struct policy_change *c = arg;
    int policy = c->policy < 0 ? w->policy : c->policy & ~SCHED_RESET_ON_FORK;
    if (!policy_known(policy))
        return -EINVAL;
    if (is_realtime(policy) ? c->priority < 1 || c->priority > PRIORITY_RT_MAX : c->priority != 0)
        return -EINVAL;
    if (is_realtime(policy) && current_process()->euid != 0)
        return -EPERM;
    w->policy = policy;
    w->rt_priority = c->priority;
    return 0;
}

long sys_sched_setscheduler(int tid, int policy, const void __user *param) {
    struct policy_change c = {.policy = policy};
    if (policy < 0 || !param)
        return -EINVAL;
    if (get_user(c.priority, (const int *)param))
        return -EFAULT;
    return with_world(tid, apply_policy, &c);
}

long sys_sched_setparam(int tid, const void __user *param) {
    struct policy_change c = {.policy = -1};
    if (!param)
        return -EINVAL;
    if (get_user(c.priority, (const int *)param))
        return -EFAULT;
    return with_world(tid, apply_policy, &c);
}

static long read_policy(struct world *w, void *arg) {
    return w->policy;
}

static long read_priority(struct world *w, void *arg) {
    return w->rt_priority;
}

long sys_sched_getscheduler(int tid) {
    return with_world(tid, read_policy, NULL);
}

long sys_sched_getparam(int tid, void __user *param) {
    if (!param)
        return -EINVAL;
    long priority = with_world(tid, read_priority, NULL);
    return priority < 0 ? priority : put_user((int)priority, (int *)param);
}

long sys_sched_get_priority_max(int policy) {
    return !policy_known(policy) ? -EINVAL : is_realtime(policy) ? PRIORITY_RT_MAX : 0;
}

long sys_sched_get_priority_min(int policy) {
    return !policy_known(policy) ? -EINVAL : is_realtime(policy) ? 1 : 0;
}

long sys_sched_rr_get_interval(int tid, void __user *out) {
    long err = with_world(tid, read_policy, NULL);
    if (err < 0)
        return err;
    struct __kernel_timespec t = ns_to_timespec(SLICE_NS);
    return copy_to_user(out, &t, sizeof(t));
}

// ---- affinity ---------------------------------------------------------------------------------

static uint64_t online_mask(void) {
    return cpu_count >= 64 ? UINT64_MAX : BIT(cpu_count) - 1;
}

static long set_affinity(struct world *w, void *arg) {
    WRITE_ONCE(w->affinity, *(uint64_t *)arg);
    return 0;
}

static long get_affinity(struct world *w, void *arg) {
    *(uint64_t *)arg = w->affinity;
    return 0;
}

long sys_sched_setaffinity(int tid, size_t size, const void __user *mask) {
    uint64_t bits = 0;
    if (copy_from_user(&bits, mask, MIN(size, sizeof(bits))))
        return -EFAULT;
    bits &= online_mask();
    if (!bits)
        return -EINVAL;
    long err = with_world(tid, set_affinity, &bits);
    if (!err && !(bits & BIT(this_cpu()->id)))
        schedule(); // to a processor that is allowed
    return err;
}

long sys_sched_getaffinity(int tid, size_t size, void __user *mask) {
    uint64_t bits = 0;
    if (size < sizeof(bits) || (size & 7))
        return -EINVAL;
    long err = with_world(tid, get_affinity, &bits);
    bits &= online_mask();
    if (!err && copy_to_user(mask, &bits, sizeof(bits)))
        err = -EFAULT;
    return err ? err : (long)sizeof(bits); // bytes filled, as Linux
}
