// Into the guest and out of it.
//
// vmx_enter: RDI = struct vcpu *. Keeps RSP, RBP and RDI; CF: the entry failed, else an exit happened. HOST_RSP is
// the vCPU's address, so an exit finds where the guest's registers belong; none of the exceptions that can come
// before RSP is the stack again (NMI, #MC) uses it.
//
// The two RDTSC frame a straight line of instructions around the guest's own, the same number on
// every passage: their difference less a constant (found by calibration, vmm/clock.c) is what the guest
// executed, and the TSC offset is computed here so that the guest's first instruction sees exactly the
// virtual time wanted. Change nothing between them without need; calibration notices any change.
//
// Offsets in struct vcpu (asserted in vmm/intel/run.c):
#define V_STACK    0x80
#define V_TSC_BASE 0x88 // virtual TSC at the first guest instruction less the constant, or the offset
#define V_TSC_MASK 0x90 // all ones: subtract the host's TSC from the base; 0: the base is the offset
#define V_TSC_IN   0x98
#define V_TSC_OUT  0xa0
#define V_LAUNCHED 0xa8
#define VMCS_TSC_OFFSET 0x2010
    .text
    .globl vmx_enter
    .type vmx_enter, @function
vmx_enter:
    push %rbp
    mov %rsp, V_STACK(%rdi)
    push %rdi                   // for a failure
    rdtsc
    shl $32, %rdx
    or %rdx, %rax
    mov %rax, V_TSC_IN(%rdi)
    and V_TSC_MASK(%rdi), %rax
    mov V_TSC_BASE(%rdi), %rcx
    sub %rax, %rcx
    mov $VMCS_TSC_OFFSET, %eax
    vmwrite %rcx, %rax
    cmpq $0, V_LAUNCHED(%rdi)
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
    jz 1f
    vmresume
    jmp 2f
1:  vmlaunch
2:  // The entry failed before any guest state was loaded (VMfailValid or VMfailInvalid).
    pop %rdi
    pop %rbp
    stc
    ret

    .globl vmx_exit_point
vmx_exit_point:                 // HOST_RIP; RSP = HOST_RSP, the vCPU
    mov %rax, 0x00(%rsp)
    mov %rcx, 0x08(%rsp)
    mov %rdx, 0x10(%rsp)
    mov %rbx, 0x18(%rsp)
    mov %rbp, 0x28(%rsp)
    mov %rsi, 0x30(%rsp)
    mov %rdi, 0x38(%rsp)
    mov %r8, 0x40(%rsp)
    mov %r9, 0x48(%rsp)
    mov %r10, 0x50(%rsp)
    mov %r11, 0x58(%rsp)
    mov %r12, 0x60(%rsp)
    mov %r13, 0x68(%rsp)
    mov %r14, 0x70(%rsp)
    mov %r15, 0x78(%rsp)
    rdtsc
    shl $32, %rdx
    or %rdx, %rax               // and clears CF
    mov %rsp, %rdi
    mov V_STACK(%rdi), %rsp
    mov %rax, V_TSC_OUT(%rdi)
    pop %rbp
    ret
    .size vmx_enter, . - vmx_enter
    .section .note.GNU-stack, "", @progbits
