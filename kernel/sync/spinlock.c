// Spin locks: what happens when they are contended.
#include "sync/spinlock.h"

void spin_wait(struct spinlock *l, uint16_t ticket) {
    ASSERT(!spin_held(l)); // it would wait for itself
    while (__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != ticket)
        cpu_relax();
}
