#include "proc/session.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "proc/table.h"
#include "syscall/syscall.h"
#include "tty/tty.h"

bool process_group_exists(int pgrp, int session) {
    spin_lock(&process_lock);
    struct process_group *g = group_find_locked(pgrp);
    bool found = g && g->session == session;
    spin_unlock(&process_lock);
    return found;
}

void session_leader_exit(struct process *p) {
    if (p->session == p->pid && p->tty)
        tty_disassociate(p);
}

long sys_setsid(void) {
    struct process *p = current_process();
    struct process_group *spare = kzalloc(sizeof(*spare));
    if (!spare)
        return -ENOMEM;
    spin_lock(&process_lock);
    long result = p->pid;
    if (group_find_locked(p->pid)) { // the caller leads a group, or others are left in its group
        result = -EPERM;
    } else {
        group_join_locked(p, p->pid, p->pid, &spare);
        p->tty = NULL;
    }
    spin_unlock(&process_lock);
    kfree(spare);
    return result;
}

// The rules of setpgid(2). process_lock is held.
static int check_setpgid(const struct process *p, const struct process *me, int pgrp) {
    if (!p || (p != me && p->parent != me))
        return -ESRCH;
    if (p != me && p->session != me->session)
        return -EPERM;
    if (p != me && READ_ONCE(p->execed))
        return -EACCES;
    if (p->session == p->pid)
        return -EPERM;
    const struct process_group *g = group_find_locked(pgrp);
    if (pgrp != p->pid && (!g || g->session != me->session))
        return -EPERM;
    return 0;
}

long sys_setpgid(int pid, int pgrp) {
    struct process *me = current_process();
    if (pid < 0 || pgrp < 0)
        return -EINVAL;
    if (!pid)
        pid = me->pid;
    if (!pgrp)
        pgrp = pid;
    struct process_group *spare = kzalloc(sizeof(*spare));
    if (!spare)
        return -ENOMEM;
    spin_lock(&process_lock);
    struct process *p = process_find_locked(pid);
    if (p && p->state == PROCESS_ZOMBIE && p != me && p->parent != me)
        p = NULL;
    int err = check_setpgid(p, me, pgrp);
    if (!err)
        group_join_locked(p, pgrp, p->session, &spare);
    spin_unlock(&process_lock);
    kfree(spare);
    return err;
}

// A number of process `pid` (0: the caller), picked by `session`.
static long group_or_session(int pid, bool session) {
    long result = -ESRCH;
    if (pid < 0)
        return -EINVAL;
    spin_lock(&process_lock);
    struct process *p = pid ? process_find_locked(pid) : current_process();
    if (p)
        result = session ? p->session : p->pgrp;
    spin_unlock(&process_lock);
    return result;
}

long sys_getpgid(int pid) {
    return group_or_session(pid, false);
}

long sys_getsid(int pid) {
    return group_or_session(pid, true);
}

long sys_getpgrp(void) {
    return current_process()->pgrp;
}
