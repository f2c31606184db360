// The freestanding C library functions of lib/string.h. The compiler also calls memcpy, memset,
// memmove and memcmp on its own.
//
// Every iteration of a REP instruction counts as one instruction in the emulators that we measure
// in, and on hardware REP has a start-up cost; so short blocks are moved by plain loads and stores
// that may overlap, and long ones by eight bytes per iteration.
#pragma GCC optimize("no-tree-loop-distribute-patterns") // or gcc turns our loops into calls of us
#include "lib/string.h"
#include "lib/compiler.h"

// Unaligned access to a word of memory of any type.
typedef uint64_t __attribute__((may_alias, aligned(1))) word64;
typedef uint32_t __attribute__((may_alias, aligned(1))) word32;
typedef uint16_t __attribute__((may_alias, aligned(1))) word16;

// Copies n <= 32 bytes; all loads come before all stores, so the blocks may overlap.
static inline void copy_short(char *d, const char *s, size_t n) {
    if (n >= 16) {
        uint64_t a = *(const word64 *)s, b = *(const word64 *)(s + 8);
        uint64_t y = *(const word64 *)(s + n - 16), z = *(const word64 *)(s + n - 8);
        *(word64 *)d = a;
        *(word64 *)(d + 8) = b;
        *(word64 *)(d + n - 16) = y;
        *(word64 *)(d + n - 8) = z;
    } else if (n >= 8) {
        uint64_t a = *(const word64 *)s, z = *(const word64 *)(s + n - 8);
        *(word64 *)d = a;
        *(word64 *)(d + n - 8) = z;
    } else if (n >= 4) {
        uint32_t a = *(const word32 *)s, z = *(const word32 *)(s + n - 4);
        *(word32 *)d = a;
        *(word32 *)(d + n - 4) = z;
    } else if (n >= 2) {
        uint16_t a = *(const word16 *)s, z = *(const word16 *)(s + n - 2);
        *(word16 *)d = a;
        *(word16 *)(d + n - 2) = z;
    } else if (n) {
        *d = *s;
    }
}

void *memcpy(void *dst, const void *src, size_t n) {
    if (n <= 32) {
        copy_short(dst, src, n);
        return dst;
    }
    // The last, perhaps partial, word first: the rest is then whole words.
    uint64_t tail = *(const word64 *)((const char *)src + n - 8);
    *(word64 *)((char *)dst + n - 8) = tail;
    void *d = dst;
    size_t words = (n - 1) / 8;
    __asm__ volatile("rep movsq" : "+D"(d), "+S"(src), "+c"(words)::"memory");
    return dst;
}

void *memmove(void *dst, const void *src, size_t n) {
    char *d = dst;
    const char *s = src;
    if (n <= 32) {
        copy_short(d, s, n);
    } else if (d < s || d >= s + n) {
        // Forwards. memcpy() would store its last word too early when the blocks overlap.
        size_t words = n / 8;
        __asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words)::"memory");
        for (n &= 7; n; n--)
            *d++ = *s++;
    } else {
        while (n >= 8) {
            n -= 8;
            *(word64 *)(d + n) = *(const word64 *)(s + n);
        }
        while (n) {
            n--;
            d[n] = s[n];
        }
    }
    return dst;
}

void *memset(void *dst, int c, size_t n) {
    char *d = dst;
    uint64_t pattern = (uint8_t)c * 0x0101010101010101ull;
    if (n < 8) {
        if (n >= 4) {
            *(word32 *)d = (uint32_t)pattern;
            *(word32 *)(d + n - 4) = (uint32_t)pattern;
        } else {
            for (size_t i = 0; i < n; i++)
                d[i] = (char)c;
        }
        return dst;
    }
    *(word64 *)d = pattern;
    *(word64 *)(d + n - 8) = pattern;
    if (n <= 16)
        return dst;
    if (n > 64) {
        size_t words = (n - 1) / 8;
        __asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
        return dst;
    }
    *(word64 *)(d + 8) = pattern;
    *(word64 *)(d + n - 16) = pattern;
    if (n > 32) {
        *(word64 *)(d + 16) = *(word64 *)(d + 24) = pattern;
        *(word64 *)(d + n - 24) = *(word64 *)(d + n - 32) = pattern;
    }
    return dst;
}

int memcmp(const void *a, const void *b, size_t n) {
    const uint8_t *x = a, *y = b;
    while (n >= 8 && *(const word64 *)x == *(const word64 *)y) {
        x += 8;
        y += 8;
        n -= 8;
    }
    for (; n; n--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

void *memchr(const void *s, int c, size_t n) {
    for (const uint8_t *p = s; n; n--, p++)
        if (*p == (uint8_t)c)
            return (void *)p;
    return NULL;
}

size_t strlen(const char *s) {
    const char *p = s;
    while (*p)
        p++;
    return p - s;
}

size_t strnlen(const char *s, size_t max) {
    size_t n = 0;
    while (n < max && s[n])
        n++;
    return n;
}

int strcmp(const char *a, const char *b) {
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t n) {
    for (; n; n--, a++, b++)
        if (*a != *b || !*a)
            return (uint8_t)*a - (uint8_t)*b;
    return 0;
}

char *strchr(const char *s, int c) {
    for (;; s++) {
        if (*s == (char)c)
            return (char *)s;
        if (!*s)
            return NULL;
    }
}

char *strrchr(const char *s, int c) {
    const char *last = NULL;
    do {
        if (*s == (char)c)
            last = s;
    } while (*s++);
    return (char *)last;
}

char *strstr(const char *s, const char *what) {
    size_t n = strlen(what);
    if (!n)
        return (char *)s;
    for (; (s = strchr(s, *what)); s++)
        if (!strncmp(s, what, n))
            return (char *)s;
    return NULL;
}

size_t strlcpy(char *dst, const char *src, size_t size) {
    size_t n = strlen(src);
    if (size) {
        size_t copied = n < size ? n : size - 1;
        memcpy(dst, src, copied);
        dst[copied] = '\0';
    }
    return n;
}
