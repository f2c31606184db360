// The registers of the interrupted code as every entry into the kernel pushes them (cpu/entry.S,
// syscall/entry.S; panic() makes one of its own, cpu/panic_entry.S).
#pragma once

// Where the entries look into the frame.
#define FRAME_VECTOR 120
#define FRAME_ERROR  128
#define FRAME_RIP    136
#define FRAME_CS     144
#define FRAME_RFLAGS 152
#define FRAME_RSP    160
#define FRAME_SS     168
#define FRAME_SIZE   176

#ifdef __ASSEMBLER__
// clang-format off
.macro PUSH_REGISTERS
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %rax
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
.endm

.macro POP_REGISTERS
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rax
    pop %rcx
    pop %rdx
    pop %rsi
    pop %rdi
.endm
// clang-format on
#else
#include "lib/compiler.h"

struct trap_frame {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    uint64_t
        vector; // of the exception or interrupt; for a system call: its number (Linux: orig_rax)
    uint64_t error; // error code of the exception, else 0; ERROR_SYSCALL for a system call
    uint64_t rip, cs, rflags, rsp, ss;
};
_Static_assert(offsetof(struct trap_frame, vector) == FRAME_VECTOR, "as the entries find it");
_Static_assert(offsetof(struct trap_frame, error) == FRAME_ERROR, "as the entries find it");
_Static_assert(offsetof(struct trap_frame, rip) == FRAME_RIP, "as the entries find it");
_Static_assert(offsetof(struct trap_frame, cs) == FRAME_CS, "as the entries find it");
_Static_assert(offsetof(struct trap_frame, rflags) == FRAME_RFLAGS, "as the entries find it");
_Static_assert(offsetof(struct trap_frame, rsp) == FRAME_RSP, "as the entries find it");
_Static_assert(offsetof(struct trap_frame, ss) == FRAME_SS, "as the entries find it");
_Static_assert(sizeof(struct trap_frame) == FRAME_SIZE, "as the entries build it");

#define ERROR_SYSCALL (~0ull)

// The frame was pushed by the SYSCALL instruction (and sigreturn has not replaced it).
static inline bool frame_is_syscall(const struct trap_frame *f) {
    return f->error == ERROR_SYSCALL;
}
static inline bool frame_from_user(const struct trap_frame *f) {
    return f->cs & 3;
}
#endif
