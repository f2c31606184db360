#include "sched_host.h"
#include <asm/prctl.h>
#include <asm/unistd.h>
#include "cpu/clock.h"
#include "cpu/x86.h"
#include "sched/runqueue.h"

#define WORLDS 64

static struct cpu processors[HOST_CPUS];
static struct runqueue queues[HOST_CPUS];
static struct world idle[HOST_CPUS], worlds[WORLDS];
static int world_count;
struct cpu *cpus[MAX_CPUS];
unsigned cpu_count;

// this_cpu() reads through GS, which programs here do not use.
static void set_gs(void *base) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(__NR_arch_prctl), "D"(ARCH_SET_GS), "S"(base)
                     : "rcx", "r11", "memory");
    ASSERT(result == 0);
}

void host_sched_init(unsigned count) {
    cpu_count = count;
    world_count = 0;
    for (unsigned i = 0; i < count; i++) {
        processors[i] = (struct cpu){.self = &processors[i],
                                     .id = i,
                                     .runqueue = &queues[i],
                                     .world = &idle[i],
                                     .idle = &idle[i]};
        queues[i] = (struct runqueue){.cpu = &processors[i]};
        cpus[i] = &processors[i];
    }
    set_gs(&processors[0]);
}

int host_world(uint32_t weight, uint64_t vruntime) {
    ASSERT(world_count < WORLDS);
    worlds[world_count] = (struct world){
        .weight = weight, .vruntime = vruntime, .affinity = UINT64_MAX};
    return world_count++;
}

void host_enqueue(int w, unsigned cpu) {
    spin_lock(&queues[cpu].lock);
    worlds[w].cpu = cpu;
    rq_enqueue(&queues[cpu], &worlds[w]);
    spin_unlock(&queues[cpu].lock);
}

int host_pick(unsigned cpu) {
    spin_lock(&queues[cpu].lock);
    struct world *w = rq_pick(&queues[cpu]);
    spin_unlock(&queues[cpu].lock);
    return w ? (int)(w - worlds) : -1;
}

void host_run(int w, unsigned cpu, uint64_t ticks) {
    worlds[w].run_since = rdtsc() - ticks;
    rq_account(&worlds[w]);
    host_enqueue(w, cpu);
}

void host_set_running(int w, unsigned cpu) {
    processors[cpu].world = w < 0 ? &idle[cpu] : &worlds[w];
}
void host_set_affinity(int w, uint64_t mask) {
    worlds[w].affinity = mask;
}
uint64_t host_run_time(int w) {
    return worlds[w].run_time;
}
uint64_t host_vruntime(int w) {
    return worlds[w].vruntime;
}
unsigned host_cpu_of(int w) {
    return worlds[w].cpu;
}
unsigned host_choose(int w, unsigned last_cpu) {
    worlds[w].cpu = last_cpu;
    return balance_choose_cpu(&worlds[w]);
}
bool host_pull(unsigned cpu) {
    return balance_pull(&queues[cpu]);
}
unsigned host_queued(unsigned cpu) {
    return queues[cpu].count;
}
uint64_t host_min_vruntime(unsigned cpu) {
    return queues[cpu].min_vruntime;
}

// ---- timers ------------------------------------------------------------------------------------

int host_fired[64];
unsigned host_fired_count;
uint64_t host_armed;
static struct timer timers[HOST_TIMERS];
static uint64_t again[HOST_TIMERS];

void sched_arm(uint64_t deadline) {
    host_armed = deadline;
}

static void fired(struct timer *t) {
    int number = (int)(t - timers);
    if (host_fired_count < ARRAY_SIZE(host_fired))
        host_fired[host_fired_count++] = number;
    if (again[number])
        timer_arm(t, t->deadline + again[number]);
}

void host_timer_arm(int number, uint64_t deadline, uint64_t again_after) {
    if (!timers[number].fn)
        timer_init(&timers[number], fired, NULL);
    again[number] = again_after;
    timer_arm(&timers[number], deadline);
}
bool host_timer_cancel(int number) {
    return timer_cancel(&timers[number]);
}
uint64_t host_timers_run(uint64_t now) {
    return timers_run(now);
}

// ---- a TSC of 1 GHz ----------------------------------------------------------------------------

uint64_t clock_ns_to_tsc(uint64_t ns) {
    return ns;
}
