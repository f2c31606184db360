// The local APIC's timer: one-shot and periodic by its own count, or at a value of the TSC, which is V.
#include "vmm/machine/lapic_internal.h"

// A period shorter than this cannot be served: the guest would do nothing else.
#define SHORTEST_PERIOD 1000 // ticks

static unsigned shift(const struct lapic *l) {
    unsigned code = (l->divide & 3) | (l->divide >> 1 & 4); // 0: by 2 ... 6: by 128, 7: by 1
    return (code + 1) & 7;
}

static unsigned mode(const struct lapic *l) {
    return LVT_TIMER_MODE(l->lvt[LVT_TIMER]);
}

static uint64_t period(const struct lapic *l) {
    uint64_t ticks = (uint64_t)l->initial << shift(l);
    return ticks < SHORTEST_PERIOD ? SHORTEST_PERIOD : ticks;
}

static uint64_t now(const struct lapic *l) {
    return vtime_now(l->device.machine);
}

static void expired(void *o) {
    struct lapic *l = o;
    if (mode(l) == TIMER_PERIODIC) {
        // Periods that passed while V jumped are one interrupt, as for a processor that was busy.
        l->start += (now(l) - l->start) / period(l) * period(l);
        vtimer_arm(&l->timer, l->start + period(l));
    } else if (mode(l) == TIMER_DEADLINE) {
        l->tsc_deadline = 0;
    }
    lapic_local_event(l, LVT_TIMER);
}

uint32_t lapic_timer_current(const struct lapic *l) {
    if (l->timer.deadline == UINT64_MAX || mode(l) == TIMER_DEADLINE)
        return 0; // also where a count that has run out becomes periodic: it waits for a new one
    uint64_t elapsed = (now(l) - l->start) >> shift(l);
    if (mode(l) == TIMER_PERIODIC)
        return l->initial - elapsed % l->initial;
    return elapsed < l->initial ? l->initial - elapsed : 0;
}

// From here on the count is `count`.
static void run_from(struct lapic *l, uint32_t count) {
    l->start = now(l) - ((uint64_t)(l->initial - count) << shift(l));
    bool runs = l->initial && count;
    vtimer_arm(&l->timer, runs ? now(l) + ((uint64_t)count << shift(l)) : UINT64_MAX);
}

void lapic_timer_set_initial(struct lapic *l, uint32_t value) {
    if (mode(l) == TIMER_DEADLINE)
        return;
    l->initial = value;
    run_from(l, value);
}

void lapic_timer_set_divide(struct lapic *l, uint32_t value) {
    uint32_t count = lapic_timer_current(l);
    l->divide = value & 0xb;
    if (mode(l) != TIMER_DEADLINE)
        run_from(l, count);
}

void lapic_timer_set_lvt(struct lapic *l, uint32_t value) {
    unsigned old = mode(l);
    uint32_t count = lapic_timer_current(l);
    l->lvt[LVT_TIMER] = value;
    if (mode(l) == old)
        return;
    if (old == TIMER_DEADLINE ||
        mode(l) == TIMER_DEADLINE) { // disarms (SDM vol. 3, "TSC-Deadline Mode")
        l->initial = 0;
        l->tsc_deadline = 0;
        vtimer_cancel(&l->timer);
    } else {
        run_from(l, count);
    }
}

void lapic_timer_set_deadline(struct lapic *l, uint64_t tsc) {
    if (mode(l) != TIMER_DEADLINE)
        return;
    l->tsc_deadline = tsc;
    vtimer_arm(&l->timer, tsc ? tsc : UINT64_MAX);
}

void lapic_timer_reset(struct lapic *l) {
    l->initial = l->divide = 0;
    l->start = l->tsc_deadline = 0;
    vtimer_cancel(&l->timer);
}

void lapic_timer_init(struct lapic *l) {
    vtimer_init(l->device.machine, &l->timer, expired, l);
}
