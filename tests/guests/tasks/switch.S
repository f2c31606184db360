// Leaves long mode, switches between two hardware tasks in all ways that there are, and comes back. What
// was seen goes into seen_*; tasks.c compares.
#define CODE32 0x08
#define DATA32 0x10
#define CODE64 0x18
#define TASK_A 0x20
#define TASK_B 0x28
#define GATE_B 0x30

    .text
    .code64
    .globl run_tasks
run_tasks:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    sgdt old_gdt
    sidt old_idt
    mov %rsp, old_rsp
    lgdt new_gdt
    lidt new_idt
    pushq $CODE32
    pushq $1f
    lretq
    .code32
1:  mov $DATA32, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %cr0, %eax
    and $0x7fffffff, %eax       // no paging: no long mode
    mov %eax, %cr0
    mov $stack_a, %esp
    mov $TASK_A, %eax
    ltr %ax

    // JMP, and JMP back
    mov $0x11111111, %ebx
    movl $after_jump, tss_b + 0x20
    ljmp $TASK_B, $0
    mov %ebx, seen_jump         // task A's register again
    movzbl gdt + TASK_A + 5, %eax
    mov %eax, seen_type_a       // busy: it runs
    movzbl gdt + TASK_B + 5, %eax
    mov %eax, seen_type_b       // free: left by JMP

    // CALL, and IRET
    movl $called, tss_b + 0x20
    lcall $TASK_B, $0
    pushf
    popl seen_flags_a           // NT is clear again
    // the same through a gate in the GDT
    movl $called, tss_b + 0x20
    lcall $GATE_B, $0

    // INT n
    movl $called, tss_b + 0x20
    int $0x40
after_int:
    movl tss_a + 0x20, %eax
    sub $after_int, %eax
    mov %eax, seen_int_return

    // an exception with an error code; the task makes it go on behind the instruction
    movl $faulted, tss_b + 0x20
    movl $after_fault, resume
    mov $0x1238, %eax
at_fault:
    mov %eax, %fs
after_fault:

    // a double fault: the gate of #GP is not present
    movl $faulted, tss_b + 0x20
    movl $after_double, resume
    movb $0x05, idt32 + 13 * 8 + 5
    mov $0x1238, %eax
    mov %eax, %fs
after_double:
    mov %cr0, %eax
    mov %eax, seen_cr0

    or $0x80000000, %eax        // long mode again
    mov %eax, %cr0
    ljmp $CODE64, $2f
    .code64
2:  lgdt old_gdt
    lidt old_idt
    mov old_rsp, %rsp
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    pushq $0x08
    pushq $3f
    lretq
3:  clts
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    // ---- task B ----
    .code32
after_jump:
    mov %ebx, seen_ebx_b        // from its state segment
    mov %esp, seen_esp_b
    str %eax
    mov %eax, seen_tr_b
    mov $0x22222222, %ebx
    ljmp $TASK_A, $0

called:
    pushf
    popl seen_flags_b
    movzwl tss_b, %eax
    mov %eax, seen_link
    incl seen_calls
    mov %ebx, seen_saved_ebx    // what B had when it was left
    iret

faulted:
    popl %eax                   // the error code
    mov seen_faults, %ecx
    mov %eax, seen_error(, %ecx, 4)
    mov tss_a + 0x20, %eax
    sub $at_fault, %eax
    mov %eax, seen_fault_eip(, %ecx, 4)
    incl seen_faults
    mov resume, %eax
    mov %eax, tss_a + 0x20
    iret

    .data
    .balign 8
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
    .globl task_descriptors
task_descriptors:
    .quad 0, 0                  // of A and B: tasks.c
    .quad 0x0000850000280000    // task gate
new_gdt:
    .word . - gdt - 1
    .quad gdt
new_idt:
    .word 0x41 * 8 - 1
    .quad idt32
    .globl tss_a, tss_b, idt32
    .balign 128
tss_a:
    .skip 128
tss_b:
    .long 0, 0, 0, 0, 0, 0, 0, 0, 0, 2      // flags
    .long 0, 0, 0, 0x33333333, stack_b, 0, 0, 0
    .long DATA32, CODE32, DATA32, DATA32, 0, 0, 0, 0x680000
    .balign 8
idt32:
    .skip 8 * 8
    .quad 0x0000850000280000    // #DF
    .skip 4 * 8
    .quad 0x0000850000280000    // #GP
    .skip (0x40 - 14) * 8
    .quad 0x0000850000280000    // INT 40
    .globl seen_jump, seen_type_a, seen_type_b, seen_flags_a, seen_flags_b, seen_int_return, seen_cr0
    .globl seen_ebx_b, seen_esp_b, seen_tr_b, seen_link, seen_calls, seen_saved_ebx, seen_faults
    .globl seen_error, seen_fault_eip, stack_b
    .balign 4
seen_jump:       .long 0
seen_type_a:     .long 0
seen_type_b:     .long 0
seen_flags_a:    .long 0
seen_flags_b:    .long 0
seen_int_return: .long 0
seen_cr0:        .long 0
seen_ebx_b:      .long 0
seen_esp_b:      .long 0
seen_tr_b:       .long 0
seen_link:       .long 0
seen_calls:      .long 0
seen_saved_ebx:  .long 0
seen_faults:     .long 0
seen_error:      .long 0xff, 0xff
seen_fault_eip:  .long 0xff, 0xff
resume:          .long 0
    .balign 8
old_gdt: .skip 16
old_idt: .skip 16
old_rsp: .quad 0

    .bss
    .balign 16
    .skip 1024
stack_a:
    .skip 1024
stack_b:
    .section .note.GNU-stack, "", @progbits
