// Entries for exceptions and interrupts, and the way back. Each builds a struct trap_frame
// (cpu/trapframe.h) on the stack and calls C. System calls enter in syscall/entry.S.
//
// GS: in the kernel it is the address of struct cpu; in user mode the user's. SWAPGS exchanges the
// two, so it must happen exactly once per entry from user mode. NMI, #MC, #DF and #DB can hit
// between a privilege change and its SWAPGS, so they do not look at CS: they find struct cpu at
// the top of their own stack (cpu/gdt.c) and put GS back as it was.

#include "cpu/gdt.h"
#include "cpu/smap.h"
#include "cpu/trapframe.h"

// struct cpu (asserted in cpu/percpu.c)
#define CPU_KERNEL_RSP 0x10

    .text

.macro CLEAR_USER_STATE
    cld
    ASM_CLAC
    xor %ebp, %ebp // a backtrace ends here; user values are of no use to the kernel
.endm

// One entry per vector, 16 bytes apart: idt.c computes their addresses. The processor pushes an
// error code for 8, 10-14, 17, 21, 29 and 30; for the others a zero takes its place.
    .balign 16
    .globl vector_entries
vector_entries:
vector = 0
.rept 256
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
    .else
    push $0
    .endif
    push $vector
    .if vector == 14
    jmp page_fault_entry
    .elseif vector == 1 || vector == 2 || vector == 8 || vector == 18
    jmp paranoid_entry
    .elseif vector < 32
    jmp exception_entry
    .else
    jmp interrupt_entry
    .endif
vector = vector + 1
.endr

// Device and inter-processor interrupts.
    .balign 16
interrupt_entry:
    PUSH_REGISTERS
    testb $3, FRAME_CS(%rsp)
    jz 1f
    swapgs
    CLEAR_USER_STATE
    mov %rsp, %rdi
    call irq_dispatch
    jmp return_to_user
1:  cld
    ASM_CLAC
    mov %rsp, %rdi
    call irq_dispatch
    jmp return_to_kernel

// #PF has an entry of its own: it is the frequent one, and CR2 must be read before anything else
// can fault.
    .balign 16
page_fault_entry:
    PUSH_REGISTERS
    mov %cr2, %rsi
    testb $3, FRAME_CS(%rsp)
    jz 1f
    swapgs
    CLEAR_USER_STATE
    mov %rsp, %rdi
    call trap_page_fault
    jmp return_to_user
1:  cld
    ASM_CLAC
    call check_return_fault
    mov %rsp, %rdi
    call trap_page_fault
    jmp return_to_kernel

    .balign 16
exception_entry:
    PUSH_REGISTERS
    testb $3, FRAME_CS(%rsp)
    jz 1f
    swapgs
user_exception:
    CLEAR_USER_STATE
    mov %rsp, %rdi
    call trap_dispatch
    jmp return_to_user
1:  cld
    ASM_CLAC
    call check_return_fault
    mov %rsp, %rdi
    call trap_dispatch
    jmp return_to_kernel

// The IRETQ to user mode itself faults when the user's RIP or segments are not valid. By then GS
// and the registers are the user's. Such a fault is made one of the user: its frame takes the
// place of the one that could not be used. (In: frame at 8(%rsp); keeps RSI, which holds CR2.)
check_return_fault:
    cmpq $iretq_to_user, 8 + FRAME_RIP(%rsp)
    je 1f
    ret
1:  swapgs
    lea 8(%rsp), %rdi
    call trap_move_return_fault
    mov %rax, %rsp
    jmp user_exception

// Back to user mode from an exception or interrupt: signals and rescheduling first.
return_to_user:
    mov %rsp, %rdi
    call exit_to_user // returns with interrupts off

// RSP = struct trap_frame, interrupts off: goes where it says. New worlds start here.
    .globl trap_return
trap_return:
    testb $3, FRAME_CS(%rsp)
    jz return_to_kernel
    POP_REGISTERS
    add $16, %rsp // vector and error code
    swapgs
    .globl iretq_to_user
iretq_to_user:
    iretq

return_to_kernel:
    POP_REGISTERS
    add $16, %rsp
    iretq

// Entries on stacks of their own.
    .balign 16
paranoid_entry:
    PUSH_REGISTERS
    CLEAR_USER_STATE
    cmpb $1, FRAME_VECTOR(%rsp)
    jne 2f
    testb $3, FRAME_CS(%rsp)
    jz 2f
    // #DB in user mode is an ordinary exception: on to the kernel stack.
    swapgs
    mov %gs:CPU_KERNEL_RSP, %rax
    lea -FRAME_SIZE(%rax), %rdi
    mov %rsp, %rsi
    mov $FRAME_SIZE / 8, %ecx
    rep movsq
    lea -FRAME_SIZE(%rax), %rsp
    jmp user_exception

2:  mov $0xc0000101, %ecx // IA32_GS_BASE: keep it in RBX
    rdmsr
    mov %eax, %ebx
    shl $32, %rdx
    or %rdx, %rbx
    mov FRAME_SIZE(%rsp), %rax // struct cpu: above the frame (the processor aligned to 16 bytes)
    mov %rax, %rdx
    shr $32, %rdx
    wrmsr
    mov %rsp, %rdi
    call trap_dispatch
    mov $0xc0000101, %ecx
    mov %ebx, %eax
    mov %rbx, %rdx
    shr $32, %rdx
    wrmsr
    jmp return_to_kernel // also to user mode: GS is as it was

    .section .note.GNU-stack, "", @progbits
