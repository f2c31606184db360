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
#define SPINLOCK_INIT \
    { 0, 0, 0 }

#ifdef UNIT_TEST // on the workstation: one thread
static inline void spin_init(struct spinlock *l) {
    *l = (struct spinlock)SPINLOCK_INIT;
}
static inline void spin_lock(struct spinlock *l) {
    ASSERT(!l->holder);
    l->holder = 1;
}
static inline void spin_unlock(struct spinlock *l) {
    ASSERT(l->holder);
    l->holder = 0;
}
static inline bool spin_held(const struct spinlock *l) {
    return l->holder;
}
static inline void irq_push(void) {}
static inline void irq_pop(void) {}
#else
static inline void spin_init(struct spinlock *l) {
    *l = (struct spinlock)SPINLOCK_INIT;
}

// Interrupts off, counted; the outermost irq_pop() restores what was. While the depth is 0 only
// interrupt handlers, which leave it as it was, can come between its test and CLI. (The depth grows
// first, so that a lock taken in an NMI does not overwrite the flags.)
static inline void irq_push(void) {
    if (THIS_CPU->lock_depth == 0) {
        uint64_t flags = read_rflags();
        irq_disable();
        WRITE_ONCE(THIS_CPU->lock_depth, 1);
        WRITE_ONCE(THIS_CPU->flags_before_lock, flags);
    } else {
        __asm__ volatile("incl %0" : "+m"(THIS_CPU->lock_depth));
    }
}
static inline void irq_pop(void) {
    bool last;
    __asm__ volatile("decl %1" : "=@ccz"(last), "+m"(THIS_CPU->lock_depth)::"memory");
    if (last && THIS_CPU->flags_before_lock & RFLAGS_IF)
        irq_enable();
}
// True when this processor holds it.
static inline bool spin_held(const struct spinlock *l) {
    return READ_ONCE(l->holder) == THIS_CPU->id + 1;
}
// Waits until `ticket` is served. Panics when it is this processor that holds the lock.
void spin_wait(struct spinlock *l, uint16_t ticket);
static inline void spin_lock(struct spinlock *l) {
    irq_push();
    uint16_t ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
    if (unlikely(__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != ticket))
        spin_wait(l, ticket);
    l->holder = THIS_CPU->id + 1;
}
static inline void spin_unlock(struct spinlock *l) {
    ASSERT(spin_held(l));
    l->holder = 0;
    // Only the holder writes it, so no LOCK; and on x86 every store is a release.
    __asm__ volatile("incw %0" : "+m"(l->serving)::"memory");
    irq_pop();
}
#endif
