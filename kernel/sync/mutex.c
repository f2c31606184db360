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

// The owner runs on some processor now. Compares pointers only: it may release the mutex, end and be
// freed at any moment.
static bool owner_runs(const struct world *owner) {
    for (unsigned i = 0; i < cpu_count; i++)
        if (READ_ONCE(cpus[i]->world) == owner)
            return true;
    return false;
}

// Most mutexes are held for less time than a switch takes: while the owner runs, waiting awake is
// cheaper. 1000 rounds are some microseconds.
static bool spin_for(struct mutex *m) {
    for (unsigned i = 0; i < 1000; i++) {
        struct world *owner = READ_ONCE(m->owner);
        if (!owner && mutex_trylock(m))
            return true;
        if (owner && !owner_runs(owner))
            return false;
        cpu_relax();
    }
    return false;
}

void mutex_lock(struct mutex *m) {
    if (likely(mutex_trylock(m)))
        return;
    ASSERTF(m->owner != current, "mutex locked twice by the same world");
    if (cpu_count > 1 && spin_for(m))
        return;
    struct waiter w = {.exclusive = true};
    for (;;) {
        waitq_prepare(&m->waiters, &w, false);
        if (mutex_trylock(m))
            break;
        waitq_sleep(&w, false, UINT64_MAX);
    }
    waitq_finish(&w);
}

static noinline void wake_next(struct mutex *m, const struct world *owner) {
    ASSERTF(owner == current, "mutex unlocked by a world that has not locked it");
    waitq_wake_one(&m->waiters, 0);
}

void mutex_unlock(struct mutex *m) {
    // A full barrier: a waiter that is not seen in the queue yet sees that the mutex is free.
    struct world *owner = __atomic_exchange_n(&m->owner, NULL, __ATOMIC_SEQ_CST);
    if (unlikely(!list_empty(&m->waiters.waiters) || owner != current))
        wake_next(m, owner);
}

bool mutex_held(const struct mutex *m) {
    return m->owner == current;
}
