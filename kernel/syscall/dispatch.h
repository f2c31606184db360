// The way into the kernel by SYSCALL.
#pragma once
#include "cpu/gdt.h"
#include "cpu/trapframe.h"

// What this kernel keeps in the SYSCALL MSRs. FMASK: flags cleared on entry: TF, IF, DF, IOPL, NT, AC
// (SDM vol. 1, "EFLAGS Register").
#define SYSCALL_STAR  ((uint64_t)USER_CS32 << 48 | (uint64_t)KERNEL_CS << 32)
#define SYSCALL_FMASK (0x100 | 0x200 | 0x400 | 0x3000 | 0x4000 | 0x40000)

// The entry point that MSR LSTAR names (entry.S).
void syscall_entry(void);
// Runs the call in `f` and everything that must happen before user mode. Entered with interrupts on,
// returns with them off.
void syscall_dispatch(struct trap_frame *f);
// Sets the SYSCALL MSRs of this processor.
void syscall_init_cpu(void);
