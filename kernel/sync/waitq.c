// Wait queues. The order that makes them safe: a sleeper announces its state, then looks at the
// condition; a waker changes the condition, then looks at the state. Both sides have a full barrier
// in between (taking the queue's or the run queue's lock).
#include "sync/waitq.h"
#include "cpu/clock.h"
#include "sched/world.h"

void waitq_init(struct waitq *q) {
    *q = (struct waitq)WAITQ_INIT(*q);
}

void waitq_add(struct waitq *q, struct waiter *w) {
    spin_lock(&q->lock);
    w->queue = q;
    // Exclusive waiters stand behind all others, so that a wake-up can stop at the first of them.
    if (w->exclusive)
        list_add_tail(&q->waiters, &w->node);
    else
        list_add_head(&q->waiters, &w->node);
    spin_unlock(&q->lock);
}

void waitq_remove(struct waiter *w) {
    if (!w->queue)
        return;
    spin_lock(&w->queue->lock);
    list_remove(&w->node);
    spin_unlock(&w->queue->lock);
    w->queue = NULL;
}

// Most wake-ups find nobody. The caller's change of the condition must be visible before this look.
static inline bool nobody_waits(const struct waitq *q) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return list_empty(&q->waiters);
}

static void wake(struct waitq *q, uint32_t events, bool one) {
    spin_lock(&q->lock);
    struct waiter *w, *next;
    list_for_each_safe(w, next, &q->waiters, node) {
        bool consumed = w->fn ? w->fn(w, events) : world_wake(w->world);
        if (consumed && w->exclusive && one)
            break;
    }
    spin_unlock(&q->lock);
}

void waitq_wake(struct waitq *q, uint32_t events) {
    if (unlikely(!nobody_waits(q)))
        wake(q, events, false);
}
void waitq_wake_one(struct waitq *q, uint32_t events) {
    if (unlikely(!nobody_waits(q)))
        wake(q, events, true);
}

void waitq_prepare(struct waitq *q, struct waiter *w, bool interruptible) {
    struct world *self = current;
    if (!w->queue) {
        w->world = self;
        w->fn = NULL;
        waitq_add(q, w);
    }
    // The exchange is a full barrier: the condition is looked at after the state is announced.
    __atomic_exchange_n(&self->state, interruptible ? WORLD_WAITING_INTERRUPTIBLE : WORLD_WAITING,
                        __ATOMIC_SEQ_CST);
}

static void deadline_passed(struct timer *t) {
    world_wake(t->arg);
}

int waitq_sleep(struct waiter *w, bool interruptible, uint64_t deadline) {
    if (interruptible && signal_pending(w->world))
        return -ERESTARTSYS;
    if (deadline == UINT64_MAX) {
        schedule();
    } else {
        if (clock_monotonic() >= deadline)
            return -ETIMEDOUT;
        struct timer t;
        timer_init(&t, deadline_passed, w->world);
        timer_arm(&t, deadline);
        schedule();
        timer_cancel(&t);
        if (clock_monotonic() >= deadline)
            return -ETIMEDOUT;
    }
    return interruptible && signal_pending(w->world) ? -ERESTARTSYS : 0;
}

void waitq_finish(struct waiter *w) {
    w->world->state = WORLD_RUNNABLE;
    waitq_remove(w);
}
