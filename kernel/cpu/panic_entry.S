// panic(fmt, ...): keeps the registers as they are at the call, then writes the report. The frame is a
// struct trap_frame; the arguments become a va_list (System V ABI, AMD64, 3.5.7 "Variable Argument
// Lists").
#include "cpu/gdt.h"

    .text
    .globl panic
    .type panic, @function
panic:
    pushfq
    cli
    sub $48, %rsp // rip, cs, rflags, rsp, ss of the frame, one word for alignment
    push $0       // error
    push $0       // vector
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %rax
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, %rbx // the frame
    mov 184(%rbx), %rax // flags
    mov %rax, 152(%rbx)
    mov 192(%rbx), %rax // return address
    mov %rax, 136(%rbx)
    movq $KERNEL_CS, 144(%rbx)
    lea 200(%rbx), %rax
    mov %rax, 160(%rbx)
    movq $KERNEL_DS, 168(%rbx)

    push %r9 // register arguments, in order
    push %r8
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    mov %rsp, %rax
    push %rax               // reg_save_area
    lea 200(%rbx), %rax
    push %rax               // overflow_arg_area
    movabs $(48 << 32 | 8), %rax
    push %rax               // fp_offset, gp_offset: the format is consumed
    mov %rdi, %rsi
    mov %rbx, %rdi
    mov %rsp, %rdx
    and $-16, %rsp
    call panic_report
1:  hlt
    jmp 1b

    .section .note.GNU-stack, "", @progbits
