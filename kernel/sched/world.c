// Making and unmaking worlds, and what they ask of the scheduler about themselves.
#include "sched/world.h"
#include "cpu/clock.h"
#include "cpu/fpu.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/kstack.h"
#include "sched/runqueue.h"
#include "sync/waitq.h"

#define WEIGHT_DEFAULT 1024

void world_entry(void); // switch.S

void world_release(struct world *w) {
    if (w->stack)
        kstack_free(w->stack);
    kfree(w->fpu);
    kfree(w);
}

void world_free(struct world *w) {
    ASSERT(!w->on_runqueue && !w->running);
    world_release(w);
}

static struct world *allocate(const char *name, size_t fpu_size) {
    struct world *w = kzalloc(sizeof(*w));
    if (!w)
        return NULL;
    w->stack = kstack_alloc();
    w->fpu = fpu_size ? kzalloc(fpu_size) : NULL; // XSAVE leaves reserved bytes of its header alone
    if (!w->stack || (fpu_size && !w->fpu)) {
        world_release(w);
        return NULL;
    }
    strlcpy(w->name, name, sizeof(w->name));
    w->weight = WEIGHT_DEFAULT;
    w->affinity = UINT64_MAX;
    w->state = WORLD_WAITING;
    list_init(&w->process_node);
    list_init(&w->signals.queue);
    return w;
}

// Lays out the stack so that switch_to() pops fn and arg into RBX and R12 and returns to world_entry
// with RSP = `top`.
static void prepare_stack(struct world *w, uint64_t top, void (*fn)(void *), void *arg) {
    uint64_t *sp = (uint64_t *)top;
    *--sp = (uint64_t)world_entry;
    *--sp = 0;             // rbp
    *--sp = (uint64_t)fn;  // rbx
    *--sp = (uint64_t)arg; // r12
    *--sp = 0;             // r13
    *--sp = 0;             // r14
    *--sp = 0;             // r15
    w->saved_rsp = (uint64_t)sp;
}

struct world *world_create_kernel(const char *name, void (*fn)(void *arg), void *arg) {
    struct world *w = allocate(name, 0);
    if (!w)
        return NULL;
    prepare_stack(w, (uint64_t)w->stack + KSTACK_SIZE, fn, arg);
    world_start(w);
    return w;
}

struct world *world_create_idle(unsigned cpu, void (*fn)(void *arg)) {
    struct world *w = allocate("idle", 0);
    if (!w)
        return NULL;
    prepare_stack(w, (uint64_t)w->stack + KSTACK_SIZE, fn, NULL);
    w->cpu = cpu;
    w->state = WORLD_RUNNABLE;
    return w;
}

struct world *world_create_user(struct process *proc, const char *name,
                                const struct trap_frame *frame) {
    struct world *w = allocate(name, fpu_area_size());
    if (!w)
        return NULL;
    w->process = proc;
    w->frame = (struct trap_frame *)((uint64_t)w->stack + KSTACK_SIZE) - 1;
    *w->frame = *frame;
    prepare_stack(w, (uint64_t)w->frame, NULL, NULL);
    struct world *parent = current;
    if (parent->fpu) { // fork, clone: the registers of the caller, as they are now
        fpu_save(w->fpu);
        w->fs_base = parent->fs_base;
        w->gs_base = parent->gs_base;
        w->weight = parent->weight;
        w->affinity = parent->affinity;
    } else {
        fpu_init_area(w->fpu);
    }
    return w;
}

// With the slice that w is in. Another world's is read under its run queue's lock, or the time could
// step back while its processor accounts for the slice.
static uint64_t run_time(const struct world *w) {
    struct runqueue *rq = w == current ? NULL : rq_lock_of((struct world *)w);
    irq_push();
    uint64_t ticks = w->run_time;
    if (w->running) {
        uint64_t now = rdtsc();
        ticks += now > w->run_since ? now - w->run_since : 0;
    }
    irq_pop();
    if (rq)
        spin_unlock(&rq->lock);
    return ticks;
}

void world_times(const struct world *w, uint64_t *user_ns, uint64_t *system_ns) {
    uint64_t total = clock_tsc_to_ns(run_time(w));
    uint64_t ticks = w->ticks_user + w->ticks_system;
    // In units of ticks / 1024, so that the product fits: total is below 2^54 for half a year.
    *user_ns = ticks ? total * (w->ticks_user * 1024 / ticks) / 1024 : total;
    *system_ns = total - *user_ns;
}

int world_sleep_until(uint64_t deadline) {
    struct waitq nobody = WAITQ_INIT(nobody);
    int err = wait_event_until(&nobody, false, deadline);
    return err == -ETIMEDOUT ? 0 : err;
}
