// wait4 and waitid.
#include <linux/wait.h>
#include "cpu/percpu.h"
#include "lib/string.h"
#include "mm/uaccess.h"
#include "proc/info.h"
#include "proc/signal_internal.h"
#include "proc/table.h"
#include "syscall/syscall.h"

struct wait_result {
    int pid, status, code; // status as wait4's, code CLD_*
    uint32_t uid;
    struct rusage usage;
};

static bool matches(const struct process *child, int type, int id, int options) {
    if (type == P_PID && child->pid != id)
        return false;
    if (type == P_PGID && child->pgrp != id)
        return false;
    bool clone_child = child->exit_signal != SIGCHLD;
    return (options & __WALL) || clone_child == !!(options & __WCLONE);
}

// Reports what `child` has to report, if the caller wants that. process_lock is held.
static bool report(struct process *me, struct process *child, int options, struct wait_result *r) {
    if (child->state == PROCESS_ZOMBIE && (options & WEXITED)) {
        int sig = child->exit_code & 0x7f;
        r->status = child->exit_code;
        r->code = sig ? CLD_KILLED : CLD_EXITED;
    } else if (child->state == PROCESS_STOPPED && !child->stop_reported && (options & WSTOPPED)) {
        r->status = child->stop_signal << 8 | 0x7f;
        r->code = CLD_STOPPED;
        if (!(options & WNOWAIT))
            child->stop_reported = true;
    } else if (child->state == PROCESS_ALIVE && child->continued && (options & WCONTINUED)) {
        r->status = 0xffff;
        r->code = CLD_CONTINUED;
        if (!(options & WNOWAIT))
            child->continued = false;
    } else {
        return false;
    }
    r->pid = child->pid;
    r->uid = child->uid;
    process_rusage(child, &r->usage);
    if (child->state == PROCESS_ZOMBIE && !(options & WNOWAIT)) {
        me->child_user_time += child->user_time + child->child_user_time;
        me->child_system_time += child->system_time + child->child_system_time;
        me->child_min_faults += child->min_faults + child->child_min_faults;
        me->child_maj_faults += child->maj_faults + child->child_maj_faults;
        process_release_locked(child);
    }
    return true;
}

// 1: *r is filled; -ECHILD: no child could ever match; 0: none has anything to report yet.
static int scan(int type, int id, int options, struct wait_result *r) {
    struct process *me = current_process(), *child;
    int result = -ECHILD;
    spin_lock(&process_lock);
    list_for_each (child, &me->children, sibling) {
        if (!matches(child, type, id, options))
            continue;
        result = 0;
        if (report(me, child, options, r)) {
            result = 1;
            break;
        }
    }
    spin_unlock(&process_lock);
    return result;
}

// 1, 0 (WNOHANG and nothing to report) or -errno.
static int wait_child(int type, int id, int options, struct wait_result *r) {
    int found;
    if (options & WNOHANG)
        return scan(type, id, options, r);
    int err = wait_event_interruptible(&current_process()->child_wait,
                                       (found = scan(type, id, options, r)) != 0);
    return err ? err : found;
}

long sys_wait4(int pid, int __user *status, int options, void __user *usage) {
    struct wait_result r;
    if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WALL | __WCLONE))
        return -EINVAL;
    if (pid == INT32_MIN)
        return -ESRCH;
    int type = pid > 0 ? P_PID : pid == -1 ? P_ALL : P_PGID;
    int id = pid > 0 ? pid : pid == 0 ? current_process()->pgrp : -pid;
    int found = wait_child(type, id, options | WEXITED, &r);
    if (found <= 0)
        return found;
    if ((status && put_user(r.status, status)) ||
        (usage && copy_to_user(usage, &r.usage, sizeof(r.usage))))
        return -EFAULT;
    return r.pid;
}

long sys_waitid(int type, int id, void __user *uinfo, int options, void __user *usage) {
    struct wait_result r;
    siginfo_t info;
    if ((options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD | __WALL |
                     __WCLONE)) ||
        !(options & (WEXITED | WSTOPPED | WCONTINUED)))
        return -EINVAL;
    if (type != P_ALL && type != P_PID && type != P_PGID)
        return -EINVAL;
    if ((type == P_PID && id <= 0) || (type == P_PGID && id < 0))
        return -EINVAL;
    if (type == P_PGID && id == 0)
        id = current_process()->pgrp;
    int found = wait_child(type, id, options, &r);
    if (found < 0)
        return found;
    memset(&info, 0, sizeof(info));
    if (found) {
        info.si_signo = SIGCHLD;
        info.si_code = r.code;
        info.si_pid = r.pid;
        info.si_uid = r.uid;
        info.si_status = r.code == CLD_EXITED      ? r.status >> 8
                         : r.code == CLD_CONTINUED ? SIGCONT
                         : r.code == CLD_STOPPED   ? r.status >> 8
                                                   : r.status & 0x7f;
    }
    if ((uinfo && copy_to_user(uinfo, &info, sizeof(info))) ||
        (found && usage && copy_to_user(usage, &r.usage, sizeof(r.usage))))
        return -EFAULT;
    return 0;
}
