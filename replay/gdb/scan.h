// Reading the arguments of packets: a cursor over bytes that may be anything.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scan {
    const char *at, *end;
};

// Value of a hexadecimal digit, or -1.
static inline int scan_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
// True, and past it, when the next bytes are `text`.
bool scan_word(struct scan *s, const char *text);
bool scan_end(const struct scan *s);
// One to sixteen hexadecimal digits. False: there is none, or too many.
bool scan_number(struct scan *s, uint64_t *value);
// Pairs of digits, up to n bytes, as long as there are some. Returns how many bytes.
size_t scan_bytes(struct scan *s, void *bytes, size_t n);
// What is left.
static inline size_t scan_left(const struct scan *s) {
    return (size_t)(s->end - s->at);
}
