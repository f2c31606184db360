// A line of result for each check of a program, and how many failed.
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static unsigned failures;

// Prints "ok NAME (text)" or "not ok NAME: text", the text as printf() makes it. Returns `good`.
static bool __attribute__((format(printf, 3, 4)))
check(bool good, const char *name, const char *fmt, ...) {
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    printf(good ? "ok %s (%s)\n" : "not ok %s: %s\n", name, text);
    fflush(stdout);
    failures += !good;
    return good;
}
