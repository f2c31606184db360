// Access to MSRs that may not exist: the exception table (mm/usercopy.S) leads a #GP to the failure.
    .text
    .globl msr_read_safe, msr_write_safe

// bool msr_read_safe(uint32_t msr, uint64_t *value)
msr_read_safe:
    mov %edi, %ecx
1:  rdmsr
    shl $32, %rdx
    or %rdx, %rax
    mov %rax, (%rsi)
    mov $1, %eax
    ret

// bool msr_write_safe(uint32_t msr, uint64_t value)
msr_write_safe:
    mov %edi, %ecx
    mov %esi, %eax
    mov %rsi, %rdx
    shr $32, %rdx
2:  wrmsr
    mov $1, %eax
    ret

3:  xor %eax, %eax
    ret

    .pushsection __ex_table, "a"
    .quad 1b, 3b, 2b, 3b
    .popsection
    .section .note.GNU-stack, "", @progbits
