// The scheduler: switching between worlds, waking them, time slices.
//
// Rules: the kernel is not preempted; a world leaves the processor in schedule() only. The run-queue
// lock is taken before a switch and released after it by the world switched to, so whoever holds the
// lock of w->cpu's queue and sees w not ->running knows that its registers are all saved.
#include "boot/boot_info.h"
#include "boot/main.h"
#include "cpu/clock.h"
#include "cpu/fpu.h"
#include "cpu/gdt.h"
#include "cpu/irq.h"
#include "cpu/smp.h"
#include "lib/string.h"
#include "lib/log.h"
#include "mm/frame.h"
#include "mm/heap.h"
#include "mm/kstack.h"
#include "mm/space.h"
#include "proc/process.h"
#include "sched/exit_to_user.h"
#include "sched/runqueue.h"

// The time a world may run when others wait, and the period of the timer while one runs. 4 ms: short enough
// for a console, long against the cost of a switch (some 300 instructions). Set at boot by slice=MS.
static uint64_t slice_ns = 4000000;

// switch.S and what it calls
void switch_to(uint64_t *save_rsp, uint64_t load_rsp);
void sched_first_run(void);

static bool frame_needs_restart(const struct trap_frame *f) {
    return frame_is_syscall(f) && result_asks_for_restart(f->rax);
}

// Loads what of the next world does not live on its stack.
static void load_world_state(struct cpu *c, struct world *next) {
    c->world = next;
    if (!next->process)
        return; // a kernel world borrows the page tables
    space_activate(next->process->space);
    if (!next->fpu)
        return; // it never returns to user mode (the boot, while it prepares the first program)
    c->kernel_rsp = (uint64_t)next->stack + KSTACK_SIZE;
    c->tss->rsp0 = c->kernel_rsp;
    wrmsr(MSR_FS_BASE, next->fs_base);
    wrmsr(MSR_KERNEL_GS_BASE, next->gs_base);
    fpu_load(next->fpu);
}

// What remains to be done on the new stack: the switch is complete.
static void finish_switch(void) {
    struct runqueue *rq = this_cpu()->runqueue;
    struct world *dead = rq->dead;
    rq->dead = NULL;
    spin_unlock(&rq->lock);
    if (unlikely(dead))
        world_release(dead);
}

// Called by world_entry: a new world's first switch, which has no schedule() to return to.
void sched_first_run(void) {
    finish_switch();
    this_cpu()->lock_depth = 0;
}

static void start_slice(struct runqueue *rq, struct world *w) {
    if (w == rq->cpu->idle) {
        rq->slice_end = UINT64_MAX;
        return;
    }
    rq->slice_end = clock_monotonic() + slice_ns;
    sched_arm(rq->slice_end);
}

void schedule(void) {
    irq_push();
    struct cpu *c = this_cpu();
    struct runqueue *rq = c->runqueue;
    struct world *prev = c->world;
    ASSERTF(c->lock_depth == 1 && !c->in_interrupt,
            "schedule() with a spin lock held or in an interrupt");
    c->need_resched = 0;
    if (!rq->count && prev->state != WORLD_RUNNABLE)
        balance_pull(rq);
    spin_lock(&rq->lock);
    rq_account(prev);
    if (prev->state == WORLD_RUNNABLE && prev != c->idle)
        rq_enqueue(rq, prev);
    struct world *next = rq_pick(rq);
    if (!next)
        next = c->idle;
    start_slice(rq, next);
    if (next == prev) {
        spin_unlock(&rq->lock);
        irq_pop();
        return;
    }
    if (prev->fpu)
        fpu_save(prev->fpu);
    if (unlikely(prev->switched_out))
        prev->switched_out(prev);
    if (prev->state == WORLD_DEAD)
        rq->dead = prev;
    prev->running = false;
    next->running = true;
    next->run_since = prev->run_since;
    next->switches++;
    c->switches++;
    load_world_state(c, next);
    // lock_depth belongs to the processor and is 2 here (irq_push and the lock), as it is for every
    // world in this place; whether interrupts were on before belongs to the world.
    uint64_t flags = c->flags_before_lock;
    switch_to(&prev->saved_rsp, next->saved_rsp);
    this_cpu()->flags_before_lock = flags; // maybe another processor now
    finish_switch();
    irq_pop();
}

void cond_resched(void) {
    if (unlikely(READ_ONCE(THIS_CPU->need_resched)))
        schedule();
}

static bool make_runnable(struct world *w, bool interruptible_only) {
    struct runqueue *rq = rq_lock_of(w);
    bool sleeps = w->state == WORLD_WAITING_INTERRUPTIBLE ||
                  (!interruptible_only && w->state == WORLD_WAITING);
    if (!sleeps) {
        spin_unlock(&rq->lock);
        return false;
    }
    w->state = WORLD_RUNNABLE;
    if (w->running) { // has announced its sleep but not left the processor
        spin_unlock(&rq->lock);
        return true;
    }
    unsigned target = balance_choose_cpu(w);
    if (target != w->cpu) {
        w->vruntime -= rq->min_vruntime;
        w->cpu = target;
        spin_unlock(&rq->lock);
        rq = cpus[target]->runqueue;
        spin_lock(&rq->lock);
        w->vruntime += rq->min_vruntime;
    }
    rq_enqueue(rq, w);
    if (rq_preempts(rq, w))
        smp_reschedule(target);
    spin_unlock(&rq->lock);
    return true;
}

bool world_wake(struct world *w) {
    return make_runnable(w, false);
}

void world_interrupt(struct world *w) {
    // If it runs in user mode (or in a guest) an interrupt makes it look at its signals. The world that
    // was interrupted here, or is in KVM_RUN, looks at need_resched alone before it enters the guest.
    if (make_runnable(w, true) || !READ_ONCE(w->running))
        return;
    if (w != current)
        smp_reschedule(READ_ONCE(w->cpu));
    else if (w->vcpu || this_cpu()->in_interrupt)
        this_cpu()->need_resched = 1;
}

void world_start(struct world *w) {
    irq_push();
    w->cpu = this_cpu()->id;
    w->vruntime = this_cpu()->runqueue->min_vruntime;
    w->state = WORLD_WAITING;
    irq_pop();
    make_runnable(w, false);
}

void world_set_weight(struct world *w, uint32_t weight) {
    struct runqueue *rq = rq_lock_of(w);
    if (w->on_runqueue)
        rq->weight += (uint64_t)weight - w->weight;
    w->weight = weight;
    spin_unlock(&rq->lock);
}

noreturn void world_exit(void) {
    irq_disable();
    current->state = WORLD_DEAD;
    schedule();
    panic("sched: a dead world was scheduled");
}

void exit_to_user_slowly(struct trap_frame *frame) {
    do {
        irq_enable();
        cond_resched();
        if (signal_pending(current) || frame_needs_restart(frame))
            signal_deliver(frame);
        irq_disable();
    } while (READ_ONCE(THIS_CPU->need_resched) || signal_pending(current) ||
             frame_needs_restart(frame));
}

void exit_to_user(struct trap_frame *frame) {
    irq_disable();
    if (unlikely(work_before_user(current) || frame_needs_restart(frame)))
        exit_to_user_slowly(frame);
}

void sched_arm(uint64_t deadline) {
    struct runqueue *rq = this_cpu()->runqueue;
    if (deadline < rq->armed) {
        rq->armed = deadline;
        clock_arm(deadline);
    }
}

// Samples in which mode the processor was, for the split of run time into user and system.
static void tick(struct runqueue *rq, bool user, uint64_t now) {
    struct cpu *c = rq->cpu;
    struct world *w = c->world;
    if (user)
        w->ticks_user++, c->ticks_user++;
    else if (w != c->idle)
        w->ticks_system++, c->ticks_system++;
    if (w->process)
        process_tick(w, user, now - rq->last_tick);
    rq->last_tick = now;
}

static void timer_interrupt(void *arg) {
    struct cpu *c = this_cpu();
    struct runqueue *rq = c->runqueue;
    rq->armed = UINT64_MAX;
    uint64_t now = clock_monotonic();
    uint64_t next = timers_run(now);
    tick(rq, frame_from_user(c->irq_frame), now);
    if (now >= rq->slice_end) {
        if (!rq->count)
            balance_pull(rq);
        if (rq->count)
            c->need_resched = 1;
        rq->slice_end = now + slice_ns;
    }
    sched_arm(MIN(next, rq->slice_end));
    (void)arg;
}

static void reschedule_interrupt(void *arg) {
    this_cpu()->need_resched = 1;
    (void)arg;
}

static void init_runqueue(struct cpu *c, struct runqueue *rq) {
    *rq = (struct runqueue){.slice_end = UINT64_MAX, .armed = UINT64_MAX, .cpu = c};
    c->runqueue = rq;
}

// What a processor does when there is nothing to do: prepare zeroed pages, else halt.
static void idle_loop(void *arg) {
    for (;;) {
        irq_disable();
        if (this_cpu()->need_resched || this_cpu()->runqueue->count) {
            irq_enable();
            schedule();
        } else if (frame_zero_some()) {
            irq_enable();
        } else {
            __asm__ volatile("sti; hlt"); // STI's shadow: no interrupt is lost between the two
        }
    }
    (void)arg;
}

static struct runqueue boot_runqueue;

// slice=MS on the command line, 1 to 99 ms; anything else is left out of account.
static void read_slice(void) {
    const char *value = cmdline_get("slice", 0);
    unsigned ms = 0;
    for (; value && *value >= '0' && *value <= '9' && ms < 100; value++)
        ms = ms * 10 + (unsigned)(*value - '0');
    if (ms && ms < 100 && !*value)
        slice_ns = ms * 1000000ull;
}

void sched_init(void) {
    struct cpu *c = this_cpu();
    read_slice();
    init_runqueue(c, &boot_runqueue);
    // The boot flow becomes a world, freed like others when it ends (its stack is in the image).
    struct world *boot = kzalloc(sizeof(*boot));
    ASSERT(boot);
    strlcpy(boot->name, "boot", sizeof(boot->name));
    boot->state = WORLD_RUNNABLE;
    boot->running = true;
    boot->weight = 1024;
    boot->affinity = BIT(c->id);
    boot->run_since = rdtsc();
    list_init(&boot->process_node);
    list_init(&boot->signals.queue);
    c->world = boot;
    c->idle = world_create_idle(c->id, idle_loop);
    irq_set_vector(VECTOR_TIMER, "timer", timer_interrupt, NULL);
    irq_set_vector(VECTOR_RESCHEDULE, "reschedule", reschedule_interrupt, NULL);
    irq_enable();
}

noreturn void sched_run_secondary(void) {
    struct cpu *c = this_cpu();
    struct runqueue *rq = kzalloc(sizeof(*rq));
    struct world *idle = world_create_idle(c->id, NULL);
    ASSERTF(rq && idle, "no memory for the run queue of processor %u", c->id);
    init_runqueue(c, rq);
    idle->running = true;
    idle->run_since = rdtsc();
    c->idle = c->world = idle; // this flow, on the stack it booted with
    __atomic_store_n(&c->online, true, __ATOMIC_RELEASE);
    idle_loop(NULL);
    __builtin_unreachable();
}
