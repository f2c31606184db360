#include "replay/gdb/scan.h"
#include <string.h>

bool scan_word(struct scan *s, const char *text) {
    size_t n = strlen(text);
    if (scan_left(s) < n || memcmp(s->at, text, n))
        return false;
    s->at += n;
    return true;
}

bool scan_end(const struct scan *s) {
    return s->at == s->end;
}

bool scan_number(struct scan *s, uint64_t *value) {
    unsigned digits = 0;
    *value = 0;
    for (int digit; s->at < s->end && (digit = scan_digit(*s->at)) >= 0; s->at++, digits++)
        *value = *value << 4 | (unsigned)digit;
    return digits >= 1 && digits <= 16;
}

size_t scan_bytes(struct scan *s, void *bytes, size_t n) {
    uint8_t *to = bytes;
    size_t i = 0;
    for (; i < n && scan_left(s) >= 2; i++, s->at += 2) {
        int high = scan_digit(s->at[0]), low = scan_digit(s->at[1]);
        if (high < 0 || low < 0)
            break;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return i;
}
