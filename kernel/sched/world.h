// A world: what the scheduler runs. A UserWorld's threads and the kernel's own threads are worlds;
// what threads share is in struct process (proc/process.h).
#pragma once
#include "cpu/percpu.h"
#include "cpu/trapframe.h"
#include "lib/list.h"
#include "lib/tree.h"
#include "proc/signal.h"
#include "sched/timer.h"

struct process;

enum world_state {
    WORLD_RUNNABLE,              // on a run queue, or running
    WORLD_WAITING,               // for a wake-up only
    WORLD_WAITING_INTERRUPTIBLE, // for a wake-up or a signal
    WORLD_DEAD,                  // never runs again
};

struct world {
    int tid;
    char name[16];
    enum world_state state; // covered by the run queue's lock of ->cpu
    unsigned cpu;           // the processor that it runs on or last ran on
    bool on_runqueue, running;
    uint32_t weight;    // share of the processor; 1024 is nice 0
    uint64_t vruntime;  // weighted run time, orders the run queue
    uint64_t run_since; // TSC when it began its current slice
    uint64_t run_time;  // TSC ticks consumed
    uint64_t affinity;  // bit per processor
    struct tree_node rq_node;

    void *stack;               // kernel stack (mm/kstack.h)
    uint64_t saved_rsp;        // where switch_to() left its registers
    void *fpu;                 // XSAVE area, 64-byte aligned; NULL for kernel worlds
    uint64_t fs_base, gs_base; // user's; loaded at switch
    struct trap_frame *frame;  // user registers, at the top of the kernel stack; NULL: kernel world

    struct process *process; // NULL: kernel world
    struct list_node process_node;
    struct world_signals signals;
    int __user *clear_child_tid; // CLONE_CHILD_CLEARTID / set_tid_address
    void __user *robust_list;    // set_robust_list
    size_t robust_list_len;
    int nice, policy, rt_priority; // as set by setpriority, sched_setscheduler (proc/sched_calls.c)
    void *vcpu;                    // the vCPU whose KVM_RUN this world is in, for vmm/
    void (*switched_out)(struct world *w); // told, interrupts off, when it leaves the processor
    uint64_t min_faults, maj_faults, switches;
    uint64_t ticks_user, ticks_system; // timer interrupts that found it there: splits run_time
    uint64_t unknown_calls[8];         // system calls already logged as unknown, by number
};

// Creates a kernel world that runs fn(arg) and starts it. NULL: out of memory.
struct world *world_create_kernel(const char *name, void (*fn)(void *arg), void *arg);
// Allocates a world for a process, not yet runnable, with stack and FPU area; when first switched to
// it returns to user mode with *frame (copied). `proc` may be NULL and set before world_start().
struct world *world_create_user(struct process *proc, const char *name,
                                const struct trap_frame *frame);
// Makes a created world runnable. Once.
void world_start(struct world *w);
// Frees a world that was never started.
void world_free(struct world *w);
// The calling world never runs again and is freed by the scheduler as soon as it is off its stack;
// proc/ must have detached it from its process. (No one else frees a started world.)
noreturn void world_exit(void);
// User and system time of a world so far, in ns: exact in sum, split by sampling.
void world_times(const struct world *w, uint64_t *user_ns, uint64_t *system_ns);
// Makes w runnable if it waits (interruptibly or not); returns whether it did. Any context.
bool world_wake(struct world *w);
// Wakes w only from an interruptible wait, for signals; kicks it out of user mode and out of a guest.
void world_interrupt(struct world *w);
// Gives the processor away; returns when scheduled again. State decides whether it stays runnable.
void schedule(void);
// schedule() if another world should run. For long loops in the kernel; no spin lock held.
void cond_resched(void);
void world_set_weight(struct world *w, uint32_t weight);
// Sleeps; 0 or -ERESTARTSYS.
int world_sleep_until(uint64_t monotonic_ns);
// Every way back to user mode passes here: reschedules, delivers signals. Called with interrupts on
// or off; returns with interrupts off, and the caller goes to user mode at once.
void exit_to_user(struct trap_frame *frame);
