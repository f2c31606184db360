// What unit tests and fuzz targets need of the kernel's surroundings. All weak: a test, or a kernel
// source that it names, may bring the real thing.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "stubs/kernel.h"

jmp_buf *panic_jump;
char panic_message[256];

__attribute__((weak, noreturn)) void panic(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(panic_message, sizeof(panic_message), fmt, args);
    va_end(args);
    if (panic_jump)
        longjmp(*panic_jump, 1);
    fprintf(stderr, "panic: %s\n", panic_message);
    abort();
}

// Silent, because fuzz targets run a million times; UNIT_LOG=1 shows the lines.
__attribute__((weak)) void log_printf(int level, const char *fmt, ...) {
    static int wanted = -1;
    if (wanted < 0)
        wanted = getenv("UNIT_LOG") != NULL;
    if (!wanted)
        return;
    va_list args;
    va_start(args, fmt);
    printf("<%d> ", level);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}
