// Text that is put together in a buffer of fixed size: what does not fit is cut off.
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

struct text {
    char *buf;
    size_t size,
        used; // bytes; `used` < `size`, which must not be 0: there is always room for the final 0
};

// Appends as printf() does.
static inline void __attribute__((format(printf, 2, 3)))
text_add(struct text *t, const char *fmt, ...) {
    size_t left = t->size - t->used;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->buf + t->used, left, fmt, ap);
    va_end(ap);
    if (n > 0)
        t->used += (size_t)n < left ? (size_t)n : left - 1;
}
