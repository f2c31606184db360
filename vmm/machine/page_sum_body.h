// The same function for several instruction sets: included with NAME, XXH_VECTOR and split() defined.
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "replay/checks.h"

struct page_sum NAME(const uint64_t *page);
struct page_sum NAME(const uint64_t *page) {
    _Alignas(64) uint64_t masked[MEMORY_PAGE / 8];
    uint8_t bits[MEMORY_PAGE / 64];
    split(page, masked, bits);
    return (struct page_sum){.full = XXH3_64bits(bits, sizeof(bits)),
                             .masked = XXH3_64bits(masked, MEMORY_PAGE)};
}
