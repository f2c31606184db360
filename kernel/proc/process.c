// The tables of processes, threads and process groups.
#include "proc/table.h"
#include "cpu/percpu.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "proc/posix_timer.h"
#include "proc/time_calls.h"

struct spinlock process_lock = SPINLOCK_INIT;
struct list_node process_list = LIST_INIT(process_list);
struct process *init_process;

// By number: a process, and the live thread that has it.
static struct {
    struct process *process;
    struct world *world;
} table[PID_MAX];

#define GROUP_BUCKETS 64
static struct list_node groups[GROUP_BUCKETS];
static unsigned processes, threads;

struct process *current_process(void) {
    return current->process;
}

struct process *process_find_locked(int pid) {
    ASSERT(spin_held(&process_lock));
    return pid > 0 && pid < PID_MAX ? table[pid].process : NULL;
}

struct world *world_find_locked(int tid) {
    ASSERT(spin_held(&process_lock));
    return tid > 0 && tid < PID_MAX ? table[tid].world : NULL;
}

struct process *process_find(int pid) {
    spin_lock(&process_lock);
    struct process *p = process_find_locked(pid);
    if (p)
        process_get(p);
    spin_unlock(&process_lock);
    return p;
}

void process_get(struct process *p) {
    __atomic_fetch_add(&p->refs, 1, __ATOMIC_RELAXED);
}

void process_put(struct process *p) {
    if (__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) == 0)
        kfree(p);
}

struct process *process_alloc(void) {
    struct process *p = kzalloc(sizeof(*p));
    if (!p)
        return NULL;
    p->refs = 1;
    list_init(&p->children);
    list_init(&p->sibling);
    list_init(&p->all_node);
    list_init(&p->group_node);
    list_init(&p->worlds);
    list_init(&p->signal_queue);
    list_init(&p->posix_timers);
    waitq_init(&p->stop_wait);
    waitq_init(&p->child_wait);
    waitq_init(&p->vfork_wait);
    waitq_init(&p->signal_wait);
    spin_init(&p->signal_lock);
    mutex_init(&p->exec_lock);
    mutex_init(&p->timer_lock);
    timer_init(&p->real_timer, itimer_real_expired, p);
    return p;
}

// Keeps process_list in order of pid. New pids are nearly always the largest.
static void list_enter(struct process *p) {
    struct list_node *at = process_list.prev;
    while (at != &process_list && list_entry(at, struct process, all_node)->pid > p->pid)
        at = at->prev;
    list_insert_after(at, &p->all_node);
}

int process_enter_locked(struct process *p, struct world *leader) {
    int pid = pid_alloc();
    if (pid < 0)
        return pid;
    p->pid = leader->tid = pid;
    table[pid].process = p;
    table[pid].world = leader;
    list_enter(p);
    processes++;
    threads++;
    return 0;
}

void process_release_locked(struct process *p) {
    ASSERT(spin_held(&process_lock) && p->state == PROCESS_ZOMBIE);
    table[p->pid].process = NULL;
    pid_drop(p->pid);
    list_remove(&p->all_node);
    list_remove(&p->sibling);
    group_leave_locked(p);
    p->parent = NULL;
    processes--;
    process_put(p);
}

int world_enter_locked(struct world *w) {
    int tid = pid_alloc();
    if (tid < 0)
        return tid;
    w->tid = tid;
    table[tid].world = w;
    threads++;
    return 0;
}

void world_leave_locked(struct world *w) {
    ASSERT(spin_held(&process_lock) && table[w->tid].world == w);
    table[w->tid].world = NULL;
    if (!table[w->tid].process) // a process keeps its number until it is waited for
        pid_drop(w->tid);
    threads--;
}

void world_take_pid_locked(struct world *w, struct process *p) {
    ASSERT(table[p->pid].world == NULL);
    table[w->tid].world = NULL;
    pid_drop(w->tid);
    w->tid = p->pid;
    table[p->pid].world = w;
}

void process_set_parent_locked(struct process *p, struct process *parent) {
    list_remove(&p->sibling);
    p->parent = parent;
    WRITE_ONCE(p->ppid, parent ? parent->pid : 0);
    if (parent)
        list_add_tail(&parent->children, &p->sibling);
}

// ---- process groups ---------------------------------------------------------------------------

static struct list_node *group_bucket(int pgrp) {
    struct list_node *head = &groups[(unsigned)pgrp % GROUP_BUCKETS];
    if (!head->next)
        list_init(head);
    return head;
}

struct process_group *group_find_locked(int pgrp) {
    struct process_group *g;
    struct list_node *head = group_bucket(pgrp);
    list_for_each (g, head, hash) {
        if (g->id == pgrp)
            return g;
    }
    return NULL;
}

void group_leave_locked(struct process *p) {
    struct process_group *g = p->group;
    if (!g)
        return;
    list_remove(&p->group_node);
    p->group = NULL;
    if (!list_empty(&g->members))
        return;
    list_remove(&g->hash);
    pid_drop(g->id);
    pid_drop(g->session);
    kfree(g);
}

void group_join_locked(struct process *p, int pgrp, int session, struct process_group **spare) {
    ASSERT(spin_held(&process_lock));
    struct process_group *g = group_find_locked(pgrp);
    if (!g) {
        g = *spare;
        *spare = NULL;
        g->id = pgrp;
        g->session = session;
        list_init(&g->members);
        list_add_head(group_bucket(pgrp), &g->hash);
        pid_hold(pgrp);
        pid_hold(session);
    }
    if (p->group != g) {
        group_leave_locked(p);
        list_add_tail(&g->members, &p->group_node);
        p->group = g;
    }
    p->pgrp = pgrp;
    p->session = session;
}

// POSIX: no member has a parent that is in the same session but in another group (a shell that
// could continue it).
bool group_is_orphaned_locked(struct process_group *g) {
    struct process *p;
    list_for_each (p, &g->members, group_node) {
        struct process *parent = p->parent;
        if (p->state == PROCESS_ZOMBIE || !parent || parent == init_process)
            continue;
        if (parent->session == p->session && parent->pgrp != p->pgrp)
            return false;
    }
    return true;
}

bool process_group_orphaned(int pgrp) {
    spin_lock(&process_lock);
    struct process_group *g = group_find_locked(pgrp);
    bool orphaned = !g || group_is_orphaned_locked(g);
    spin_unlock(&process_lock);
    return orphaned;
}

// ---- views ------------------------------------------------------------------------------------

void process_for_each(void (*fn)(struct process *p, void *arg), void *arg) {
    struct process *p;
    spin_lock(&process_lock);
    list_for_each (p, &process_list, all_node)
        fn(p, arg);
    spin_unlock(&process_lock);
}

unsigned process_count(void) {
    return READ_ONCE(processes);
}

unsigned thread_count(void) {
    return READ_ONCE(threads);
}

int process_last_pid(void) {
    return pid_last();
}
