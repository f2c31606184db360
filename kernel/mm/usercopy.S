// The instructions that touch user memory, between STAC and CLAC. Each one that may fault has an
// entry in the exception table: where it is, and where to go on when the page cannot be had.
#include "cpu/smap.h"

#define EFAULT 14

.macro FAULTS at, to
    .pushsection __ex_table, "a"
    .quad \at, \to
    .popsection
.endm
// As FAULTS, but the page is not even brought in: bit 63, set in all kernel addresses, is clear.
.macro FAULTS_ATOMIC at, to
    .pushsection __ex_table, "a"
    .quad \at, \to - 0x8000000000000000
    .popsection
.endm

    .text
    .globl user_copy, user_clear, user_copy_string, user_cmpxchg, user_load_atomic
    .globl user_xsave, user_xrstor, user_fxsave, user_fxrstor

// int user_copy(void *to, const void *from, size_t n)
user_copy:
    ASM_STAC
    cmp $8, %rdx
    je 3f
    mov %rdx, %rcx
    shr $3, %rcx
1:  rep movsq
    and $7, %edx
    jz 5f
    test $4, %dl
    jz 7f
6:  movsl
    and $3, %edx
    jz 5f
7:  mov %edx, %ecx
2:  rep movsb
    jmp 5f
3:  mov (%rsi), %rax
4:  mov %rax, (%rdi)
5:  ASM_CLAC
    xor %eax, %eax
    ret
    FAULTS 1b, fault
    FAULTS 2b, fault
    FAULTS 3b, fault
    FAULTS 4b, fault
    FAULTS 6b, fault

fault:
    ASM_CLAC
    mov $-EFAULT, %rax
    ret

// int user_clear(void *to, size_t n)
user_clear:
    ASM_STAC
    xor %eax, %eax
    mov %rsi, %rcx
    shr $3, %rcx
1:  rep stosq
    and $7, %esi
    mov %esi, %ecx
2:  rep stosb
    ASM_CLAC
    ret
    FAULTS 1b, fault
    FAULTS 2b, fault

// long user_copy_string(char *to, const char *from, size_t max): stops after the zero; its index, or
// max when there is none.
user_copy_string:
    ASM_STAC
    xor %eax, %eax
1:  cmp %rdx, %rax
    je 3f
2:  movb (%rsi,%rax), %cl
    movb %cl, (%rdi,%rax)
    test %cl, %cl
    jz 3f
    inc %rax
    jmp 1b
3:  ASM_CLAC
    ret
    FAULTS 2b, fault

// int user_cmpxchg(uint32_t *addr, uint32_t expected, uint32_t desired, uint32_t *old)
user_cmpxchg:
    ASM_STAC
    mov %esi, %eax
1:  lock cmpxchgl %edx, (%rdi)
    ASM_CLAC
    mov %eax, (%rcx)
    xor %eax, %eax
    ret
    FAULTS 1b, fault

// int user_load_atomic(uint32_t *value, const uint32_t *addr)
user_load_atomic:
    ASM_STAC
1:  movl (%rsi), %eax
    ASM_CLAC
    movl %eax, (%rdi)
    xor %eax, %eax
    ret
    FAULTS_ATOMIC 1b, fault

// int user_xsave(void *area): all components that are in use.
user_xsave:
    mov $-1, %eax
    mov %eax, %edx
    ASM_STAC
1:  xsave64 (%rdi)
    ASM_CLAC
    xor %eax, %eax
    ret
    FAULTS 1b, fault

// int user_xrstor(const void *area, uint64_t components). Contents that are not valid are a #GP.
user_xrstor:
    mov %esi, %eax
    mov %rsi, %rdx
    shr $32, %rdx
    ASM_STAC
1:  xrstor64 (%rdi)
    ASM_CLAC
    xor %eax, %eax
    ret
    FAULTS 1b, fault

// The same without XSAVE: int user_fxsave(void *area), int user_fxrstor(const void *area)
user_fxsave:
    ASM_STAC
1:  fxsave64 (%rdi)
    ASM_CLAC
    xor %eax, %eax
    ret
    FAULTS 1b, fault
user_fxrstor:
    ASM_STAC
1:  fxrstor64 (%rdi)
    ASM_CLAC
    xor %eax, %eax
    ret
    FAULTS 1b, fault
    .section .note.GNU-stack, "", @progbits
