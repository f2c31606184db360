// Which world runs next: proportional share by virtual run time.
//
// vruntime advances by real time * 1024 / weight. The queue is ordered by it; the world that has had
// the least, measured against its share, goes first. A world that slept starts a little behind
// min_vruntime, so that it runs soon without having saved up credit for the time it slept.
#include "sched/runqueue.h"
#include "cpu/clock.h"

#define WEIGHT_UNIT 1024
// A sleeper is placed at most this far before the queue's minimum, and a woken world preempts the
// running one only if it is behind by more than GRANULARITY: less would switch without need.
#define SLEEPER_CREDIT_NS 3000000
#define GRANULARITY_NS    1000000

static bool before(const struct tree_node *a, const struct tree_node *b) {
    const struct world *x = tree_entry(a, struct world, rq_node);
    const struct world *y = tree_entry(b, struct world, rq_node);
    return (int64_t)(x->vruntime - y->vruntime) < 0;
}

void rq_enqueue(struct runqueue *rq, struct world *w) {
    ASSERT(spin_held(&rq->lock) && !w->on_runqueue);
    uint64_t floor = rq->min_vruntime - clock_ns_to_tsc(SLEEPER_CREDIT_NS);
    if ((int64_t)(w->vruntime - floor) < 0)
        w->vruntime = floor;
    w->on_runqueue = true;
    tree_insert(&rq->queue, &w->rq_node, before);
    rq->count++;
    rq->weight += w->weight;
}

void rq_dequeue(struct runqueue *rq, struct world *w) {
    ASSERT(spin_held(&rq->lock) && w->on_runqueue);
    tree_remove(&rq->queue, &w->rq_node);
    w->on_runqueue = false;
    rq->count--;
    rq->weight -= w->weight;
}

struct world *rq_pick(struct runqueue *rq) {
    struct tree_node *n = tree_first(&rq->queue);
    if (!n)
        return NULL;
    struct world *w = tree_entry(n, struct world, rq_node);
    rq_dequeue(rq, w);
    if ((int64_t)(w->vruntime - rq->min_vruntime) > 0)
        rq->min_vruntime = w->vruntime;
    return w;
}

void rq_account(struct world *w) {
    uint64_t now = rdtsc(), ran = now - w->run_since;
    w->run_since = now;
    w->run_time += ran;
    w->vruntime += w->weight == WEIGHT_UNIT ? ran : ran * WEIGHT_UNIT / w->weight;
}

bool rq_preempts(const struct runqueue *rq, const struct world *w) {
    const struct world *running = rq->cpu->world;
    if (running == rq->cpu->idle)
        return true;
    uint64_t now = running->vruntime + (rdtsc() - running->run_since);
    return (int64_t)(now - w->vruntime) > (int64_t)clock_ns_to_tsc(GRANULARITY_NS);
}

struct runqueue *rq_lock_of(struct world *w) {
    for (;;) {
        unsigned cpu = READ_ONCE(w->cpu);
        struct runqueue *rq = cpus[cpu]->runqueue;
        spin_lock(&rq->lock);
        if (likely(w->cpu == cpu))
            return rq;
        spin_unlock(&rq->lock);
    }
}
