// The way into the kernel by SYSCALL.
#pragma once
#include "cpu/gdt.h"
#include "cpu/trapframe.h"
#include "syscall/slots.h"

// What this kernel keeps in the SYSCALL MSRs. FMASK: flags cleared on entry: TF, IF, DF, IOPL, NT, AC
// (SDM vol. 1, "EFLAGS Register").
#define SYSCALL_STAR  ((uint64_t)USER_CS32 << 48 | (uint64_t)KERNEL_CS << 32)
#define SYSCALL_FMASK (0x100 | 0x200 | 0x400 | 0x3000 | 0x4000 | 0x40000)

// The entry point that MSR LSTAR names (entry.S).
void syscall_entry(void);
// What the entry calls: the function of a call by its number (NULL: none), with the user's registers as arguments and
// interrupts on; or syscall_unknown(); then syscall_end() with the result, after which everything is done that must
// happen before user mode, and interrupts are off.
extern void (*const syscall_table[SYSCALL_SLOTS])(void);
long syscall_unknown(const struct trap_frame *f);
void syscall_end(struct trap_frame *f, uint64_t result);
// Sets the SYSCALL MSRs of this processor.
void syscall_init_cpu(void);
