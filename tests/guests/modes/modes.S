// From the first instruction in real mode to 64-bit code, in a file that starts as a boot sector does; each mode has a
// name to stop at. Ends with status 5.
    .text
    .code16
    .globl _start, real_mode, protected_mode, long_mode, far_code
_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
real_mode:
    mov $0x1234, %bx
    // Code at a segment that does not begin at 0: its offsets are not linear addresses.
    lcall $0x07c0, $far_code - 0x7c00
    lgdt gdt_register
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $0x18, $protected_mode
far_code:
    mov $0x4321, %cx
    lret
    .balign 8
gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff
gdt_register:
    .word 31
    .long gdt
    .org 510
    .word 0xaa55

    .code32
protected_mode:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $0x7c00, %esp
    mov $0x12345678, %ebx
    // Tables at 10000h: PML4, PDPT, one directory with a page of 2 MB at 0.
    mov $0x10000, %edi
    xor %eax, %eax
    mov $3 * 1024, %ecx
    rep stosl
    movl $0x11007, 0x10000
    movl $0x12007, 0x11000
    movl $0x87, 0x12000
    mov $0x10000, %eax
    mov %eax, %cr3
    mov $0x620, %eax            // PAE, OSFXSR, OSXMMEXCPT
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x100, %eax             // LME
    wrmsr
    mov $0x80000033, %eax       // PG, NE, ET, MP, PE
    mov %eax, %cr0
    ljmp $0x08, $long_mode

    .code64
long_mode:
    movabs $0x123456789abcdef0, %rbx
    mov $5, %eax
    mov $0x501, %dx
    out %al, %dx
1:  hlt
    jmp 1b
    .section .note.GNU-stack, "", @progbits
