// Spin locks. Taking one turns interrupts off on this processor until the last one is released, so
// a lock may be shared with interrupt handlers, and the holder is never preempted. Never sleep,
// touch user memory or allocate with a flag that may sleep while holding one.
#pragma once
#include "cpu/percpu.h"
#include "cpu/x86.h"
#include "lib/assert.h"

struct spinlock {
    uint16_t next, serving; // ticket lock: fair
    uint16_t holder;        // cpu id + 1, 0: free; for assertions and reports
};
#define SPINLOCK_INIT {0, 0, 0}

#ifdef UNIT_TEST // on the workstation: one thread
static inline void spin_init(struct spinlock *l) { *l = (struct spinlock)SPINLOCK_INIT; }
static inline void spin_lock(struct spinlock *l) { ASSERT(!l->holder); l->holder = 1; }
static inline void spin_unlock(struct spinlock *l) { ASSERT(l->holder); l->holder = 0; }
static inline bool spin_held(const struct spinlock *l) { return l->holder; }
#else
static inline void spin_init(struct spinlock *l) { *l = (struct spinlock)SPINLOCK_INIT; }

// Interrupts off, counted; the outermost irq_pop() restores what was.
static inline void irq_push(void) {
    bool on = irq_enabled();
    irq_disable();
    struct cpu *c = this_cpu();
    if (c->lock_depth++ == 0)
        c->irq_before_lock = on;
}
static inline void irq_pop(void) {
    struct cpu *c = this_cpu();
    ASSERT(c->lock_depth > 0);
    if (--c->lock_depth == 0 && c->irq_before_lock)
        irq_enable();
}
// True when this processor holds it.
static inline bool spin_held(const struct spinlock *l) { return READ_ONCE(l->holder) == this_cpu()->id + 1; }
static inline void spin_lock(struct spinlock *l) {
    irq_push();
    ASSERT(!spin_held(l));
    uint16_t ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != ticket)
        cpu_relax();
    l->holder = this_cpu()->id + 1;
}
static inline void spin_unlock(struct spinlock *l) {
    ASSERT(spin_held(l));
    l->holder = 0;
    __atomic_store_n(&l->serving, l->serving + 1, __ATOMIC_RELEASE);
    irq_pop();
}
#endif
