// The end of threads and processes: what they held is given back, parents and children are told.
#include "proc/exit.h"
#include "cpu/percpu.h"
#include "fs/file.h"
#include "fs/inode.h"
#include "lib/log.h"
#include "mm/space.h"
#include "mm/uaccess.h"
#include "proc/futex.h"
#include "proc/pool.h"
#include "proc/posix_timer.h"
#include "proc/power.h"
#include "proc/session.h"
#include "proc/signal_internal.h"
#include "proc/table.h"
#include "proc/time_calls.h"
#include "syscall/syscall.h"

#define EXIT_STATUS(code) (((code)&0xff) << 8)

void vfork_complete(struct process *p) {
    if (!p->vfork_pending)
        return;
    WRITE_ONCE(p->vfork_pending, false);
    waitq_wake(&p->vfork_wait, 0);
}

void thread_leave_memory(void) {
    struct world *w = current;
    struct process *p = w->process;
    futex_exit_robust(w);
    int __user *tid = w->clear_child_tid;
    w->clear_child_tid = NULL;
    // Nobody looks when nobody shares the memory (as Linux: a core of the last one would show it).
    if (!tid || (READ_ONCE(p->thread_count) <= 1 && READ_ONCE(p->space->refs) <= 1))
        return;
    if (put_user(0, tid) == 0)
        futex_wake_user((uint32_t __user *)tid, 1);
}

noreturn void process_exit(int status) {
    struct world *me = current, *w;
    struct process *p = me->process;
    spin_lock(&p->signal_lock);
    // During execve of another thread this is only the end of the caller.
    if (!p->exiting && (!p->exec_world || p->exec_world == me)) {
        p->exiting = true;
        p->exit_code = status;
        p->stopping = false;
        if (p->state == PROCESS_STOPPED)
            p->state = PROCESS_ALIVE;
        list_for_each (w, &p->worlds, process_node) {
            if (w != me)
                world_interrupt(w);
        }
        if (p->thread_count > 1)
            waitq_wake(&p->stop_wait, 0);
    }
    spin_unlock(&p->signal_lock);
    thread_exit(status);
}

// Adds the times and counts of a thread to its process. signal_lock is held.
static void account(struct process *p, const struct world *w) {
    uint64_t user, system;
    world_times(w, &user, &system);
    p->user_time += user;
    p->system_time += system;
    p->min_faults += w->min_faults;
    p->maj_faults += w->maj_faults;
    p->switches += w->switches;
}

// Gives back what the whole process shares. The last thread runs it; it may sleep.
static void release_resources(struct process *p) {
    itimer_cancel_all(p);
    posix_timers_delete_all(p);

    mutex_lock(&p->exec_lock);
    struct file_table *files = p->files;
    struct fs_context *fs = p->fs;
    struct file *exe = p->exe;
    struct space *space = p->space;
    p->files = NULL;
    p->fs = NULL;
    p->exe = NULL;
    mutex_unlock(&p->exec_lock);

    if (files)
        files_put(files);
    if (fs)
        fs_context_put(fs);
    if (exe)
        file_put(exe);
    mutex_lock(&p->exec_lock);
    p->space = NULL;
    mutex_unlock(&p->exec_lock);
    if (space)
        space_put(space);
    vfork_complete(p);
    session_leader_exit(p);
}

// The group of `p` may have lost the last parent that could continue it: then its stopped members
// get SIGHUP and SIGCONT (POSIX). process_lock is held.
static void hang_up_if_orphaned(struct process_group *g) {
    struct process *p;
    bool stopped = false;
    if (!g || !group_is_orphaned_locked(g))
        return;
    list_for_each (p, &g->members, group_node)
        stopped |= p->state == PROCESS_STOPPED;
    if (stopped) {
        signal_send_group_locked(g, SIGHUP, NULL);
        signal_send_group_locked(g, SIGCONT, NULL);
    }
}

static struct process *reaper_of(struct process *p) {
    for (struct process *r = p->parent; r; r = r->parent) {
        if (r->child_subreaper && !r->exiting)
            return r;
    }
    return init_process;
}

// The children get a new parent; zombies among them are its to wait for. process_lock is held.
static void give_children_away(struct process *p) {
    struct process *reaper = reaper_of(p), *child, *next;
    if (reaper == p)
        return; // pid 1 itself: the machine is about to power off
    list_for_each_safe(child, next, &p->children, sibling) {
        if (child->parent_death_signal)
            signal_send_process(child, child->parent_death_signal, NULL);
        process_set_parent_locked(child, reaper);
        child->exit_signal = SIGCHLD;
        if (child->state == PROCESS_ZOMBIE) {
            if (process_autoreaps(reaper))
                process_release_locked(child);
            else
                signal_notify_parent_locked(child, CLD_EXITED, child->exit_code >> 8);
        } else if (child->group != p->group) {
            hang_up_if_orphaned(child->group);
        }
    }
}

bool process_autoreaps(struct process *parent) {
    const struct sigaction_entry *a = &parent->actions[SIGCHLD - 1];
    return a->handler == (uint64_t)SIG_IGN || (a->flags & SA_NOCLDWAIT);
}

static void become_zombie(struct process *p) {
    spin_lock(&process_lock);
    give_children_away(p);
    // The state decides whether a group counts as orphaned: first that, then look.
    struct process_group *g = p->group;
    bool had_parent_outside = p->parent && p->parent->pgrp != p->pgrp &&
                              p->parent->session == p->session;
    spin_lock(&p->signal_lock);
    p->state = PROCESS_ZOMBIE;
    spin_unlock(&p->signal_lock);
    if (had_parent_outside)
        hang_up_if_orphaned(g);
    int sig = p->exit_code & 0x7f;
    signal_notify_parent_locked(p, sig ? CLD_KILLED : CLD_EXITED, sig ? sig : p->exit_code >> 8);
    if (p->parent && p->exit_signal == SIGCHLD && process_autoreaps(p->parent))
        process_release_locked(p);
    spin_unlock(&process_lock);
}

static noreturn void init_exited(int status) {
    int code = status & 0x7f ? 128 + (status & 0x7f) : status >> 8;
    log_printf(LOG_ALWAYS, "init exited with status %d", code); // tools wait for this line
    system_shut_down(POWER_OFF);
}

// Takes the calling thread out of its process. True: it was the last.
static bool leave_process(struct process *p, struct world *w, int status) {
    spin_lock(&process_lock);
    world_leave_locked(w);
    spin_unlock(&process_lock);

    spin_lock(&p->signal_lock);
    account(p, w);
    signal_discard(&w->signals.pending, &w->signals.queue, ~0ull, &p->queued_signals);
    list_remove(&w->process_node);
    if (p->leader == w)
        p->leader = NULL;
    bool last = --p->thread_count == 0;
    bool stopped = false;
    if (last) {
        if (!p->exiting)
            p->exit_code = status;
        p->exiting = true;
        signal_discard(&p->pending, &p->signal_queue, ~0ull, &p->queued_signals);
    } else {
        stopped = p->stopped_count && signal_stop_complete(p);
    }
    bool exec_waits = p->exec_world && p->thread_count == 1;
    spin_unlock(&p->signal_lock);
    if (stopped)
        signal_stop_notify(p);
    if (exec_waits)
        waitq_wake(&p->stop_wait, 0);
    return last;
}

noreturn void thread_exit(int status) {
    struct world *w = current;
    struct process *p = w->process;
    thread_leave_memory();
    if (leave_process(p, w, status)) {
        release_resources(p);
        if (p == init_process)
            init_exited(p->exit_code);
        pool_leave(p->pool);
        become_zombie(p);
    }
    w->process = NULL; // from here on a world without a process, and without memory
    process_put(p);
    world_exit();
}

long sys_exit(int code) {
    thread_exit(EXIT_STATUS(code));
}

long sys_exit_group(int code) {
    process_exit(EXIT_STATUS(code));
}
