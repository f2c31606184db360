// A lock whose waiters sleep. May be held while sleeping and while touching user memory. Not for
// interrupt handlers. Not recursive.
#pragma once
#include "sync/waitq.h"

struct mutex {
    struct world *owner; // NULL: free
    struct waitq waiters;
};
#define MUTEX_INIT(m) \
    { NULL, WAITQ_INIT((m).waiters) }

void mutex_init(struct mutex *m);
// Sleeps, uninterruptibly, until the mutex is the caller's.
void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);
// True when the calling world holds it: for assertions.
bool mutex_held(const struct mutex *m);
