// Into the guest and out of it.
//
// vmx_enter: RDI = uint64_t gpr[16], RSI = struct vmx_passage *. Keeps RSP, RBP, RBX and both
// arguments; CF: the entry failed, else an exit happened.
//
// The two RDTSC frame a straight line of instructions around the guest's own, the same number on
// every passage: their difference less a constant (found by calibration, vmm/clock.c) is what the guest
// executed, and the TSC offset is computed here so that the guest's first instruction sees exactly the
// virtual time wanted. Change nothing between them without need; calibration notices any change.
#define P_HOST_RSP 0
#define P_TSC_BASE 8            // virtual TSC at the first guest instruction less the constant, or the offset
#define P_TSC_MASK 16           // all ones: subtract the host's TSC from the base; 0: the base is the offset
#define P_TSC_IN   24
#define P_TSC_OUT  32
#define P_LAUNCHED 40
#define VMCS_TSC_OFFSET 0x2010
#define VMCS_HOST_RSP   0x6c14
    .text
    .globl vmx_enter
    .type vmx_enter, @function
vmx_enter:
    push %rbp
    push %rbx
    push %rdi
    push %rsi
    cmp %rsp, P_HOST_RSP(%rsi)
    je 1f
    mov %rsp, P_HOST_RSP(%rsi)
    mov $VMCS_HOST_RSP, %eax
    vmwrite %rsp, %rax
    jna 3f
1:  rdtsc
    shl $32, %rdx
    or %rdx, %rax
    mov %rax, P_TSC_IN(%rsi)
    and P_TSC_MASK(%rsi), %rax
    mov P_TSC_BASE(%rsi), %rcx
    sub %rax, %rcx
    mov $VMCS_TSC_OFFSET, %eax
    vmwrite %rcx, %rax
    cmpq $0, P_LAUNCHED(%rsi)
    mov 0x00(%rdi), %rax
    mov 0x08(%rdi), %rcx
    mov 0x10(%rdi), %rdx
    mov 0x18(%rdi), %rbx
    mov 0x28(%rdi), %rbp
    mov 0x30(%rdi), %rsi
    mov 0x40(%rdi), %r8
    mov 0x48(%rdi), %r9
    mov 0x50(%rdi), %r10
    mov 0x58(%rdi), %r11
    mov 0x60(%rdi), %r12
    mov 0x68(%rdi), %r13
    mov 0x70(%rdi), %r14
    mov 0x78(%rdi), %r15
    mov 0x38(%rdi), %rdi
    jz 2f
    vmresume
    jmp 3f
2:  vmlaunch
3:  // The entry failed before any guest state was loaded (VMfailValid or VMfailInvalid).
    pop %rsi
    pop %rdi
    pop %rbx
    pop %rbp
    stc
    ret

    .globl vmx_exit_point
vmx_exit_point:                 // HOST_RIP; RSP = HOST_RSP
    push %rdi
    mov 16(%rsp), %rdi
    mov %rax, 0x00(%rdi)
    mov %rcx, 0x08(%rdi)
    mov %rdx, 0x10(%rdi)
    mov %rbx, 0x18(%rdi)
    mov %rbp, 0x28(%rdi)
    mov %rsi, 0x30(%rdi)
    pop 0x38(%rdi)
    mov %r8, 0x40(%rdi)
    mov %r9, 0x48(%rdi)
    mov %r10, 0x50(%rdi)
    mov %r11, 0x58(%rdi)
    mov %r12, 0x60(%rdi)
    mov %r13, 0x68(%rdi)
    mov %r14, 0x70(%rdi)
    mov %r15, 0x78(%rdi)
    rdtsc
    shl $32, %rdx
    or %rdx, %rax
    pop %rsi
    pop %rdi
    mov %rax, P_TSC_OUT(%rsi)
    pop %rbx
    pop %rbp
    clc
    ret
    .size vmx_enter, . - vmx_enter
    .section .note.GNU-stack, "", @progbits
