// Into the torture guest's world and back: torture.c copies this to TURN, which is mapped alike in both.
//   uint64_t turn(uint64_t rounds, uint64_t seed): the guest's hash
#include "memory.h"

    .section .rodata
    .globl torture_turn, torture_turn_end
torture_turn:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, saved_rsp(%rip)
    mov %cr3, %rax
    mov %rax, saved_cr3(%rip)
    mov %cr0, %rax
    mov %rax, saved_cr0(%rip)
    bts $16, %rax                   // WP
    mov %rax, %cr0
    sgdt saved_gdt(%rip)
    sidt saved_idt(%rip)
    mov %rdi, %r13
    mov %rsi, %r15
    lea back(%rip), %rax
    mov %rax, AT_END
    mov $PML4, %eax
    mov %rax, %cr3
    mov $STACK, %esp
    lgdt new_gdt(%rip)
    lidt new_idt(%rip)
    mov $TSS_SELECTOR, %eax
    ltr %ax
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    mov $CODE, %eax
    jmp *%rax
back:
    cli
    mov saved_cr3(%rip), %rax
    mov %rax, %cr3
    mov saved_cr0(%rip), %rax
    mov %rax, %cr0
    lgdt saved_gdt(%rip)
    lidt saved_idt(%rip)
    mov saved_rsp(%rip), %rsp
    mov %r14, %rax
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .balign 8
new_gdt:
    .word TSS_SELECTOR + 15
    .quad GDT
new_idt:
    .word 0xfff
    .quad IDT
saved_gdt: .skip 10
saved_idt: .skip 10
    .balign 8
saved_rsp: .quad 0
saved_cr3: .quad 0
saved_cr0: .quad 0
torture_turn_end:
    .section .note.GNU-stack, "", @progbits
