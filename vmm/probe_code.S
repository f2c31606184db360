// The programs of the probe guest (vmm/probe_guest.h): 64-bit code, copied to PROBE_CODE in its memory.
// Each begins with RCX = N, ends with HLT, and touches no register that the comment does not name.
// Comments say how many ticks the TSC clock must count before the HLT.
#define DATA 0x8000
#define DATA2 0x9000
    .section .rodata
    .balign 16
    .globl probe_code, probe_code_end
probe_code:
    .globl probe_halt                   // 0
probe_halt:
    hlt

    .globl probe_loop                   // 2 N
probe_loop:
1:  dec %rcx
    jnz 1b
    hlt

    .globl probe_rep                    // N: one per iteration
probe_rep:
    rep stosb
    hlt

    .globl probe_exits                  // 3 N: the VMM finishes CPUID and counts it
probe_exits:
1:  cpuid
    dec %rbp
    jnz 1b
    hlt

    .globl probe_faults                 // 6 N: delivery of #UD, two in its handler, three here
probe_faults:
1:  ud2
    nop
    dec %rcx
    jnz 1b
    hlt

    .globl probe_soft                   // 4 N: INT, IRETQ, two here
probe_soft:
1:  int $0x30
    dec %rcx
    jnz 1b
    hlt

    .globl probe_tsc                    // RAX = the virtual TSC as the first instruction reads it
probe_tsc:
    rdtsc
    hlt

    .globl probe_mix                    // a bit of everything; RAX ends as a hash of the way
probe_mix:
    mov $1, %eax
1:  imul $0x5bd1e995, %rax, %rax
    add %rcx, %rax
    mov %rcx, %rbp
    mov $5, %ecx
    mov $DATA, %edi
    rep stosb
    mov $3, %ecx
    mov $DATA, %esi
    mov $DATA2, %edi
    rep movsb
    mov %rbp, %rcx
    add DATA2, %rax
    pushfq
    cli
    sti
    nop
    popfq
    mov %ss, %ebx
    mov %ebx, %ss
    nop
    ud2
    int $0x30
    xor %rbx, %rax
    incq DATA2 + 8
    dec %rcx
    jnz 1b
    hlt

    .globl probe_branches               // conditional branches: N, of which all but one are taken
probe_branches:
1:  nop
    nop
    dec %rcx
    jnz 1b
    hlt

// Handlers.
    .globl probe_on_ud                  // skips the UD2
probe_on_ud:
    addq $2, (%rsp)
    iretq
    .globl probe_on_int
probe_on_int:
    iretq
    .globl probe_on_irq                 // three instructions; R8 counts, R9 hashes where it came
probe_on_irq:
    inc %r8
    add (%rsp), %r9
    iretq
probe_code_end:
    .section .note.GNU-stack, "", @progbits
