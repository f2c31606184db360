// The way into the kernel by SYSCALL.
#pragma once
#include "cpu/trapframe.h"

// The entry point that MSR LSTAR names (entry.S).
void syscall_entry(void);
// Runs the call in `f` and everything that must happen before user mode. Entered with interrupts on,
// returns with them off: true when SYSRET may return, false when IRET must.
bool syscall_dispatch(struct trap_frame *f);
// Sets the SYSCALL MSRs of this processor.
void syscall_init_cpu(void);
