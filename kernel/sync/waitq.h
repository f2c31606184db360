// Wait queues: worlds (or callbacks) waiting for something to happen.
#pragma once
#include "lib/errno.h"
#include "lib/list.h"
#include "sync/spinlock.h"

struct world;
struct waiter;

struct waitq {
    struct spinlock lock;
    struct list_node waiters;
};
#define WAITQ_INIT(q) \
    { SPINLOCK_INIT, LIST_INIT((q).waiters) }

// What happens at a wake-up: called with q->lock held, in any context. Default: wake ->world.
// Returns true when an exclusive waiter consumed the wake-up.
typedef bool (*waiter_fn)(struct waiter *w, uint32_t events);
struct waiter {
    struct list_node node;
    struct waitq *queue;
    struct world *world;
    waiter_fn fn;
    bool exclusive; // at most one exclusive waiter is woken by waitq_wake_one()
    void *arg;      // the callback's own
};

void waitq_init(struct waitq *q);
// Adds a waiter with a callback (epoll, poll); removed by waitq_remove(). Any context.
void waitq_add(struct waitq *q, struct waiter *w);
void waitq_remove(struct waiter *w);
// Wakes all, or all non-exclusive and one exclusive. `events`: poll bits handed to callbacks, 0: any.
// Any context, also with other spin locks held (never those of a world or run queue).
void waitq_wake(struct waitq *q, uint32_t events);
void waitq_wake_one(struct waitq *q, uint32_t events);

// Building blocks of the macros below, with a waiter that is zero but for ->exclusive: enqueue the calling world and mark it waiting; then test the
// condition; then waitq_sleep(); waitq_finish() in any case.
void waitq_prepare(struct waitq *q, struct waiter *w, bool interruptible);
// Sleeps until woken, until monotonic time `deadline` (UINT64_MAX: none), or a signal when
// interruptible. Returns 0, -ETIMEDOUT or -ERESTARTSYS.
int waitq_sleep(struct waiter *w, bool interruptible, uint64_t deadline);
void waitq_finish(struct waiter *w);

#define wait_event_common(q, cond, interruptible, deadline)            \
    ({                                                                 \
        int ret_ = 0;                                                  \
        if (!(cond)) {                                                 \
            struct waiter waiter_ = {.exclusive = false};              \
            for (;;) {                                                 \
                waitq_prepare(q, &waiter_, interruptible);             \
                if (cond) {                                            \
                    ret_ = 0;                                          \
                    break;                                             \
                }                                                      \
                if (ret_)                                              \
                    break;                                             \
                ret_ = waitq_sleep(&waiter_, interruptible, deadline); \
            }                                                          \
            waitq_finish(&waiter_);                                    \
        }                                                              \
        ret_;                                                          \
    })
// Sleeps until cond is true. Nothing but the condition ends it. `cond` must not sleep.
#define wait_event(q, cond) ((void)wait_event_common(q, cond, false, UINT64_MAX))
// 0 when cond is true, -ERESTARTSYS when a signal is pending first.
#define wait_event_interruptible(q, cond) wait_event_common(q, cond, true, UINT64_MAX)
// 0, -ERESTARTSYS, or -ETIMEDOUT at monotonic time `deadline` in ns.
#define wait_event_until(q, cond, deadline) wait_event_common(q, cond, true, deadline)
