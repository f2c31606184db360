// panic(fmt, ...): keeps the registers as they are at the call, then writes the report. The frame is a
// struct trap_frame; the arguments become a va_list (System V ABI, AMD64, 3.5.7 "Variable Argument
// Lists").
#include "cpu/gdt.h"
#include "cpu/trapframe.h"

    .text
    .globl panic
    .type panic, @function
panic:
    pushfq
    cli
    sub $48, %rsp // rip, cs, rflags, rsp, ss of the frame, one word for alignment
    push $0       // error
    push $0       // vector
    PUSH_REGISTERS
    mov %rsp, %rbx // the frame
    mov FRAME_SIZE + 8(%rbx), %rax // flags
    mov %rax, FRAME_RFLAGS(%rbx)
    mov FRAME_SIZE + 16(%rbx), %rax // return address
    mov %rax, FRAME_RIP(%rbx)
    movq $KERNEL_CS, FRAME_CS(%rbx)
    lea FRAME_SIZE + 24(%rbx), %rax
    mov %rax, FRAME_RSP(%rbx)
    movq $KERNEL_DS, FRAME_SS(%rbx)

    push %r9 // register arguments, in order
    push %r8
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    mov %rsp, %rax
    push %rax               // reg_save_area
    lea FRAME_SIZE + 24(%rbx), %rax
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
