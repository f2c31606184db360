// The same function for several instruction sets: included with NAME and XXH_VECTOR defined.
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "replay/checks.h"

struct page_sum NAME(const uint64_t *page);
struct page_sum NAME(const uint64_t *page) {
    _Alignas(64) uint64_t masked[MEMORY_PAGE / 8];
    for (unsigned i = 0; i < MEMORY_PAGE / 8; i++)
        masked[i] = page[i] & ~0x20ull;
    return (struct page_sum){XXH3_64bits(page, MEMORY_PAGE), XXH3_64bits(masked, MEMORY_PAGE)};
}
