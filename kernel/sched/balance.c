// Load balance between processors: place worlds well when they wake, and let a processor that runs
// dry, or finds another much busier at the end of a slice, take a world over.
#include "sched/runqueue.h"

static bool may_run_on(const struct world *w, unsigned cpu) {
    return w->affinity & BIT(cpu);
}

// Worlds that want the processor, with the running one.
static unsigned load(unsigned cpu) {
    const struct cpu *c = cpus[cpu];
    return READ_ONCE(c->runqueue->count) + (READ_ONCE(c->world) != c->idle);
}

unsigned balance_choose_cpu(const struct world *w) {
    if (cpu_count == 1)
        return 0;
    unsigned best = w->cpu;
    bool allowed = may_run_on(w, best);
    unsigned best_load = allowed ? load(best) : UINT32_MAX;
    // Caches are warm where it ran last: stay unless that processor is busy and another is not.
    for (unsigned i = 0; i < cpu_count && best_load > 0; i++)
        if (may_run_on(w, i) && load(i) < best_load) {
            if (allowed && load(i) + 1 >= best_load && load(i) > 0)
                continue;
            best = i;
            best_load = load(i);
        }
    return best;
}

static struct runqueue *busiest(const struct runqueue *mine) {
    struct runqueue *found = NULL;
    unsigned most = load(mine->cpu->id) + 1;
    for (unsigned i = 0; i < cpu_count; i++)
        if (cpus[i] != mine->cpu && READ_ONCE(cpus[i]->runqueue->count) > 0 && load(i) > most) {
            most = load(i);
            found = cpus[i]->runqueue;
        }
    return found;
}

// The world that would wait longest there and may run here.
static struct world *steal(struct runqueue *from, unsigned to) {
    spin_lock(&from->lock);
    struct tree_node *n = tree_last(&from->queue);
    while (n && !may_run_on(tree_entry(n, struct world, rq_node), to))
        n = tree_prev(n);
    struct world *w = n ? tree_entry(n, struct world, rq_node) : NULL;
    if (w) {
        rq_dequeue(from, w);
        // Keep its distance from the others: virtual times of two queues are unrelated.
        w->vruntime -= from->min_vruntime;
        w->cpu = to;
    }
    spin_unlock(&from->lock);
    return w;
}

bool balance_pull(struct runqueue *rq) {
    struct runqueue *from = cpu_count > 1 ? busiest(rq) : NULL;
    struct world *w = from ? steal(from, rq->cpu->id) : NULL;
    if (!w)
        return false;
    // Between the two locks w is runnable, on no queue and belongs to this processor: a wake-up finds
    // nothing to do, and nobody else can take it.
    spin_lock(&rq->lock);
    w->vruntime += rq->min_vruntime;
    rq_enqueue(rq, w);
    spin_unlock(&rq->lock);
    return true;
}
