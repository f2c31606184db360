// Small 64-bit guests: output on COM1, results one per line, faults that can be expected.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frame { // what lib/start.S pushes
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

// The guest's own: its result is the exit status.
int guest_main(void);
// Writes to the test-exit port 0x501 (value v ends QEMU with 2v+1 and vmx with v), then to ACPI, then halts.
__attribute__((noreturn)) void guest_exit(int status);

// Starts another processor, on a stack of its own: `run` must not return. One at a time: the caller waits until `run`
// has begun, which is for the two to agree on. (cpus.S)
void start_cpu(unsigned apic_id, void (*run)(void), void *stack_top);

void print(const char *fmt, ...) __attribute__((format(printf, 1, 2))); // %s %c %u %x %lx %lu %d
// "ok NAME" or "not ok NAME: got X, expected Y".
void check(const char *name, uint64_t got, uint64_t expected);
void pass(const char *name);
void fail(const char *name, const char *why);
// The last line; returns the number of failures.
int end(void);

// Interrupts and faults: by default a fault is a failure and ends the guest. A handler may be set per
// vector; it gets the frame and may change it.
extern void (*handlers[256])(struct frame *f);

// Runs `statement`; TRAPPED is the vector of the fault it caused, or -1. One at a time. The fault's
// error code and CR2 are in trapped_error, trapped_cr2.
extern volatile int trapped;
extern volatile uint64_t trapped_error, trapped_cr2, trap_resume;
#define TRY(statement)                                                                        \
    ({                                                                                        \
        trapped = -1;                                                                         \
        __asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; " statement "; 1: movq $0, %0" \
                         : "+m"(trap_resume)                                                  \
                         :                                                                    \
                         : "rax", "rcx", "rdx", "rbx", "rsi", "rdi", "r8", "memory", "cc");   \
        trapped;                                                                              \
    })

static inline void outb(uint16_t p, uint8_t v) {
    __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(p));
}
static inline void outw(uint16_t p, uint16_t v) {
    __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(p));
}
static inline void outl(uint16_t p, uint32_t v) {
    __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(p));
}
static inline uint8_t inb(uint16_t p) {
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(p));
    return v;
}
static inline uint16_t inw(uint16_t p) {
    uint16_t v;
    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(p));
    return v;
}
static inline uint32_t inl(uint16_t p) {
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(p));
    return v;
}
static inline uint64_t rdmsr(uint32_t m) {
    uint32_t a, d;
    __asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(m));
    return (uint64_t)d << 32 | a;
}
static inline void wrmsr(uint32_t m, uint64_t v) {
    __asm__ volatile("wrmsr" ::"c"(m), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}
static inline uint64_t rdtsc(void) {
    uint32_t a, d;
    __asm__ volatile("rdtsc" : "=a"(a), "=d"(d));
    return (uint64_t)d << 32 | a;
}
struct cpuid {
    uint32_t a, b, c, d;
};
static inline struct cpuid cpuid(uint32_t leaf, uint32_t sub) {
    struct cpuid r;
    __asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
    return r;
}
