// High-resolution timers: a tree per processor, the hardware armed for the earliest.
#include "sched/timer.h"
#include "cpu/clock.h"
#include "sched/runqueue.h"

static struct timer_base {
    struct spinlock lock;
    struct tree tree;
    struct timer *running; // its fn is being called by this processor
} bases[MAX_CPUS];

static bool sooner(const struct tree_node *a, const struct tree_node *b) {
    return tree_entry(a, struct timer, node)->deadline <
           tree_entry(b, struct timer, node)->deadline;
}

void timer_init(struct timer *t, void (*fn)(struct timer *), void *arg) {
    *t = (struct timer){.fn = fn, .arg = arg, .cpu = -1};
}

// Locks the base that `t` is on, or returns NULL when it is on none.
static struct timer_base *lock_base_of(struct timer *t) {
    for (;;) {
        int cpu = READ_ONCE(t->cpu);
        if (cpu < 0)
            return NULL;
        struct timer_base *b = &bases[cpu];
        spin_lock(&b->lock);
        if (t->cpu == cpu)
            return b;
        spin_unlock(&b->lock);
    }
}

static bool disarm(struct timer *t) {
    struct timer_base *b = lock_base_of(t);
    if (!b)
        return false;
    tree_remove(&b->tree, &t->node);
    t->cpu = -1;
    spin_unlock(&b->lock);
    return true;
}

void timer_arm(struct timer *t, uint64_t deadline) {
    disarm(t);
    irq_push(); // stay on this processor
    struct timer_base *b = &bases[this_cpu()->id];
    spin_lock(&b->lock);
    ASSERT(t->cpu < 0);
    t->deadline = deadline;
    t->cpu = this_cpu()->id;
    tree_insert(&b->tree, &t->node, sooner);
    sched_arm(deadline);
    spin_unlock(&b->lock);
    irq_pop();
}

bool timer_cancel(struct timer *t) {
    if (disarm(t))
        return true;
    for (unsigned i = 0; i < cpu_count; i++)
        if (cpus[i] != this_cpu())
            while (__atomic_load_n(&bases[i].running, __ATOMIC_ACQUIRE) == t)
                cpu_relax();
    // fn may have armed it again while we waited.
    return disarm(t);
}

uint64_t timers_run(uint64_t now) {
    struct timer_base *b = &bases[this_cpu()->id];
    for (;;) {
        spin_lock(&b->lock);
        struct tree_node *n = tree_first(&b->tree);
        struct timer *t = n ? tree_entry(n, struct timer, node) : NULL;
        if (!t || t->deadline > now) {
            spin_unlock(&b->lock);
            return t ? t->deadline : UINT64_MAX;
        }
        tree_remove(&b->tree, &t->node);
        t->cpu = -1;
        b->running = t;
        spin_unlock(&b->lock);
        t->fn(t);
        __atomic_store_n(&b->running, NULL, __ATOMIC_RELEASE);
    }
}
