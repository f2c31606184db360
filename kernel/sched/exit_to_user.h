// The last look before user mode, for system calls inline: exit_to_user() (sched/world.h) is all of it.
#pragma once
#include "cpu/x86.h"
#include "proc/process.h"
#include "sched/world.h"

// The result of a system call that is to be restarted or to fail with EINTR (lib/errno.h).
static inline bool result_asks_for_restart(uint64_t result) {
    return result + ERESTART_RESTARTBLOCK <= ERESTART_RESTARTBLOCK - ERESTARTSYS;
}

// Another world should run, or what signal_pending() finds, at the cost of a few instructions; sometimes true for
// nothing. Interrupts off.
static inline bool work_before_user(const struct world *w) {
    const struct process *p = w->process;
    signal_set pending = READ_ONCE(w->signals.pending) | READ_ONCE(p->pending);
    return (pending & (~w->signals.blocked | w->signals.waiting_for)) |
           (uint64_t)READ_ONCE(p->exec_world) | READ_ONCE(p->demands) |
           READ_ONCE(THIS_CPU->need_resched);
}

// Does that work. Interrupts off before and after.
void exit_to_user_slowly(struct trap_frame *frame);
