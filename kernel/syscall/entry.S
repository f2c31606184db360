// The SYSCALL instruction's way into the kernel and back (SDM vol. 2, "SYSCALL", "SYSRET").
// On entry: RCX = user RIP, R11 = user RFLAGS, RSP still the user's, interrupts off by SFMASK,
// GS the user's. Builds the same struct trap_frame as cpu/entry.S and calls the function of the call (dispatch.c).
#include "cpu/gdt.h"
#include "cpu/trapframe.h"
#include "syscall/slots.h"

#define CPU_KERNEL_RSP 0x10
#define CPU_USER_RSP   0x18

    .text
    .globl syscall_entry
    .type syscall_entry, @function
syscall_entry:
    swapgs
    mov %rsp, %gs:CPU_USER_RSP
    mov %gs:CPU_KERNEL_RSP, %rsp
    push $USER_DS               // ss
    push %gs:CPU_USER_RSP       // rsp
    push %r11                   // rflags
    push $USER_CS               // cs
    push %rcx                   // rip
    push $-1                    // error: ERROR_SYSCALL
    push %rax                   // vector: number of the call
    PUSH_REGISTERS
    mov %r10, %rcx              // the fourth argument; the others are where C expects them
    xor %ebp, %ebp
    sti
    cmp $SYSCALL_SLOTS, %rax
    jae 2f
    mov syscall_table(,%rax,8), %rax
    test %rax, %rax
    jz 2f
    call *%rax
1:  mov %rsp, %rdi
    mov %rax, %rsi
    call syscall_end            // returns with interrupts off
    // Who changes where the frame goes (signals, execve, sigreturn) makes it one that is not a system
    // call's any more: only IRET restores all of it. Otherwise RIP is what SYSCALL stored, which is
    // canonical since the last page below USER_END cannot be mapped.
    cmpq $-1, FRAME_ERROR(%rsp)
    jne trap_return
    mov 32(%rsp), %rbp          // C has kept R15 to R12 and RBX
    add $48, %rsp
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rax
    pop %rcx                    // user RIP
    pop %rdx
    pop %rsi
    pop %rdi
    mov 40(%rsp), %rsp          // user's
    swapgs
    sysretq

2:  mov %rsp, %rdi
    call syscall_unknown
    jmp 1b
    .size syscall_entry, . - syscall_entry
    .section .note.GNU-stack, "", @progbits
