// Where the other processors start: in real mode, at the beginning of a page below 1 MB to which
// smp.c copies this code. Straight from there to 64-bit mode on the boot page tables, which map
// both this page (identity) and the kernel. (Intel SDM vol. 3, 9.4 and 10.8.5)

    .section .rodata, "a"
    .code16
    .globl trampoline_start
trampoline_start:
    cli
    cld
    mov %cs, %ax
    mov %ax, %ds
    mov $0x20, %eax // CR4.PAE
    mov %eax, %cr4
    mov trampoline_cr3 - trampoline_start, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx // EFER: LME, NXE (the kernel's tables use NX)
    rdmsr
    or $0x900, %eax
    wrmsr
    lgdtl trampoline_gdt_pointer - trampoline_start
    mov $0x80010001, %eax // CR0: PG, WP, PE
    mov %eax, %cr0
    ljmpl *(trampoline_far - trampoline_start)

    .code64
    .globl trampoline_64
trampoline_64:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    lea trampoline_parameters(%rip), %rbx
    mov 8(%rbx), %rcx  // the kernel's own page tables
    mov 16(%rbx), %rdx // stack
    mov 24(%rbx), %rdi // struct cpu
    mov 32(%rbx), %rax // trampoline_high
    jmp *%rax          // to the kernel's addresses, which both tables map

// Filled in by smp.c: struct trampoline_parameters.
    .balign 8
    .globl trampoline_parameters
trampoline_parameters:
trampoline_cr3:
    .quad 0
    .quad 0, 0, 0, 0
trampoline_far:
    .long 0
    .short 0x08
trampoline_gdt_pointer:
    .short 3 * 8 - 1
trampoline_gdt_base:
    .long 0
    .balign 8
    .globl trampoline_gdt
trampoline_gdt:
    .quad 0
    .quad 0x00af9b000000ffff // 64-bit code
    .quad 0x00cf93000000ffff // data
    .globl trampoline_end
trampoline_end:

    .text
    .globl trampoline_high
trampoline_high:
    mov %rcx, %cr3
    mov %rdx, %rsp
    xor %ebp, %ebp
    call smp_secondary_main
1:  hlt
    jmp 1b

    .section .note.GNU-stack, "", @progbits
