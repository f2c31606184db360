// Numbers of variable length: seven bits a byte, the lowest first, the top bit set while more follow
// (LEB128). At most ten bytes.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VARINT_MAX 10

static inline size_t varint_put(uint8_t *to, uint64_t v) {
    size_t n = 0;
    while (v >= 0x80) {
        to[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    to[n++] = (uint8_t)v;
    return n;
}

// Reads at *at, advances it; false at the end of the data or for more than 64 bits.
static inline bool varint_get(const uint8_t *data, size_t size, size_t *at, uint64_t *v) {
    *v = 0;
    for (unsigned shift = 0; shift < 64 && *at < size; shift += 7) {
        uint8_t byte = data[(*at)++];
        if (shift == 63 && byte > 1)
            return false;
        *v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}
