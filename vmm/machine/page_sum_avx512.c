#pragma GCC target("avx512f,avx512dq")
#include <immintrin.h>
#include "vmm/machine/page_sum.h"

static inline void split(const uint64_t *page, uint64_t *masked, uint8_t *bits) {
    const __m512i bit = _mm512_set1_epi64(ACCESSED_BIT);
    for (unsigned i = 0; i < MEMORY_PAGE / 64; i++) {
        __m512i v = _mm512_loadu_si512(page + 8 * i);
        bits[i] = _cvtmask8_u32(_mm512_test_epi64_mask(v, bit));
        _mm512_store_si512(masked + 8 * i, _mm512_andnot_si512(bit, v));
    }
}

#define XXH_VECTOR 3 // XXH_AVX512
#define NAME       page_sum_avx512
#include "vmm/machine/page_sum_body.h"
