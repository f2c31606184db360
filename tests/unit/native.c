#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "native.h"

// All registers by absolute address, so that none is needed for it. The flags go over the host's stack.
__asm__(
    ".bss\n"
    ".balign 64\n"
    "native_state: .skip 192 + 1024\n" // as struct native: gpr, rflags, padding to 64 bytes, x87 and on
    "native_host_rsp: .skip 8\n"
    "native_code: .skip 8\n"
    ".globl native_state, native_code\n"
    ".text\n"
    ".globl native_enter\n"
    "native_enter:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "mov %rsp, native_host_rsp(%rip)\n"
    "mov $7, %eax; xor %edx, %edx; xrstor64 native_state+192(%rip)\n"
    "push native_state+128(%rip); popfq\n"
    "mov native_state+0(%rip), %rax; mov native_state+8(%rip), %rcx\n"
    "mov native_state+16(%rip), %rdx; mov native_state+24(%rip), %rbx\n"
    "mov native_state+32(%rip), %rsp; mov native_state+40(%rip), %rbp\n"
    "mov native_state+48(%rip), %rsi; mov native_state+56(%rip), %rdi\n"
    "mov native_state+64(%rip), %r8; mov native_state+72(%rip), %r9\n"
    "mov native_state+80(%rip), %r10; mov native_state+88(%rip), %r11\n"
    "mov native_state+96(%rip), %r12; mov native_state+104(%rip), %r13\n"
    "mov native_state+112(%rip), %r14; mov native_state+120(%rip), %r15\n"
    "jmp *native_code(%rip)\n"
    ".globl native_leave\n"
    "native_leave:\n"
    "mov %rax, native_state+0(%rip); mov %rcx, native_state+8(%rip)\n"
    "mov %rdx, native_state+16(%rip); mov %rbx, native_state+24(%rip)\n"
    "mov %rsp, native_state+32(%rip); mov %rbp, native_state+40(%rip)\n"
    "mov %rsi, native_state+48(%rip); mov %rdi, native_state+56(%rip)\n"
    "mov %r8, native_state+64(%rip); mov %r9, native_state+72(%rip)\n"
    "mov %r10, native_state+80(%rip); mov %r11, native_state+88(%rip)\n"
    "mov %r12, native_state+96(%rip); mov %r13, native_state+104(%rip)\n"
    "mov %r14, native_state+112(%rip); mov %r15, native_state+120(%rip)\n"
    "mov native_host_rsp(%rip), %rsp\n"
    "pushfq; pop native_state+128(%rip)\n"
    "push $2; popfq\n"
    "mov $7, %eax; xor %edx, %edx; xsave64 native_state+192(%rip)\n"
    "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "ret\n");
extern struct native native_state;
extern uint64_t native_code;
void native_enter(void);
extern char native_leave[];
_Static_assert(__builtin_offsetof(struct native, xsave) == 192, "as the assembly has it");

void *native_memory(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap below 4 GB");
        exit(1);
    }
    return p;
}

void native_run(struct native *n, uint8_t *at, unsigned length) {
    static const uint8_t jump[6] = {0xff, 0x25}; // jmp *0(%rip)
    uint64_t target = (uint64_t)native_leave;
    memcpy(at + length, jump, sizeof(jump));
    memcpy(at + length + sizeof(jump), &target, sizeof(target));
    native_state = *n;
    native_code = (uint64_t)at;
    native_enter();
    *n = native_state;
}
