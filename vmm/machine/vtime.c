#include "vmm/machine/vtime.h"
#include "vmm/machine/machine.h"

#define NS_PER_SECOND 1000000000ull

typedef unsigned __int128 u128;

// a * b / c, rounded down; saturates.
static uint64_t muldiv(uint64_t a, uint64_t b, uint64_t c) {
    u128 r = (u128)a * b / c;
    return r > UINT64_MAX ? UINT64_MAX : (uint64_t)r;
}

uint64_t vtime_now(const struct machine *m) {
    return m->anchor + m->count;
}

uint64_t vtime_hz(const struct machine *m) {
    return m->hz;
}

uint64_t vtime_to_ns(const struct machine *m, uint64_t ticks) {
    return muldiv(ticks, NS_PER_SECOND, m->hz);
}

uint64_t vtime_from_ns(const struct machine *m, uint64_t ns) {
    return muldiv(ns, m->hz, NS_PER_SECOND);
}

uint64_t vtime_scale(const struct machine *m, uint64_t ticks, uint64_t hz) {
    return muldiv(ticks, hz, m->hz);
}

uint64_t vtime_unscale(const struct machine *m, uint64_t units, uint64_t hz) {
    u128 r = ((u128)units * m->hz + hz - 1) / hz;
    return r > UINT64_MAX ? UINT64_MAX : (uint64_t)r;
}

void vtimer_init(struct machine *m, struct vtimer *t, void (*fn)(void *opaque), void *opaque) {
    *t = (struct vtimer){.deadline = UINT64_MAX,
                         .fn = fn,
                         .opaque = opaque,
                         .order = m->timer_count++,
                         .machine = m};
}

static void unlink_timer(struct vtimer *t) {
    for (struct vtimer **at = &t->machine->timers; *at; at = &(*at)->next) {
        if (*at == t) {
            *at = t->next;
            break;
        }
    }
    t->next = NULL;
}

static bool before(const struct vtimer *a, const struct vtimer *b) {
    return a->deadline != b->deadline ? a->deadline < b->deadline : a->order < b->order;
}

void vtimer_restore(struct vtimer *t) {
    unlink_timer(t);
    if (t->deadline == UINT64_MAX)
        return;
    struct vtimer **at = &t->machine->timers;
    while (*at && before(*at, t))
        at = &(*at)->next;
    t->next = *at;
    *at = t;
}

void vtimer_arm(struct vtimer *t, uint64_t deadline) {
    if (t->deadline == deadline)
        return;
    t->deadline = deadline;
    vtimer_restore(t);
}

void vtimer_cancel(struct vtimer *t) {
    vtimer_arm(t, UINT64_MAX);
}

uint64_t vtime_next_deadline(const struct machine *m) {
    return m->timers ? m->timers->deadline : UINT64_MAX;
}

void vtime_fire(struct machine *m) {
    uint64_t now = vtime_now(m);
    while (m->timers && m->timers->deadline <= now) {
        struct vtimer *t = m->timers;
        m->timers = t->next;
        t->next = NULL;
        t->deadline = UINT64_MAX;
        t->fn(t->opaque);
    }
}
