// The torture guest: does in random order what makes it hard to stop a processor at an exact place and
// to come back there. All that it sees goes into one hash, R14: where interrupts found it, what the TSC
// and devices answered, which faults came. Two runs with the same events must end with the same hash.
//
// It is 64-bit code of ring 0 (a little of ring 3), loaded at CODE by its driver, tests/worlds/
// t_torture.c, or by torture.c, which also lay out its tables (layout.h). R15: random numbers, R13: rounds
// to go. Only offsets within this file are relocated: it is assembled into who loads it.
#include "memory.h"

.macro HASH what
    add \what, %r14
    rol $13, %r14
    imul $0x5bd1e995, %r14, %r14
.endm
.macro RANDOM // the next number in R15 and RAX (xorshift64)
    mov %r15, %rax
    shl $13, %rax
    xor %rax, %r15
    mov %r15, %rax
    shr $7, %rax
    xor %rax, %r15
    mov %r15, %rax
    shl $17, %rax
    xor %rax, %r15
    mov %r15, %rax
.endm

    .section .rodata
    .balign 4096
    .globl torture_code, torture_code_end
torture_code:
    mov $0x123456789abcdef, %r14
round:
    RANDOM
    HASH %rax
    and $31, %eax
    lea operations(%rip), %rbx
    movslq (%rbx,%rax,4), %rax
    add %rbx, %rax
    call *%rax
    sti
    dec %r13
    jnz round
    mov %r14, %rax
    out %eax, $PORT_DONE
    mov AT_END, %rbx
    test %rbx, %rbx
    jz 1f
    jmp *%rbx
1:  hlt
    jmp 1b

    .balign 4
operations:
    .irp name, calls, stos, movs, movs_down, scan, windows, shadow, flags, faults, nested, double_fault, \
               modify, absent, readonly, remap, accessed, cpuid, ports, string_ports, mmio, mmio_rmw, tsc, \
               halt, odd_exits, control, msrs, steps, ring3, software, floating, stack, serial
    .long op_\name - operations
    .endr

op_calls:
    mov %r15, %rcx
    and $63, %ecx
    inc %ecx
1:  call 2f
    loop 1b
    HASH %rax
    ret
2:  lea (%rax,%rcx,4), %rax
    xor %r15, %rax
    bt $5, %rax
    adc $0, %rax
    ret

op_stos:
    mov $DATA, %edi
    mov %r15, %rcx
    and $0xfff, %ecx
    rep stosb
    HASH DATA + 64
    HASH %rdi
    ret

op_movs:
    mov $DATA, %esi
    mov $DATA + 0x2000, %edi
    mov %r15, %rcx
    and $0x1ff, %ecx
    rep movsq
    HASH %rsi
    HASH DATA + 0x2008
    ret

op_movs_down:
    mov $DATA + 0x1800, %esi
    mov $DATA + 0x2ff8, %edi
    mov %r15, %rcx
    and $0x7ff, %ecx
    std
    rep movsb
    cld
    HASH %rdi
    ret

op_scan:
    mov $DATA, %edi
    mov $0x1000, %ecx
    mov %r15, %rax
    repne scasb
    HASH %rcx
    mov $DATA, %esi
    mov $DATA + 0x2000, %edi
    mov $0x800, %ecx
    repe cmpsb
    HASH %rcx
    ret

op_windows:
    cli
    HASH %rax
    sti
    cli
    HASH %rbx
    sti
    nop
    cli
    RANDOM
    sti
    HASH %rax
    ret

op_shadow:
    mov %ss, %eax
    mov %eax, %ss
    inc %rbx
    mov %eax, %ss
    mov %eax, %ss
    mov %rsp, %rbx
    HASH %rbx
    sti
    mov %eax, %ss
    nop
    cli
    mov %eax, %ss
    sti
    nop
    ret

op_flags:
    pushfq
    cli
    pushfq
    pop %rbx
    HASH %rbx
    popfq
    pushfq
    andq $~0x200, (%rsp)
    popfq
    imul $77, %r15, %rbx
    pushfq
    orq $0x200, (%rsp)
    popfq
    HASH %rbx
    ret

op_faults:
    ud2
    int3
    xor %ecx, %ecx
    mov $1, %eax
    xor %edx, %edx
    div %rcx                        // 3 bytes; the handler skips it
    mov $0x8000, %ebx
    shl $32, %rbx
    mov (%rbx), %rax                // 3 bytes; not canonical: #GP
    ret

// A page fault whose handler faults twice itself.
op_nested:
    movb $2, NESTING
    mov $ALIAS + 0x1000, %ebx
    andb $~1, ALIAS_PTE(1)
    andb $~1, ALIAS_PTE(2)
    andb $~1, ALIAS_PTE(3)
    invlpg (%rbx)
    invlpg 0x1000(%rbx)
    invlpg 0x2000(%rbx)
    mov (%rbx), %rax
    HASH %rax
    movb $0, NESTING
    ret

// An interrupt whose frame cannot be pushed: #PF, and its frame neither: #DF, on a stack of its own.
op_double_fault:
    mov %rsp, SAVED_RSP
    mov $NO_STACK, %esp
    int $0x30
double_fault_over:
    HASH %rsp
    ret

op_modify:
    mov $MODIFIED, %ebx
    movb $0xb8, (%rbx)              // mov $imm32, %eax; ret
    mov %r15d, 1(%rbx)
    movb $0xc3, 5(%rbx)
    call *%rbx
    HASH %rax
    notl 1(%rbx)
    call *%rbx
    HASH %rax
    ret

// From absent to present needs no invalidation (the handler does none).
op_absent:
    mov %r15, %rcx
    and $15, %ecx
    mov %ecx, %ebx
    shl $12, %ebx
    add $ALIAS, %ebx
    andb $~1, ALIAS_PTE(0)(,%rcx,8)
    invlpg (%rbx)
    mov (%rbx), %rax
    HASH %rax
    mov %r15, (%rbx)
    ret

// Nor does more permission, if one can live with a fault too many: so does this handler.
op_readonly:
    mov %r15, %rcx
    and $15, %ecx
    mov %ecx, %ebx
    shl $12, %ebx
    add $ALIAS, %ebx
    andb $~2, ALIAS_PTE(0)(,%rcx,8)
    invlpg (%rbx)
    mov (%rbx), %rax
    mov %r15, 8(%rbx)
    addq $3, 16(%rbx)
    HASH 8(%rbx)
    ret

op_remap:
    mov ALIAS_PTE(4), %rax
    mov ALIAS_PTE(5), %rbx
    mov %rbx, ALIAS_PTE(4)
    mov %rax, ALIAS_PTE(5)
    mov %cr3, %rax
    mov %rax, %cr3
    mov $ALIAS + 0x4000, %ebx
    mov %r15, 24(%rbx)
    HASH 0x1018(%rbx)
    ret

op_accessed:
    andb $~0x60, ALIAS_PTE(6)
    mov $ALIAS + 0x6000, %ebx
    invlpg (%rbx)
    mov 32(%rbx), %rax
    HASH ALIAS_PTE(6)
    mov %rax, 32(%rbx)
    HASH ALIAS_PTE(6)
    ret

op_cpuid:
    xor %eax, %eax
    cpuid
    HASH %rbx
    mov $1, %eax
    xor %ecx, %ecx
    cpuid
    and $0xffffff, %ebx             // without the APIC ID
    HASH %rax
    ret

op_ports:
    in $PORT_DATA, %al
    HASH %rax
    mov $PORT_DATA, %edx
    in (%dx), %eax
    HASH %rax
    mov %r15, %rax
    out %ax, %dx
    out %al, $PORT_DATA
    ret

op_string_ports:
    mov $PORT_DATA, %edx
    mov $DATA + 0x3000, %edi
    mov $5, %ecx
    rep insl
    HASH DATA + 0x3008
    mov $DATA + 0x3000, %esi
    mov $7, %ecx
    rep outsb
    HASH %rsi
    ret

// What it receives comes at moments of somebody else's choosing.
op_serial:
    mov $PORT_SERIAL, %edx
    in (%dx), %al
    HASH %rax
    ret

op_mmio:
    mov $MMIO_LINEAR, %ebx
    mov (%rbx), %eax
    HASH %rax
    movzbl 5(%rbx), %eax
    HASH %rax
    mov %r15, 8(%rbx)
    movb $7, 3(%rbx)
    ret

op_mmio_rmw:
    mov $MMIO_LINEAR, %ebx
    addl $5, 16(%rbx)
    orb $0x80, 20(%rbx)
    cmp %eax, 24(%rbx)
    setc %al
    HASH %rax
    mov $MMIO_LINEAR + 0x40, %edi
    mov $6, %ecx
    rep stosl
    HASH %rdi
    ret

op_tsc:
    rdtsc
    HASH %rax
    HASH %rdx
    rdtscp
    HASH %rax
    HASH %rcx
    ret

op_halt:
    hlt
    HASH %r13
    ret

op_odd_exits:
    pause
    wbinvd
    mov %r15d, %eax
    mov %rax, %dr0
    mov %dr0, %rbx
    HASH %rbx
    mov %dr7, %rbx
    HASH %rbx
    invlpg DATA
    sgdt DATA + 0x3800
    HASH DATA + 0x3802
    ret

op_control:
    mov %cr0, %rax
    xor $2, %eax                    // MP
    mov %rax, %cr0
    HASH %rax
    smsw %eax
    HASH %rax
    clts
    mov %cr4, %rax
    xor $0x80, %eax                 // PGE
    mov %rax, %cr4
    mov %cr4, %rax
    HASH %rax
    ret

op_msrs:
    mov $0xc0000102, %ecx           // KERNEL_GS_BASE
    rdmsr
    HASH %rax
    mov %r15d, %eax
    xor %edx, %edx
    wrmsr
    swapgs
    mov $0xc0000082, %ecx           // LSTAR
    wrmsr
    rdmsr
    HASH %rax
    swapgs
    ret

op_steps:
    pushfq
    orq $0x100, (%rsp)
    popfq
    nop
    cpuid
    mov %ss, %eax
    mov %eax, %ss
    nop
    xor %ebx, %ebx
    pushfq
    andq $~0x100, (%rsp)
    popfq
    nop
    ret

op_ring3:
    mov %rsp, SAVED_RSP
    pushq $USER_DS
    pushq $USER_STACK
    pushq $0x202
    pushq $USER_CS
    pushq $USER_CODE
    iretq
ring3_over:
    mov SAVED_RSP, %rsp
    HASH %rbx
    ret

op_software:
    int $0x30
    mov $9, %ecx
1:  int $0x30
    loop 1b
    ret

op_floating:
    mov %r15, %rax
    shr $8, %rax
    cvtsi2sd %rax, %xmm0
    sqrtsd %xmm0, %xmm1
    divsd %xmm1, %xmm0
    mulsd %xmm1, %xmm2
    addsd %xmm0, %xmm2
    movq %xmm2, %rbx
    HASH %rbx
    push %rax
    fildq (%rsp)
    fsqrt
    fistpq (%rsp)
    pop %rax
    HASH %rax
    ret

op_stack:
    mov $40, %ecx
1:  push %r15
    loop 1b
    mov $40, %ecx
2:  pop %rax
    add %rcx, %rax
    loop 2b
    HASH %rax
    mov %rsp, %rbp
    enter $64, $3
    leave
    ret

// ---- handlers -----------------------------------------------------------------------------------
    .globl on_de, on_db, on_bp, on_ud, on_df, on_gp, on_pf, on_int, on_user, on_irq
on_de:
    HASH (%rsp)
    addq $3, (%rsp)
    iretq
on_db:
    push %rax
    HASH 8(%rsp)
    mov %dr6, %rax
    HASH %rax
    xor %eax, %eax
    mov %rax, %dr6
    pop %rax
    iretq
on_bp:
    HASH (%rsp)
    iretq
on_ud:
    HASH (%rsp)
    addq $2, (%rsp)
    iretq
on_df:
    HASH (%rsp)
    mov SAVED_RSP, %rsp
    jmp double_fault_over
on_gp:
    HASH (%rsp)
    add $8, %rsp
    addq $3, (%rsp)
    iretq

on_pf:
    push %rax
    push %rbx
    HASH 16(%rsp)                   // error code
    HASH 24(%rsp)                   // RIP
    mov %cr2, %rax
    HASH %rax
    cmpb $0, NESTING
    je 1f
    decb NESTING
    push %rax
    ud2
    mov 0x1000(%rax), %rbx          // the next page, absent too
    pop %rax
1:  shr $12, %eax
    mov PAGE_TABLE(,%rax,8), %rbx
    or $1, %ebx
    testb $2, 16(%rsp)
    jz 2f
    or $2, %ebx
2:  mov %rbx, PAGE_TABLE(,%rax,8)
    pop %rbx
    pop %rax
    add $8, %rsp
    iretq

on_int:                             // a trap gate: interruptible
    HASH (%rsp)
    HASH 24(%rsp)
    iretq

on_user:                            // from ring 3
    HASH 8(%rsp)
    HASH 16(%rsp)
    jmp ring3_over

// External interrupts, on a stack of their own: 16 entries of 8 bytes.
    .balign 8
on_irq:
    .set vector, VECTOR_FIRST
    .rept VECTOR_COUNT
    push $vector
    jmp irq
    .balign 8
    .set vector, vector + 1
    .endr
irq:
    HASH (%rsp)                     // vector
    HASH 8(%rsp)                    // RIP
    HASH 24(%rsp)                   // RFLAGS
    HASH 32(%rsp)                   // RSP
    HASH %rax
    HASH %rbx
    HASH %rcx
    HASH %rdx
    HASH %rsi
    HASH %rdi
    incq INTERRUPTS
    add $8, %rsp
    iretq

// Ring 3, copied to USER_CODE.
    .globl user_code, user_code_end
user_code:
    mov $11, %ecx
1:  lea (%rbx,%rcx,2), %rbx
    loop 1b
    pushfq
    pop %rax
    add %rax, %rbx
    int $0x31
user_code_end:
torture_code_end:
    .section .note.GNU-stack, "", @progbits
