// From a Multiboot loader (32-bit protected mode) to 64-bit C: identity map of 4 GB, flat segments, an IDT
// whose 256 entries end in guest_trap().
#define MAGIC 0x1badb002
#define FLAGS 3 // modules page-aligned, memory information wanted
    .section .multiboot, "a"
    .balign 4
    .long MAGIC, FLAGS, -(MAGIC + FLAGS)

#include "long_mode.h"

    .text
    .code32
    .globl _start
_start:
    cli
    mov $stack_top, %esp
    mov %eax, boot_magic
    mov %ebx, boot_info
    // PML4 -> PDPT -> four directories of 2 MB pages
    movl $pdpt + 7, pml4
    mov $pdpt, %edi
    mov $directories + 7, %eax
    mov $4, %ecx
1:  mov %eax, (%edi)
    add $4096, %eax
    add $8, %edi
    loop 1b
    mov $directories, %edi
    mov $0x87, %eax
    xor %edx, %edx
    mov $2048, %ecx
2:  mov %eax, (%edi)
    mov %edx, 4(%edi)
    add $0x200000, %eax
    adc $0, %edx
    add $8, %edi
    loop 2b
    enter_long_mode
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $stack_top, %rsp
    // IDT: gates to the stubs, 16 bytes apart
    lea stubs(%rip), %rax
    lea idt(%rip), %rdi
    mov $256, %ecx
4:  mov %ax, (%rdi)
    movw $0x08, 2(%rdi)
    movw $0x8e00, 4(%rdi)
    mov %rax, %rdx
    shr $16, %rdx
    mov %dx, 6(%rdi)
    movq $0, 8(%rdi)
    add $16, %rax
    add $16, %rdi
    loop 4b
    lidt idt_register
    call guest_main
    mov %eax, %edi
    jmp guest_exit

    .balign 16
stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17)
    .else
    pushq $0
    .endif
    pushq $vector
    jmp trap
    .set vector, vector + 1
    .endr
    // With what a debugger needs to find who was interrupted.
    .cfi_sections .debug_frame
    .macro save register
    push %\register
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset \register, 0
    .endm
    .balign 16
trap:
    .cfi_startproc
    .cfi_signal_frame
    .cfi_def_cfa rsp, 56        // vector, error code, RIP, CS, RFLAGS, RSP, SS
    .cfi_offset rip, -40
    .cfi_offset rsp, -16
    .irp register, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    save \register
    .endr
    mov %rsp, %rdi
    mov %rsp, %rbp
    .cfi_def_cfa_register rbp
    and $-16, %rsp
    call guest_trap
    mov %rbp, %rsp
    .irp register, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax
    pop %\register
    .endr
    add $16, %rsp
    iretq
    .cfi_endproc

    .data
    .balign 8
gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
    .globl gdt_register, pml4
gdt_register:
    .word 23
    .quad gdt
    .globl idt_register
idt_register:
    .word 4095
    .quad idt
    .globl boot_magic, boot_info
boot_magic: .long 0
boot_info:  .long 0

    .bss
    .balign 4096
pml4:        .skip 4096
pdpt:        .skip 4096
directories: .skip 4 * 4096
idt:         .skip 4096
    .skip 65536
stack_top:
    .section .note.GNU-stack, "", @progbits
