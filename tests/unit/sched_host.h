// The scheduler's queues on the workstation, behind an interface without kernel headers (which do not
// go together with the C library's). Worlds are numbers; processors too.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define HOST_CPUS 4

// Empty queues, `cpus` processors; the calling flow is on processor 0.
void host_sched_init(unsigned cpus);
int host_world(uint32_t weight, uint64_t vruntime); // a new world
void host_enqueue(int world, unsigned cpu);
int host_pick(unsigned cpu); // -1: none
// The world that was picked runs there for so many TSC ticks (at least) and is queued again.
void host_run(int world, unsigned cpu, uint64_t ticks);
void host_set_running(int world, unsigned cpu); // -1: the idle world
void host_set_affinity(int world, uint64_t mask);
uint64_t host_run_time(int world);
uint64_t host_vruntime(int world);
unsigned host_cpu_of(int world);
unsigned host_choose(int world, unsigned last_cpu);
bool host_pull(unsigned cpu);
unsigned host_queued(unsigned cpu);
uint64_t host_min_vruntime(unsigned cpu);

// Timers of processor 0, by number; each firing adds the number to host_fired.
#define HOST_TIMERS 16
extern int host_fired[64];
extern unsigned host_fired_count;
extern uint64_t host_armed; // what the hardware was last told
void host_timer_arm(int timer, uint64_t deadline, uint64_t again_after); // 0: once
bool host_timer_cancel(int timer);
uint64_t host_timers_run(uint64_t now);
