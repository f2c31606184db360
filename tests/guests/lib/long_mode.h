// For assembly: from 32-bit protected mode with paging off to 64-bit code on start.S's page tables and
// descriptors. Changes EAX, ECX and EDX; the code after it is 64-bit.
// clang-format off
.macro enter_long_mode
    mov $pml4, %eax
    mov %eax, %cr3
    mov $0x620, %eax            // PAE, OSFXSR, OSXMMEXCPT
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x901, %eax             // LME, NXE, SCE
    wrmsr
    mov $0x80000033, %eax       // PG, NE, ET, MP, PE
    mov %eax, %cr0
    lgdt gdt_register
    ljmp $0x08, $.Llong_mode\@
    .code64
.Llong_mode\@:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
.endm
