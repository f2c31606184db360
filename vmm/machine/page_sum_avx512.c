// Where memory is summed up for the first time this is most of what a recording costs. So here the page is read once,
// and XXH3 of it (xxHash's specification, "XXH3 Algorithm (for inputs longer than 240 bytes)") is computed while its
// accessed bits are cleared, with an accumulator of eight numbers in one register.
#pragma GCC target("avx512f,avx512dq")
#include <immintrin.h>
#include "vmm/machine/page_sum.h"
#define XXH_VECTOR 2 // of this only the secret, the constants and the end are used
#define XXH_INLINE_ALL
#include <xxhash.h>

#define STRIPE  64
#define STRIPES ((XXH_SECRET_DEFAULT_SIZE - STRIPE) / 8) // of a block, after which comes a scramble
#define BLOCK   (STRIPES * STRIPE)
_Static_assert(MEMORY_PAGE % BLOCK == 0, "the last stripe is the last of a block");

struct page_sum page_sum_avx512(const uint64_t *page);

static inline __m512i add_stripe(__m512i sum, __m512i data, const uint8_t *secret) {
    __m512i key = _mm512_xor_si512(data, _mm512_loadu_si512(secret));
    __m512i product = _mm512_mul_epu32(key, _mm512_shuffle_epi32(key, _MM_PERM_DDBB));
    __m512i swapped = _mm512_shuffle_epi32(data, _MM_PERM_BADC);
    return _mm512_add_epi64(_mm512_add_epi64(sum, swapped), product);
}

static inline __m512i scramble(__m512i sum) {
    const uint8_t *secret = XXH3_kSecret + XXH_SECRET_DEFAULT_SIZE - STRIPE;
    sum = _mm512_xor_si512(sum, _mm512_srli_epi64(sum, 47));
    sum = _mm512_xor_si512(sum, _mm512_loadu_si512(secret));
    return _mm512_mullo_epi64(sum, _mm512_set1_epi64(XXH_PRIME32_1));
}

// The stripes of a block but the last, and of that the data.
static inline __m512i add_block(__m512i *sum, const uint8_t *data, uint8_t *bits) {
    const __m512i bit = _mm512_set1_epi64(ACCESSED_BIT);
    __m512i masked = bit;
#pragma GCC unroll 16
    for (unsigned i = 0; i < STRIPES; i++) {
        if (i)
            *sum = add_stripe(*sum, masked, XXH3_kSecret + 8 * (i - 1));
        __m512i v = _mm512_loadu_si512(data + STRIPE * i);
        bits[i] = _cvtmask8_u32(_mm512_test_epi64_mask(v, bit));
        masked = _mm512_andnot_si512(bit, v);
    }
    return masked;
}

struct page_sum page_sum_avx512(const uint64_t *page) {
    _Alignas(64) uint64_t numbers[8] = XXH3_INIT_ACC;
    uint8_t bits[MEMORY_PAGE / STRIPE];
    __m512i sum = _mm512_load_si512(numbers), last;
    for (unsigned at = 0;; at += BLOCK) {
        last = add_block(&sum, (const uint8_t *)page + at, bits + at / STRIPE);
        if (at + BLOCK == MEMORY_PAGE)
            break;
        sum = scramble(add_stripe(sum, last, XXH3_kSecret + 8 * (STRIPES - 1)));
    }
    sum = add_stripe(sum, last, XXH3_kSecret + XXH_SECRET_DEFAULT_SIZE - STRIPE - 7);
    _mm512_store_si512(numbers, sum);
    return (struct page_sum){
        .full = XXH3_64bits(bits, sizeof(bits)),
        .masked = XXH3_mergeAccs(numbers, XXH3_kSecret + 11, MEMORY_PAGE * XXH_PRIME64_1)};
}
