// Our own bugs: on in every build, and the report can be acted on. Never use it for anything that
// a guest, a file, a device or a user program can cause.
#pragma once
#include "lib/compiler.h"

// Prints the reason, registers, a symbolised backtrace and the last log lines on every console,
// stops the other processors, halts. (cpu/panic.c)
noreturn void panic(const char *fmt, ...) printf_like(1, 2);

#define ASSERT(cond)                                                                       \
    do {                                                                                   \
        if (unlikely(!(cond)))                                                             \
            panic("%s:%d: %s: assertion failed: %s", __FILE__, __LINE__, __func__, #cond); \
    } while (0)
#define ASSERTF(cond, fmt, ...)                                                                 \
    do {                                                                                        \
        if (unlikely(!(cond)))                                                                  \
            panic("%s:%d: %s: assertion failed: %s: " fmt, __FILE__, __LINE__, __func__, #cond, \
                  ##__VA_ARGS__);                                                               \
    } while (0)
