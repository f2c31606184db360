// High-resolution one-shot timers, kept per processor in a tree ordered by deadline.
#pragma once
#include "lib/tree.h"

struct timer {
    struct tree_node node;
    uint64_t deadline;           // monotonic ns
    void (*fn)(struct timer *t); // interrupt context, interrupts off, no lock held; may re-arm t
    void *arg;
    int cpu; // on whose tree, -1: not armed
};

void timer_init(struct timer *t, void (*fn)(struct timer *), void *arg);
// Arms (or re-arms) for monotonic time `deadline` on this processor. Any context.
void timer_arm(struct timer *t, uint64_t deadline);
// Returns true when it was armed. After it returns, fn does not run any more (it waits for a
// running fn on another processor, so do not call it with a lock that fn takes).
bool timer_cancel(struct timer *t);
