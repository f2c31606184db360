// Sleeping locks: one compare-and-exchange when free; waiters queue in order of arrival.
#include "sync/mutex.h"
#include "sched/world.h"

void mutex_init(struct mutex *m) {
    m->owner = NULL;
    waitq_init(&m->waiters);
}

bool mutex_trylock(struct mutex *m) {
    struct world *nobody = NULL;
    return __atomic_compare_exchange_n(&m->owner, &nobody, current, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

void mutex_lock(struct mutex *m) {
    if (likely(mutex_trylock(m)))
        return;
    ASSERTF(m->owner != current, "mutex locked twice by the same world");
    struct waiter w = {.exclusive = true};
    for (;;) {
        waitq_prepare(&m->waiters, &w, false);
        if (mutex_trylock(m))
            break;
        waitq_sleep(&w, false, UINT64_MAX);
    }
    waitq_finish(&w);
}

void mutex_unlock(struct mutex *m) {
    ASSERT(m->owner == current);
    __atomic_store_n(&m->owner, NULL, __ATOMIC_RELEASE);
    waitq_wake_one(&m->waiters, 0); // begins with a full barrier, so a waiter is seen or sees NULL
}

bool mutex_held(const struct mutex *m) {
    return m->owner == current;
}
