// Exceptions: called by cpu/entry.S with interrupts off.
#pragma once
#include "cpu/trapframe.h"

void trap_dispatch(struct trap_frame *f);
// Interrupts, vectors 32 and above (cpu/irq.c).
void irq_dispatch(struct trap_frame *f);
void trap_page_fault(struct trap_frame *f, uint64_t addr);
// `f`: the frame of a fault by the IRETQ to user mode. Returns a frame at the top of the kernel stack
// that looks as if user mode had faulted.
struct trap_frame *trap_move_return_fault(struct trap_frame *f);
// Called by trap_dispatch for an NMI; true: it was one of ours (cpu/smp.c).
bool smp_handle_nmi(const struct trap_frame *f);
// Who else expects NMIs (the VMM's counter); true: it was one of its own. Set at boot; must not take locks.
extern bool (*nmi_hook)(void);
