#include "proc/info.h"
#include <linux/resource.h>
#include <linux/sysinfo.h>
#include <linux/times.h>
#include "cpu/clock.h"
#include "cpu/percpu.h"
#include "fs/file.h"
#include "fs/inode.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/space.h"
#include "mm/uaccess.h"
#include "proc/table.h"
#include "proc/time_calls.h"
#include "proc/user_time.h"
#include "syscall/syscall.h"
#include "tty/tty.h"

#define CLOCK_TICK (NSEC_PER_SEC / 100) // unit of times(2)

// ---- other processes' view --------------------------------------------------------------------

struct space *process_space(struct process *p) {
    mutex_lock(&p->exec_lock);
    struct space *s = p->space;
    if (s)
        space_get(s);
    mutex_unlock(&p->exec_lock);
    return s;
}

struct file *process_exe(struct process *p) {
    mutex_lock(&p->exec_lock);
    struct file *f = p->exe ? file_get(p->exe) : NULL;
    mutex_unlock(&p->exec_lock);
    return f;
}

struct file_table *process_files(struct process *p) {
    mutex_lock(&p->exec_lock);
    struct file_table *t = p->files ? files_share(p->files) : NULL;
    mutex_unlock(&p->exec_lock);
    return t;
}

struct fs_context *process_fs(struct process *p) {
    mutex_lock(&p->exec_lock);
    struct fs_context *c = p->fs ? fs_context_share(p->fs) : NULL;
    mutex_unlock(&p->exec_lock);
    return c;
}

static char state_letter(const struct process *p, const struct world *w) {
    if (p->state == PROCESS_ZOMBIE)
        return 'Z';
    if (p->state == PROCESS_STOPPED)
        return 'T';
    switch (w ? READ_ONCE(w->state) : WORLD_DEAD) {
    case WORLD_RUNNABLE: return 'R';
    case WORLD_WAITING: return 'D';
    default: return 'S';
    }
}

static void signal_sets(const struct process *p, struct process_info *out) {
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        uint64_t handler = p->actions[i].handler;
        if (handler == (uint64_t)SIG_IGN)
            out->ignored |= BIT(i);
        else if (handler != (uint64_t)SIG_DFL)
            out->caught |= BIT(i);
    }
    out->shared_pending = p->pending;
}

// What belongs to one thread. signal_lock is held; NULL: the process has none left.
static void world_part(const struct process *p, const struct world *w, struct process_info *out) {
    out->state = state_letter(p, w);
    if (!w)
        return;
    out->nice = w->nice;
    out->cpu = w->cpu;
    out->pending = w->signals.pending;
    out->blocked = w->signals.blocked;
}

void process_info(struct process *p, struct process_info *out) {
    struct world *w;
    memset(out, 0, sizeof(*out));
    process_times(p, &out->user_time, &out->system_time);
    const struct tty *tty = tty_of(p);
    out->tty = tty ? tty_rdev(tty) : 0;
    out->tty_pgrp = tty ? tty_foreground(tty) : -1;
    spin_lock(&process_lock);
    out->pid = p->pid;
    out->ppid = p->ppid;
    out->pgrp = p->pgrp;
    out->session = p->session;
    out->child_user_time = p->child_user_time;
    out->child_system_time = p->child_system_time;
    out->child_min_faults = p->child_min_faults;
    out->child_maj_faults = p->child_maj_faults;
    spin_lock(&p->signal_lock);
    memcpy(out->name, p->name, sizeof(out->name));
    out->threads = p->thread_count;
    out->start_time = p->start_time;
    out->min_faults = p->min_faults;
    out->maj_faults = p->maj_faults;
    out->switches = p->switches;
    list_for_each (w, &p->worlds, process_node) {
        out->min_faults += w->min_faults;
        out->maj_faults += w->maj_faults;
        out->switches += w->switches;
    }
    out->credentials = p->credentials;
    out->exit_code = p->exit_code;
    out->exit_signal = p->exit_signal;
    signal_sets(p, out);
    w = p->leader; // stands for the process
    if (!w && !list_empty(&p->worlds))
        w = list_first(&p->worlds, struct world, process_node);
    world_part(p, w, out);
    spin_unlock(&p->signal_lock);
    spin_unlock(&process_lock);
}

bool process_thread_info(struct process *p, int tid, struct process_info *out) {
    struct world *w;
    bool found = false;
    process_info(p, out);
    spin_lock(&p->signal_lock);
    list_for_each (w, &p->worlds, process_node) {
        if (w->tid != tid)
            continue;
        found = true;
        world_part(p, w, out);
        world_times(w, &out->user_time, &out->system_time);
        memcpy(out->name, w->name, sizeof(out->name));
        out->min_faults = w->min_faults;
        out->maj_faults = w->maj_faults;
        out->switches = w->switches;
        break;
    }
    spin_unlock(&p->signal_lock);
    return found;
}

unsigned process_threads(struct process *p, int *ids, unsigned max) {
    struct world *w;
    unsigned n = 0;
    spin_lock(&p->signal_lock);
    list_for_each (w, &p->worlds, process_node) {
        if (n < max)
            ids[n] = w->tid;
        n++;
    }
    spin_unlock(&p->signal_lock);
    return n;
}

// ---- resource use -----------------------------------------------------------------------------

static void fill_usage(struct rusage *out, uint64_t user, uint64_t system, uint64_t min_faults,
                       uint64_t maj_faults, uint64_t switches) {
    memset(out, 0, sizeof(*out));
    out->ru_utime = (struct __kernel_old_timeval)ns_to_timeval(user);
    out->ru_stime = (struct __kernel_old_timeval)ns_to_timeval(system);
    out->ru_minflt = (long)min_faults;
    out->ru_majflt = (long)maj_faults;
    out->ru_nvcsw = (long)switches;
}

void process_rusage(struct process *p, struct rusage *out) {
    uint64_t user, system;
    process_times(p, &user, &system);
    struct world *w;
    spin_lock(&p->signal_lock);
    uint64_t min_faults = p->min_faults, maj_faults = p->maj_faults, switches = p->switches;
    list_for_each (w, &p->worlds, process_node) {
        min_faults += w->min_faults;
        maj_faults += w->maj_faults;
        switches += w->switches;
    }
    spin_unlock(&p->signal_lock);
    fill_usage(out, user, system, min_faults, maj_faults, switches);
    const struct space *s = p->space;
    if (s && p == current_process())
        out->ru_maxrss = (long)(s->pages_mapped * (PAGE_SIZE / KIB));
}

long sys_getrusage(int who, void __user *out) {
    struct process *p = current_process();
    struct world *w = current;
    struct rusage usage;
    uint64_t user, system;
    switch (who) {
    case RUSAGE_SELF: process_rusage(p, &usage); break;
    case RUSAGE_CHILDREN:
        spin_lock(&process_lock);
        fill_usage(&usage, p->child_user_time, p->child_system_time, p->child_min_faults,
                   p->child_maj_faults, 0);
        spin_unlock(&process_lock);
        break;
    case RUSAGE_THREAD:
        world_times(w, &user, &system);
        fill_usage(&usage, user, system, w->min_faults, w->maj_faults, w->switches);
        break;
    default: return -EINVAL;
    }
    return copy_to_user(out, &usage, sizeof(usage));
}

long sys_times(void __user *out) {
    struct process *p = current_process();
    uint64_t user, system;
    process_times(p, &user, &system);
    struct tms t = {
        .tms_utime = (long)(user / CLOCK_TICK),
        .tms_stime = (long)(system / CLOCK_TICK),
        .tms_cutime = (long)(p->child_user_time / CLOCK_TICK),
        .tms_cstime = (long)(p->child_system_time / CLOCK_TICK),
    };
    if (out && copy_to_user(out, &t, sizeof(t)))
        return -EFAULT;
    return (long)(clock_monotonic() / CLOCK_TICK);
}

// ---- the machine ------------------------------------------------------------------------------

long sys_sysinfo(void __user *out) {
    struct memory_stats m;
    memory_stats(&m);
    struct sysinfo s;
    memset(&s, 0, sizeof(s));
    s.uptime = (long)(clock_monotonic() / NSEC_PER_SEC);
    s.totalram = m.total * PAGE_SIZE;
    s.freeram = m.free * PAGE_SIZE;
    s.procs = (uint16_t)thread_count();
    s.mem_unit = 1;
    return copy_to_user(out, &s, sizeof(s));
}

long sys_getcpu(unsigned __user *cpu, unsigned __user *node, void __user *unused) {
    if ((cpu && put_user(this_cpu()->id, cpu)) || (node && put_user(0u, node)))
        return -EFAULT;
    return 0;
}
