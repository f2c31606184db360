#include "proc/limits.h"
#include <linux/resource.h>
#include "lib/errno.h"
#include "lib/log.h"
#include "mm/frame.h"
#include "mm/uaccess.h"
#include "proc/table.h"
#include "syscall/syscall.h"

#define STACK_DEFAULT  (8 * MIB)
#define FILES_SOFT     1024
#define FILES_HARD     4096
#define SIGNALS_QUEUED 4096
#define THREADS_MIN    64
// One thread in so many pages: a stack, registers, tables and a few pages of its own each.
#define PAGES_PER_THREAD 32

static unsigned threads_max(void) {
    static unsigned max;
    if (!max) {
        struct memory_stats s;
        memory_stats(&s);
        max = (unsigned)MAX(MIN(s.total / PAGES_PER_THREAD, PID_MAX - 512ull), THREADS_MIN);
    }
    return max;
}

void limits_init(struct process *p) {
    for (int i = 0; i < RLIM_NLIMITS; i++)
        p->limits[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
    p->limits[RLIMIT_STACK].rlim_cur = STACK_DEFAULT;
    p->limits[RLIMIT_CORE].rlim_cur = 0;
    p->limits[RLIMIT_NOFILE] = (struct rlimit){FILES_SOFT, FILES_HARD};
    p->limits[RLIMIT_SIGPENDING] = (struct rlimit){SIGNALS_QUEUED, SIGNALS_QUEUED};
    p->limits[RLIMIT_NPROC] = (struct rlimit){threads_max(), threads_max()};
    p->limits[RLIMIT_MEMLOCK] = (struct rlimit){8 * MIB, 8 * MIB};
    p->limits[RLIMIT_MSGQUEUE] = (struct rlimit){819200, 819200};
    p->limits[RLIMIT_NICE] = (struct rlimit){0, 0};
    p->limits[RLIMIT_RTPRIO] = (struct rlimit){0, 0};
}

// Threads of all processes of a user.
static unsigned threads_of(uint32_t uid) {
    struct process *p;
    unsigned n = 0;
    spin_lock(&process_lock);
    list_for_each (p, &process_list, all_node) {
        if (p->uid == uid)
            n += MAX(READ_ONCE(p->thread_count), 1u); // a zombie counts, too
    }
    spin_unlock(&process_lock);
    return n;
}

int limits_check_fork(struct process *p) {
    static bool logged;
    uint64_t limit = p->limits[RLIMIT_NPROC].rlim_cur;
    if (thread_count() >= threads_max()) {
        if (!logged)
            log_warning("proc: %s[%d]: fork refused: all %u threads are in use", p->name, p->pid,
                        threads_max());
        logged = true;
        return -EAGAIN;
    }
    // Counting takes a walk over all processes: only who set a limit of its own pays for it.
    if (limit < threads_max() && threads_of(p->uid) >= limit)
        return -EAGAIN;
    return 0;
}

ssize_t file_size_allowed(uint64_t pos, size_t n) {
    struct process *p = current_process();
    uint64_t limit = p ? READ_ONCE(p->limits[RLIMIT_FSIZE].rlim_cur) : RLIM_INFINITY;
    if (likely(limit == RLIM_INFINITY || n == 0))
        return (ssize_t)n;
    if (pos >= limit) {
        signal_send_world(current, SIGXFSZ, NULL);
        return -EFBIG;
    }
    return (ssize_t)MIN(n, limit - pos);
}

// ---- system calls -----------------------------------------------------------------------------

_Static_assert(sizeof(struct rlimit) == sizeof(struct rlimit64), "64-bit limits");

static int change(struct process *p, unsigned which, const struct rlimit *new_limit,
                  struct rlimit *old) {
    int err = 0;
    bool root = current_process()->euid == 0;
    if (new_limit && new_limit->rlim_cur > new_limit->rlim_max)
        return -EINVAL;
    spin_lock(&p->signal_lock);
    *old = p->limits[which];
    if (new_limit) {
        if (new_limit->rlim_max > old->rlim_max && !root)
            err = -EPERM;
        else
            p->limits[which] = *new_limit;
    }
    spin_unlock(&p->signal_lock);
    return err;
}

long sys_prlimit64(int pid, unsigned which, const void __user *in, void __user *out) {
    struct rlimit new_limit, old;
    if (which >= RLIM_NLIMITS)
        return -EINVAL;
    if (in && copy_from_user(&new_limit, in, sizeof(new_limit)))
        return -EFAULT;
    struct process *p = process_find(pid ? pid : current_process()->pid);
    if (!p)
        return -ESRCH;
    int err = 0;
    if (p != current_process() && current_process()->euid != 0 && p->uid != current_process()->uid)
        err = -EPERM;
    if (!err)
        err = change(p, which, in ? &new_limit : NULL, &old);
    process_put(p);
    if (!err && out)
        err = copy_to_user(out, &old, sizeof(old));
    return err;
}

long sys_getrlimit(unsigned which, void __user *out) {
    return sys_prlimit64(0, which, NULL, out);
}

long sys_setrlimit(unsigned which, const void __user *in) {
    return in ? sys_prlimit64(0, which, in, NULL) : -EFAULT;
}
