#pragma GCC target("avx2")
#include <immintrin.h>
#include "vmm/machine/page_sum.h"

// Four bits, of as many numbers.
static inline int four(const uint64_t *page, uint64_t *masked) {
    __m256i v = _mm256_loadu_si256((const __m256i *)page);
    _mm256_store_si256((__m256i *)masked, _mm256_andnot_si256(_mm256_set1_epi64x(ACCESSED_BIT), v));
    return _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_slli_epi64(v, 63 - ACCESSED_SHIFT)));
}

static inline void split(const uint64_t *page, uint64_t *masked, uint8_t *bits) {
    for (unsigned i = 0; i < MEMORY_PAGE / 64; i++)
        bits[i] = (uint8_t)(four(page + 8 * i, masked + 8 * i) |
                            four(page + 8 * i + 4, masked + 8 * i + 4) << 4);
}

#define XXH_VECTOR 2 // XXH_AVX2
#define NAME       page_sum_avx2
#include "vmm/machine/page_sum_body.h"
