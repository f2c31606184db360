// Growing texts.
#include "fs/procfs.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/heap.h"

// Makes room for n more bytes and a zero. False: out of memory.
static bool reserve(struct textbuf *b, size_t n) {
    if (b->len + n + 1 <= b->size)
        return true;
    size_t size = b->size ? b->size : 512;
    while (size < b->len + n + 1)
        size *= 2;
    char *data = kmalloc(size);
    if (!data) {
        b->failed = true;
        return false;
    }
    if (b->data)
        memcpy(data, b->data, b->len);
    kfree(b->data);
    b->data = data;
    b->size = size;
    return true;
}

void text_write(struct textbuf *b, const char *data, size_t n) {
    if (!reserve(b, n))
        return;
    memcpy(b->data + b->len, data, n);
    b->len += n;
}

void text_printf(struct textbuf *b, const char *fmt, ...) {
    va_list ap;
    if (!reserve(b, 80))
        return;
    va_start(ap, fmt);
    size_t n = vsnprintf(b->data + b->len, b->size - b->len, fmt, ap);
    va_end(ap);
    if (n >= b->size - b->len) { // it did not fit: now it will
        if (!reserve(b, n))
            return;
        va_start(ap, fmt);
        vsnprintf(b->data + b->len, b->size - b->len, fmt, ap);
        va_end(ap);
    }
    b->len += n;
}

void text_free(struct textbuf *b) {
    kfree(b->data);
    *b = (struct textbuf){0};
}
