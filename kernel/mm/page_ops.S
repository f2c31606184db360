// page_clear(page) and page_copy(to, from). The kernel is compiled without vector registers; these
// use one (two for copying) and put it back, which is cheaper than REP by a factor of four to eight
// in instructions. Non-VEX SSE keeps the upper halves, VEX code would clear the upper half of zmm0:
// so the width is that of the state that XCR0 admits, and the register is saved in full.
    .text

    .global page_clear, page_copy
page_clear:
    jmp *page_clear_variant(%rip)
page_copy:
    jmp *page_copy_variant(%rip)

.macro CLEAR name, width, reg, load, store, zero
    .global \name
\name:
    push %rbp
    mov %rsp, %rbp
    sub $64, %rsp
    \load %\reg, (%rsp)
    \zero
    lea 4096(%rdi), %rax
1:
    \store %\reg, 0*\width(%rdi)
    \store %\reg, 1*\width(%rdi)
    \store %\reg, 2*\width(%rdi)
    \store %\reg, 3*\width(%rdi)
    \store %\reg, 4*\width(%rdi)
    \store %\reg, 5*\width(%rdi)
    \store %\reg, 6*\width(%rdi)
    \store %\reg, 7*\width(%rdi)
    \store %\reg, 8*\width(%rdi)
    \store %\reg, 9*\width(%rdi)
    \store %\reg, 10*\width(%rdi)
    \store %\reg, 11*\width(%rdi)
    \store %\reg, 12*\width(%rdi)
    \store %\reg, 13*\width(%rdi)
    \store %\reg, 14*\width(%rdi)
    \store %\reg, 15*\width(%rdi)
    add $16*\width, %rdi
    cmp %rax, %rdi
    jne 1b
    \load (%rsp), %\reg
    leave
    ret
.endm

.macro COPY name, width, reg, load, store
    .global \name
\name:
    push %rbp
    mov %rsp, %rbp
    sub $64, %rsp
    \load %\reg, (%rsp)
    lea 4096(%rdi), %rax
1:
    .irp i, 0,1,2,3,4,5,6,7
    \load \i*\width(%rsi), %\reg
    \store %\reg, \i*\width(%rdi)
    .endr
    add $8*\width, %rdi
    add $8*\width, %rsi
    cmp %rax, %rdi
    jne 1b
    \load (%rsp), %\reg
    leave
    ret
.endm

    CLEAR page_clear_sse, 16, xmm0, movups, movaps, "pxor %xmm0, %xmm0"
    CLEAR page_clear_avx, 32, ymm0, vmovdqu, vmovdqa, "vpxor %ymm0, %ymm0, %ymm0"
    CLEAR page_clear_avx512, 64, zmm0, vmovdqu64, vmovdqa64, "vpxorq %zmm0, %zmm0, %zmm0"
    COPY page_copy_sse, 16, xmm0, movups, movaps
    COPY page_copy_avx, 32, ymm0, vmovdqu, vmovdqa
    COPY page_copy_avx512, 64, zmm0, vmovdqu64, vmovdqa64
    .section .note.GNU-stack, "", @progbits
