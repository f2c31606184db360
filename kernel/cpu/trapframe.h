// The registers of the interrupted code as every entry into the kernel pushes them (cpu/entry.S).
#pragma once
#include "lib/compiler.h"

struct trap_frame {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    uint64_t
        vector; // of the exception or interrupt; for a system call: its number (Linux: orig_rax)
    uint64_t error; // error code of the exception, else 0; ERROR_SYSCALL for a system call
    uint64_t rip, cs, rflags, rsp, ss;
};
_Static_assert(sizeof(struct trap_frame) == 22 * 8, "entry.S builds this layout");

#define ERROR_SYSCALL (~0ull)

// The frame was pushed by the SYSCALL instruction (and sigreturn has not replaced it).
static inline bool frame_is_syscall(const struct trap_frame *f) {
    return f->error == ERROR_SYSCALL;
}
static inline bool frame_from_user(const struct trap_frame *f) {
    return f->cs & 3;
}
