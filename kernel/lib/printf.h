// Formatted output into a buffer. Conversions: %d %i %u %x %X %o %c %s %p %% with flags - 0 + space
// #, width, precision, * and the sizes hh h l ll z. No floating point.
#pragma once
#include <stdarg.h>
#include "lib/compiler.h"

// As in C99: returns the length that the whole text would have; always terminates when size > 0.
int snprintf(char *buf, size_t size, const char *fmt, ...) printf_like(3, 4);
int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
// As snprintf, but returns what was stored (at most size-1), so that calls can be chained.
int scnprintf(char *buf, size_t size, const char *fmt, ...) printf_like(3, 4);
