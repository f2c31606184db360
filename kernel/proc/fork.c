// fork, vfork, clone: new processes and new threads.
#include <linux/sched.h>
#include "cpu/clock.h"
#include "cpu/percpu.h"
#include "cpu/trapframe.h"
#include "fs/file.h"
#include "fs/inode.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/space.h"
#include "mm/uaccess.h"
#include "proc/limits.h"
#include "proc/pool.h"
#include "proc/signal_internal.h"
#include "proc/table.h"
#include "syscall/syscall.h"

#define CLONE_NAMESPACES                                                                          \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
     CLONE_NEWNET | CLONE_NEWTIME)
#define CLONE_UNSUPPORTED (CLONE_NAMESPACES | CLONE_PIDFD | CLONE_INTO_CGROUP)

struct clone_request {
    uint64_t flags;
    int exit_signal;
    uint64_t stack; // 0: as the caller's
    int __user *parent_tid, *child_tid;
    uint64_t tls;
};

static int check_flags(const struct clone_request *r) {
    uint64_t f = r->flags;
    // CLONE_NEWTIME shares its bit with the low byte of clone()'s exit signal: only clone3 has it.
    if (f & CLONE_UNSUPPORTED)
        return -EINVAL;
    if ((f & CLONE_THREAD) && !(f & CLONE_SIGHAND))
        return -EINVAL;
    if ((f & CLONE_SIGHAND) && !(f & CLONE_VM))
        return -EINVAL;
    // Handlers are part of the process here: only its own threads share them.
    if ((f & CLONE_SIGHAND) && !(f & (CLONE_THREAD | CLONE_CLEAR_SIGHAND)))
        return -EINVAL;
    if ((f & CLONE_SIGHAND) && (f & CLONE_CLEAR_SIGHAND))
        return -EINVAL;
    if ((f & CLONE_PARENT) && current_process() == init_process)
        return -EINVAL;
    return r->exit_signal >= 0 && r->exit_signal <= SIGNAL_COUNT ? 0 : -EINVAL;
}

// A world that will return from the same system call with 0.
static struct world *create_world(struct process *p, const struct clone_request *r) {
    struct world *me = current;
    struct trap_frame frame = *me->frame;
    frame.rax = 0;
    if (r->stack)
        frame.rsp = r->stack;
    struct world *w = world_create_user(p, me->name, &frame);
    if (!w)
        return NULL;
    if (r->flags & CLONE_SETTLS)
        w->fs_base = r->tls;
    if (r->flags & CLONE_CHILD_CLEARTID)
        w->clear_child_tid = r->child_tid;
    w->signals.blocked = me->signals.blocked;
    w->nice = me->nice;
    w->policy = me->policy;
    w->rt_priority = me->rt_priority;
    // A thread with its own stack starts without the alternate one, as a vfork child keeps it.
    if (!(r->flags & CLONE_VM) || (r->flags & CLONE_VFORK))
        w->signals.altstack = me->signals.altstack;
    else
        w->signals.altstack.ss_flags = SS_DISABLE;
    return w;
}

static void attach(struct process *p, struct world *w) {
    list_add_tail(&p->worlds, &w->process_node);
    p->thread_count++;
}

// ---- threads ----------------------------------------------------------------------------------

static long clone_thread(const struct clone_request *r) {
    struct process *p = current_process();
    int err = limits_check_fork(p);
    if (err)
        return err;
    struct world *w = create_world(p, r);
    if (!w)
        return -ENOMEM;
    spin_lock(&process_lock);
    err = world_enter_locked(w);
    if (!err) {
        spin_lock(&p->signal_lock);
        if (world_must_end(current)) { // the process is ending: no further thread
            world_leave_locked(w);
            err = -ERESTARTNOINTR;
        } else {
            process_get(p); // held by each thread until it has left
            attach(p, w);
        }
        spin_unlock(&p->signal_lock);
    }
    int tid = w->tid;
    spin_unlock(&process_lock);
    if (err) {
        world_free(w);
        return err;
    }
    // Both go to the same memory; a bad pointer is ignored, as Linux does for the child's.
    if ((r->flags & CLONE_PARENT_SETTID) && put_user(tid, r->parent_tid))
        log_debug("proc: clone: bad parent_tid");
    if ((r->flags & CLONE_CHILD_SETTID) && put_user(tid, r->child_tid))
        log_debug("proc: clone: bad child_tid");
    world_start(w);
    return tid;
}

// ---- processes --------------------------------------------------------------------------------

static void copy_plain(struct process *c, struct process *p, const struct clone_request *r) {
    memcpy(c->name, p->name, sizeof(c->name));
    spin_lock(&p->signal_lock);
    memcpy(c->limits, p->limits, sizeof(c->limits));
    c->credentials = p->credentials;
    if (r->flags & CLONE_CLEAR_SIGHAND) {
        for (int i = 0; i < SIGNAL_COUNT; i++) {
            if (p->actions[i].handler == (uint64_t)SIG_IGN)
                c->actions[i].handler = (uint64_t)SIG_IGN;
        }
    } else {
        memcpy(c->actions, p->actions, sizeof(c->actions));
    }
    spin_unlock(&p->signal_lock);
    c->uid = p->uid;
    c->gid = p->gid;
    c->euid = p->euid;
    c->egid = p->egid;
    c->undumpable = p->undumpable;
    c->no_new_privs = p->no_new_privs;
    // A sibling's end is told as the caller's own will be: it is the same parent that hears it.
    c->exit_signal = r->flags & CLONE_PARENT ? p->exit_signal : r->exit_signal;
    c->start_time = clock_monotonic();
    c->personality = p->personality;
}

static void discard(struct process *c) {
    if (c->files)
        files_put(c->files);
    if (c->fs)
        fs_context_put(c->fs);
    if (c->exe)
        file_put(c->exe);
    if (c->space)
        space_put(c->space);
    if (c->pool)
        pool_leave(c->pool);
    process_put(c);
}

// Memory, files and directories: shared or copied as the flags say. 0 or -errno.
static int copy_resources(struct process *c, struct process *p, uint64_t flags) {
    c->files = flags & CLONE_FILES ? files_share(p->files) : files_copy(p->files);
    c->files_shared = flags & CLONE_FILES;
    p->files_shared |= c->files_shared;
    c->fs = flags & CLONE_FS ? fs_context_share(p->fs) : fs_context_copy(p->fs);
    if (!c->files || !c->fs)
        return -ENOMEM;
    if (p->exe)
        c->exe = file_get(p->exe);
    if (flags & CLONE_VM) {
        space_get(p->space);
        c->space = p->space;
        return 0;
    }
    struct space *s = space_fork(p->space);
    if (IS_ERR(s))
        return (int)PTR_ERR(s);
    c->space = s;
    return 0;
}

// Makes the child visible: numbers, family, group. 0 or -errno.
static int enter(struct process *c, struct world *w, struct process *p, uint64_t flags) {
    int err;
    spin_lock(&process_lock);
    struct process *parent = flags & CLONE_PARENT ? p->parent : p;
    if (world_must_end(current) || parent->state == PROCESS_ZOMBIE)
        err = -ERESTARTNOINTR;
    else
        err = process_enter_locked(c, w);
    if (!err) {
        process_get(c); // held by the thread until it has left
        process_set_parent_locked(c, parent);
        group_join_locked(c, p->pgrp, p->session, NULL);
        c->tty = p->tty;
        c->leader = w;
        attach(c, w);
    }
    spin_unlock(&process_lock);
    return err;
}

// vfork: sleeps until the child has its own memory or has ended. Only SIGKILL ends it early.
static void wait_for_vfork(struct process *c) {
    struct world *me = current;
    signal_set blocked = me->signals.blocked;
    signal_set_blocked(~0ull);
    (void)wait_event_interruptible(&c->vfork_wait, !READ_ONCE(c->vfork_pending));
    signal_set_blocked(blocked);
}

static long clone_process(const struct clone_request *r) {
    struct process *p = current_process();
    int err = limits_check_fork(p);
    if (err)
        return err;
    struct pool *pool = READ_ONCE(p->pool);
    if (!pool_enter(pool))
        return -EAGAIN;
    struct process *c = process_alloc();
    if (!c) {
        pool_leave(pool);
        return -ENOMEM;
    }
    c->pool = pool;
    copy_plain(c, p, r);
    err = copy_resources(c, p, r->flags);
    struct world *w = err ? NULL : create_world(c, r);
    if (!err && !w)
        err = -ENOMEM;
    if (!err) {
        c->vfork_pending = r->flags & CLONE_VFORK;
        err = enter(c, w, p, r->flags);
    }
    if (err) {
        if (w)
            world_free(w);
        discard(c);
        return err;
    }
    int pid = c->pid;
    if ((r->flags & CLONE_PARENT_SETTID) && put_user(pid, r->parent_tid))
        log_debug("proc: clone: bad parent_tid");
    if (r->flags & CLONE_CHILD_SETTID)
        (void)space_copy(c->space, (uint64_t)r->child_tid, &pid, sizeof(pid), true);
    bool wait = r->flags & CLONE_VFORK;
    if (wait)
        process_get(c);
    world_start(w);
    if (wait) {
        wait_for_vfork(c);
        process_put(c);
    }
    return pid;
}

static long do_clone(const struct clone_request *r) {
    int err = check_flags(r);
    if (err)
        return err;
    return r->flags & CLONE_THREAD ? clone_thread(r) : clone_process(r);
}

long sys_fork(void) {
    struct clone_request r = {.exit_signal = SIGCHLD};
    return do_clone(&r);
}

long sys_vfork(void) {
    struct clone_request r = {.flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD};
    return do_clone(&r);
}

long sys_clone(uint64_t flags, uint64_t stack, int __user *parent_tid, int __user *child_tid,
               uint64_t tls) {
    struct clone_request r = {
        .flags = (uint32_t)flags & ~(uint64_t)CSIGNAL,
        .exit_signal = flags & CSIGNAL,
        .stack = stack,
        .parent_tid = parent_tid,
        .child_tid = child_tid,
        .tls = tls,
    };
    return do_clone(&r);
}

long sys_clone3(const void __user *uargs, size_t size) {
    struct clone_args args;
    memset(&args, 0, sizeof(args));
    if (size < CLONE_ARGS_SIZE_VER0)
        return -EINVAL;
    if (size >
        sizeof(args)) // fields of the future: accepted by Linux when zero; none are known here
        return -E2BIG;
    if (copy_from_user(&args, uargs, size))
        return -EFAULT;
    if (args.set_tid_size || args.exit_signal > SIGNAL_COUNT || (args.flags & CSIGNAL) ||
        (args.stack == 0) != (args.stack_size == 0) || args.stack + args.stack_size < args.stack)
        return -EINVAL;
    struct clone_request r = {
        .flags = args.flags,
        .exit_signal = (int)args.exit_signal,
        .stack = args.stack + args.stack_size,
        .parent_tid = (int __user *)args.parent_tid,
        .child_tid = (int __user *)args.child_tid,
        .tls = args.tls,
    };
    return do_clone(&r);
}

long sys_set_tid_address(int __user *tid) {
    current->clear_child_tid = tid;
    return current->tid;
}
