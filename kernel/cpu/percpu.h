// What each processor keeps for itself, reached through GS. The first members are used by assembly
// (cpu/offsets are asserted in cpu/percpu.c).
#pragma once
#include "lib/compiler.h"

struct world;
struct runqueue;
struct tss;
struct trap_frame;

#define MAX_CPUS 64

struct cpu {
    struct cpu *self;           // 0x00
    struct world *world;        // 0x08 the world that runs here; never NULL once scheduling began
    uint64_t kernel_rsp;        // 0x10 top of its kernel stack, for the SYSCALL entry
    uint64_t user_rsp;          // 0x18 scratch of the SYSCALL entry
    uint32_t need_resched;      // 0x20 set: call schedule() before returning to user mode
    uint32_t lock_depth;        // 0x24 spin locks held; interrupts stay off while > 0
    uint64_t flags_before_lock; // RFLAGS when lock_depth went from 0 to 1
    bool online;
    bool in_interrupt;            // an interrupt handler runs here: nothing may sleep
    struct trap_frame *irq_frame; // what the interrupt being handled interrupted
    unsigned id;                  // 0.. in the order of starting; 0 is the boot processor
    uint32_t apic_id;
    struct runqueue *runqueue;
    struct world *idle;
    struct space *active_space; // whose page tables CR3 holds (may be kept by a kernel world)
    struct tss *tss;
    void *arch;                        // cpu/ keeps GDT, IST stacks and the like here
    void *vmm;                         // vmm/ keeps its VMXON region and current VMCS here
    uint64_t irq_count[256];           // by vector, for /proc/interrupts
    uint64_t ticks_user, ticks_system; // timer interrupts in a world, by mode (sched/)
    uint64_t switches;                 // of worlds (sched/)
};

extern struct cpu *cpus[MAX_CPUS]; // NULL where there is none
extern unsigned cpu_count;         // processors online; fixed after boot

// This processor. Stable while the caller does not sleep (the kernel is not preempted).
static inline struct cpu *this_cpu(void) {
    struct cpu *c;
    __asm__ volatile("mov %%gs:0, %0" : "=r"(c));
    return c;
}
// The same, for access to a member by one instruction.
#define THIS_CPU ((struct cpu __seg_gs *)0)

// The calling world. Not volatile: whoever asks again gets the same answer.
static inline struct world *current_world(void) {
    struct world *w;
    __asm__("mov %%gs:8, %0" : "=r"(w));
    return w;
}
#define current (current_world())
