// Small helpers that every file may use: attributes, rounding, container_of.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define likely(x)                       __builtin_expect(!!(x), 1)
#define unlikely(x)                     __builtin_expect(!!(x), 0)
#define MIN(a, b)               \
    ({                          \
        __typeof__(a) a_ = (a); \
        __typeof__(b) b_ = (b); \
        a_ < b_ ? a_ : b_;      \
    })
#define MAX(a, b)               \
    ({                          \
        __typeof__(a) a_ = (a); \
        __typeof__(b) b_ = (b); \
        a_ > b_ ? a_ : b_;      \
    })
// n must be a power of two.
#define ROUND_UP(x, n)     (((x) + ((__typeof__(x))(n)-1)) & ~((__typeof__(x))(n)-1))
#define ROUND_DOWN(x, n)   ((x) & ~((__typeof__(x))(n)-1))
#define IS_ALIGNED(x, n)   (((x) & ((__typeof__(x))(n)-1)) == 0)
#define DIV_ROUND_UP(x, n) (((x) + (n)-1) / (n))
#define BIT(n)             (1ull << (n))

#define KIB (1024ull)
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)

#define __user            // marks pointers into user memory; only mm/uaccess.h may follow them
#define always_inline     inline __attribute__((always_inline))
#define noinline          __attribute__((noinline))
#define noreturn          __attribute__((noreturn))
#define packed            __attribute__((packed))
#define aligned_to(n)     __attribute__((aligned(n)))
#define must_check        __attribute__((warn_unused_result))
#define printf_like(f, a) __attribute__((format(printf, f, a)))

// The compiler may not move memory accesses across this line.
static inline void compiler_barrier(void) {
    __asm__ volatile("" ::: "memory");
}
#define READ_ONCE(x)     (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
