// Per-processor state of the allocators: the index of this processor and short sections with
// interrupts off, with workstation versions for the unit tests.
#pragma once
#include "cpu/percpu.h"
#include "cpu/x86.h"

#ifdef UNIT_TEST
static inline unsigned local_cpu(void) {
    return 0;
}
static inline bool local_lock(void) {
    return true;
}
static inline void local_unlock(bool on) {
    (void)on;
}
static inline bool local_may_sleep(void) {
    return true;
}
#else
static inline unsigned local_cpu(void) {
    return THIS_CPU->id;
}
// Turns interrupts off; returns whether they were on.
static inline bool local_lock(void) {
    bool on = irq_enabled();
    irq_disable();
    return on;
}
static inline void local_unlock(bool on) {
    if (on)
        irq_enable();
}
static inline bool local_may_sleep(void) {
    struct cpu *c = this_cpu();
    return c->world && c->lock_depth == 0 && !c->in_interrupt && irq_enabled();
}
#endif
