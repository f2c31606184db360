// Run queues: one per processor, ordered by weighted run time. Private to sched/.
#pragma once
#include "sched/world.h"
#include "sync/spinlock.h"

struct runqueue {
    struct spinlock lock;  // held across the switch, so a world seen off its queue is off its stack
    struct tree queue;     // runnable worlds except the running one, by vruntime
    unsigned count;        // worlds in `queue`
    uint64_t weight;       // sum of their weights
    uint64_t min_vruntime; // never goes back; where newcomers start
    uint64_t slice_end;    // monotonic ns; UINT64_MAX while idle
    uint64_t last_tick;    // monotonic ns of the last timer interrupt
    uint64_t armed;        // what clock_arm() was last given
    struct world *dead;    // left by world_exit(), freed after the switch
    struct cpu *cpu;
};

// Puts a runnable world on `rq`. Lock held.
void rq_enqueue(struct runqueue *rq, struct world *w);
void rq_dequeue(struct runqueue *rq, struct world *w);
// Takes the world that should run next off the queue, or returns NULL. Lock held.
struct world *rq_pick(struct runqueue *rq);
// Charges the running world for the time since its run_since. Lock held.
void rq_account(struct world *w);
// True when `w`, just woken, should replace what runs on `rq`. Lock held.
bool rq_preempts(const struct runqueue *rq, const struct world *w);
// Locks the run queue that `w` belongs to.
struct runqueue *rq_lock_of(struct world *w);

// Where a world that wakes up should run.
unsigned balance_choose_cpu(const struct world *w);
// Takes a world from the busiest other processor and queues it here; false when there is none worth
// it. Interrupts off, no run-queue lock held.
bool balance_pull(struct runqueue *rq);

// What the timer interrupt does for timers; returns the next deadline of this processor.
uint64_t timers_run(uint64_t now);
// Arms the hardware for `deadline` if that is sooner than what is armed. Interrupts off.
void sched_arm(uint64_t deadline);

// Frees what world_create_*() allocated. Any context; no processor runs the world any more.
void world_release(struct world *w);
// A world that is never queued and runs `fn` when its processor has nothing else (fn NULL: the caller
// is that flow already). NULL: out of memory.
struct world *world_create_idle(unsigned cpu, void (*fn)(void *arg));
