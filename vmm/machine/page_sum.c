#include "vmm/machine/page_sum.h"
#define NAME page_sum_plain
#include "vmm/machine/page_sum_body.h"

#define PRIME 0x1fffffffffffffffull // 2^61 - 1

typedef struct page_sum (*sum_fn)(const uint64_t *page);
struct page_sum page_sum_avx2(const uint64_t *page);
struct page_sum page_sum_avx512(const uint64_t *page);

static sum_fn best(void) {
    return __builtin_cpu_supports("avx512f") ? page_sum_avx512
           : __builtin_cpu_supports("avx2")  ? page_sum_avx2
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
    struct page_sum s = fn(page);
    if (s.full == zero.full)
        return (struct page_sum){0, 0};
    s.masked = s.masked == zero.masked ? 0 : s.masked % PRIME;
    s.full %= PRIME;
    return s;
}
