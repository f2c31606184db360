// Controlling terminals: which session owns a terminal, which of its groups is in the foreground,
// and what the others may not do.
//
// A terminal belongs to the session that t->session names; a process has it as its controlling
// terminal when p->tty points to it and the sessions agree. So giving a terminal up is one store,
// whatever copies of the pointer there are. Terminals are never freed, so such a copy is harmless.
#include "cpu/percpu.h"
#include "proc/process.h"
#include "sched/world.h"
#include "tty/ldisc.h"

// Covers session and pgrp of all terminals, and every process's ->tty. Taken with no other lock held.
static struct spinlock job_lock = SPINLOCK_INIT;

struct tty *tty_of(const struct process *p) {
    struct tty *t = READ_ONCE(p->tty);
    return t && READ_ONCE(t->session) == p->session ? t : NULL;
}

static bool blocked_or_ignored(struct process *p, int sig) {
    spin_lock(&p->signal_lock);
    bool yes = (current->signals.blocked & SIGNAL_BIT(sig)) ||
               p->actions[sig - 1].handler == (uint64_t)SIG_IGN;
    spin_unlock(&p->signal_lock);
    return yes;
}

int tty_check_job(struct tty *t, int sig) {
    struct process *p = current_process();
    if (!p || tty_of(p) != t)
        return 0;
    int pgrp = READ_ONCE(t->pgrp);
    if (pgrp == 0 || pgrp == p->pgrp)
        return 0;
    if (blocked_or_ignored(p, sig))
        return sig == SIGTTIN ? -EIO : 0;
    if (process_group_orphaned(p->pgrp))
        return -EIO;
    signal_send_group(p->pgrp, sig, NULL);
    return -ERESTARTSYS;
}

static void own(struct tty *t, struct process *p) {
    p->tty = t;
    WRITE_ONCE(t->pgrp, p->pgrp);
    WRITE_ONCE(t->session, p->session);
}

void tty_acquire_on_open(struct tty *t) {
    struct process *p = current_process();
    if (!p || p->session != p->pid)
        return;
    spin_lock(&job_lock);
    if (!tty_of(p) && t->session == 0)
        own(t, p);
    spin_unlock(&job_lock);
}

int tty_set_controlling(struct tty *t, bool steal) {
    struct process *p = current_process();
    int err = 0;
    spin_lock(&job_lock);
    if (p->session == p->pid && t->session == p->session && tty_of(p) == t)
        err = 0; // it is already
    else if (p->session != p->pid || tty_of(p))
        err = -EPERM;
    else if (t->session != 0 && (!steal || p->euid != 0))
        err = -EPERM;
    else
        own(t, p);
    spin_unlock(&job_lock);
    return err;
}

// Ends the session's hold on t; returns the foreground group that it had.
static int release_session(struct tty *t, int session) {
    int pgrp = 0;
    spin_lock(&job_lock);
    if (t->session == session) {
        pgrp = t->pgrp;
        WRITE_ONCE(t->session, 0);
        WRITE_ONCE(t->pgrp, 0);
    }
    spin_unlock(&job_lock);
    return pgrp;
}

static void hang_up_group(int pgrp) {
    if (pgrp <= 0)
        return;
    signal_send_group(pgrp, SIGHUP, NULL);
    signal_send_group(pgrp, SIGCONT, NULL);
}

int tty_give_up(struct tty *t) {
    struct process *p = current_process();
    if (tty_of(p) != t)
        return -ENOTTY;
    if (p->session == p->pid)
        hang_up_group(release_session(t, p->session));
    p->tty = NULL;
    return 0;
}

// Files that are open now read nothing and write nothing any more.
static void kill_files(struct tty *t) {
    spin_lock(&t->lock);
    t->generation++;
    ldisc_flush_input(t);
    output_discard(t);
    t->stopped = false;
    spin_unlock(&t->lock);
    waitq_wake(&t->read_wait, 0);
    waitq_wake(&t->write_wait, 0);
}

void tty_disassociate(struct process *leader) {
    struct tty *t = tty_of(leader);
    if (!t)
        return;
    int pgrp = release_session(t, leader->session);
    if (!t->driver->pty)
        kill_files(t);
    hang_up_group(pgrp);
    leader->tty = NULL;
}

void tty_hangup(struct tty *t) {
    int session = READ_ONCE(t->session);
    int pgrp = session ? release_session(t, session) : 0;
    kill_files(t);
    if (t->driver->hangup)
        t->driver->hangup(t);
    if (!session)
        return;
    struct process *leader = process_find(session);
    if (leader) {
        signal_send_process(leader, SIGHUP, NULL);
        signal_send_process(leader, SIGCONT, NULL);
        process_put(leader);
    }
    if (pgrp != session)
        hang_up_group(pgrp);
}

// The caller's own terminal, or a master, which may ask about its slave.
static bool may_ask(const struct tty_file *tf) {
    return tf->master || tty_of(current_process()) == tf->tty;
}

long tty_get_group(struct tty_file *tf) {
    return may_ask(tf) ? READ_ONCE(tf->tty->pgrp) : -ENOTTY;
}

long tty_get_session(struct tty_file *tf) {
    int session = READ_ONCE(tf->tty->session);
    return may_ask(tf) && session ? session : -ENOTTY;
}

int tty_set_group(struct tty_file *tf, int pgrp) {
    struct process *p = current_process();
    struct tty *t = tf->tty;
    if (tty_of(p) != t)
        return -ENOTTY;
    int err = tty_check_job(t, SIGTTOU);
    if (err)
        return err;
    if (pgrp <= 0)
        return -EINVAL;
    if (!process_group_exists(pgrp, p->session))
        return -EPERM;
    spin_lock(&job_lock);
    if (t->session == p->session)
        WRITE_ONCE(t->pgrp, pgrp);
    else
        err = -ENOTTY;
    spin_unlock(&job_lock);
    return err;
}
