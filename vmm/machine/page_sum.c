#include "vmm/machine/page_sum.h"

static inline void split(const uint64_t *page, uint64_t *masked, uint8_t *bits) {
    for (unsigned i = 0; i < MEMORY_PAGE / 64; i++, page += 8, masked += 8) {
        bits[i] = 0;
        for (unsigned j = 0; j < 8; j++) {
            bits[i] |= (uint8_t)((page[j] >> ACCESSED_SHIFT & 1) << j);
            masked[j] = page[j] & ~ACCESSED_BIT;
        }
    }
}

#define NAME page_sum_plain
#include "vmm/machine/page_sum_body.h"

#define PRIME 0x1fffffffffffffffull // 2^61 - 1

typedef struct page_sum (*sum_fn)(const uint64_t *page);
struct page_sum page_sum_avx2(const uint64_t *page);
struct page_sum page_sum_avx512(const uint64_t *page);

static sum_fn best(void) {
    return __builtin_cpu_supports("avx512dq") ? page_sum_avx512
           : __builtin_cpu_supports("avx2")   ? page_sum_avx2
                                              : page_sum_plain;
}

struct page_sum page_sum(const void *page) {
    static const uint64_t zeroes[MEMORY_PAGE / 8];
    static struct page_sum zero;
    static sum_fn fn;
    if (!fn) {
        fn = best();
        zero = fn(zeroes);
    }
    struct page_sum s = fn(page); // `full` is that of the bits so far
    s.masked = s.masked == zero.masked ? 0 : s.masked % PRIME;
    s.full = s.full == zero.full ? 0 : s.full % PRIME;
    s.full += s.masked;
    s.full -= s.full >= PRIME ? PRIME : 0;
    return s;
}
