// Where an application processor starts: from the start-up IPI in real mode, to 64-bit C on the boot
// processor's page tables and descriptor tables. start_cpu() (guest.c) copies the first part to 8000h.
#define TRAMPOLINE 0x8000

#include "long_mode.h"

    .text
    .globl cpu_trampoline, cpu_trampoline_end, cpu_stack, cpu_main
    .code16
cpu_trampoline:
    cli
    mov %cs, %ax
    mov %ax, %ds
    lgdtl low_gdt_register - cpu_trampoline
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $0x18, $cpu_protected
    .balign 8
low_gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff
low_gdt_register:
    .word 31
    .long TRAMPOLINE + low_gdt - cpu_trampoline
cpu_trampoline_end:

    .code32
cpu_protected:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %ss
    enter_long_mode
    lidt idt_register(%rip)
    mov cpu_stack(%rip), %rsp
    xor %ebp, %ebp
    call *cpu_main(%rip)
2:  cli
    hlt
    jmp 2b

    .data
    .balign 8
cpu_stack: .quad 0
cpu_main:  .quad 0
    .section .note.GNU-stack, "", @progbits
