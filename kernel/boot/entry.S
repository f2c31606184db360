// Where the boot loader jumps to: 32-bit protected mode, paging off, EAX = magic, EBX = address of
// the multiboot2 information (Multiboot2 Specification, "Machine state"). Checks that this is a
// 64-bit processor, builds the first page tables, and enters kernel_main(magic, info) in 64-bit mode.
//
// The first page tables map physical 0-4 GB with 2 MB pages three times: at 0 (to survive the
// switch, and for the processors started later, see cpu/trampoline.S), at DIRECT_MAP, and its
// first GB at KERNEL_BASE. memory_init() replaces them by the final ones with exact rights.

#define KERNEL_BASE 0xffffffff80000000
#define PHYS(symbol) ((symbol) - KERNEL_BASE)

#define MULTIBOOT2_HEADER_MAGIC 0xe85250d6
#define MULTIBOOT2_LOADER_MAGIC 0x36d76289

#define PAGE_PRESENT_WRITE 0x003
#define PAGE_LARGE         0x083

#define BOOT_STACK_SIZE 16384

    .section .multiboot2, "a"
    .balign 8
header:
    .long MULTIBOOT2_HEADER_MAGIC
    .long 0 // i386 protected mode
    .long header_end - header
    .long -(MULTIBOOT2_HEADER_MAGIC + (header_end - header)) & 0xffffffff

    .balign 8 // information request: the loader refuses when it cannot give these
1:  .short 1, 0
    .long 2f - 1b
    .long 1, 6 // command line, memory map
2:  .balign 8 // information request, optional
1:  .short 1, 1
    .long 2f - 1b
    .long 2, 3, 14, 15 // loader's name, modules, ACPI old and new RSDP
2:  .balign 8 // console: EGA text is supported, none is required
    .short 4, 1
    .long 12, 2
    .balign 8 // modules start on page boundaries
    .short 6, 0
    .long 8
    .balign 8 // end
    .short 0, 0
    .long 8
header_end:

    .section .text.boot, "ax"
    .code32
    .globl boot_entry
boot_entry:
    cli
    cld
    mov $PHYS(boot_stack_top), %esp
    mov %eax, %edi // first argument of kernel_main()
    mov %ebx, %esi // second
    mov $PHYS(message_loader), %ebp
    cmp $MULTIBOOT2_LOADER_MAGIC, %edi
    jne die

    mov $PHYS(message_long_mode), %ebp
    pushfl // CPUID exists where EFLAGS.ID can be changed
    mov (%esp), %ecx
    xorl $(1 << 21), (%esp)
    popfl
    pushfl
    pop %eax
    xor %ecx, %eax
    test $(1 << 21), %eax
    jz die
    mov $0x80000000, %eax
    cpuid
    cmp $0x80000001, %eax
    jb die
    mov $0x80000001, %eax
    cpuid
    test $(1 << 29), %edx
    jz die

    // Four page directories: physical 0-4 GB in 2 MB pages.
    mov $PHYS(boot_directories), %ebx
    mov $PAGE_LARGE, %eax
    mov $2048, %ecx
1:  mov %eax, (%ebx)
    add $8, %ebx
    add $0x200000, %eax
    dec %ecx
    jnz 1b
    mov $PHYS(boot_directories) + PAGE_PRESENT_WRITE, %eax
    mov $PHYS(boot_pdpt_low), %ebx
    mov $4, %ecx
1:  mov %eax, (%ebx)
    add $8, %ebx
    add $4096, %eax
    dec %ecx
    jnz 1b
    movl $PHYS(boot_directories) + PAGE_PRESENT_WRITE, PHYS(boot_pdpt_kernel) + 510 * 8
    movl $PHYS(boot_pdpt_low) + PAGE_PRESENT_WRITE, PHYS(boot_pml4)
    movl $PHYS(boot_pdpt_low) + PAGE_PRESENT_WRITE, PHYS(boot_pml4) + 256 * 8
    movl $PHYS(boot_pdpt_kernel) + PAGE_PRESENT_WRITE, PHYS(boot_pml4) + 511 * 8

    mov %cr4, %eax
    or $(1 << 5), %eax // PAE
    mov %eax, %cr4
    mov $PHYS(boot_pml4), %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx // IA32_EFER
    rdmsr
    or $(1 << 8), %eax // LME
    wrmsr
    mov %cr0, %eax
    or $0x80010001, %eax // PG, WP, PE
    mov %eax, %cr0
    lgdt PHYS(boot_gdt_pointer)
    ljmp $0x08, $PHYS(long_mode)

// Prints the sentence at EBP on the screen and the first serial port, and stops.
die:
    mov $0x3f8 + 3, %edx // 8250: 115200 baud, 8 bits, no parity
    mov $0x80, %al
    out %al, %dx
    mov $0x3f8, %edx
    mov $1, %al
    out %al, %dx
    inc %edx
    xor %al, %al
    out %al, %dx
    mov $0x3f8 + 3, %edx
    mov $3, %al
    out %al, %dx
    mov $0xb8000, %ebx
1:  movb (%ebp), %al
    test %al, %al
    jz 3f
    movb %al, (%ebx)
    movb $0x5f, 1(%ebx)
    add $2, %ebx
    mov %al, %ah
    mov $0x3f8 + 5, %edx
    mov $100000, %ecx // a port that is not there never becomes ready
2:  in %dx, %al
    test $0x20, %al
    loopz 2b
    mov %ah, %al
    mov $0x3f8, %edx
    out %al, %dx
    inc %ebp
    jmp 1b
3:  hlt
    jmp 3b

    .code64
long_mode:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    movabs $high_half, %rax
    jmp *%rax
high_half:
    mov $boot_stack_top, %rsp
    xor %ebp, %ebp // ends a backtrace
    mov %edi, %edi
    mov %esi, %esi
    call kernel_main
1:  hlt
    jmp 1b

    .section .rodata
message_loader:
    .asciz "Chronovisor: this boot loader does not speak multiboot2; start it from GRUB 2 with the command multiboot2."
message_long_mode:
    .asciz "Chronovisor: this processor has no 64-bit mode (x86-64), which is indispensable."
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff // 64-bit code
    .quad 0x00cf93000000ffff // data
boot_gdt_pointer:
    .short boot_gdt_pointer - boot_gdt - 1
    .long PHYS(boot_gdt)
    .long 0

    .bss
    .balign 4096
    .globl boot_pml4
boot_pml4:
    .skip 4096
boot_pdpt_low:
    .skip 4096
boot_pdpt_kernel:
    .skip 4096
boot_directories:
    .skip 4 * 4096
    .globl boot_stack_guard // mm/ leaves this page unmapped, so that an overflow is noticed
boot_stack_guard:
    .skip 4096
boot_stack:
    .skip BOOT_STACK_SIZE
    .globl boot_stack_top
boot_stack_top:

    .section .note.GNU-stack, "", @progbits
