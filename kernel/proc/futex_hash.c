#include "proc/futex.h"

// Multiplicative hashing; futexes are 4-byte aligned and objects at least 64-byte aligned, so the low
// bits say nothing. The upper bits of the product are the well-mixed ones.
unsigned futex_hash(const struct futex_key *k, unsigned buckets) {
    uint64_t h = ((uint64_t)k->object >> 6) * 0x9e3779b97f4a7c15ull;
    h = (h ^ (k->offset >> 2)) * 0x9e3779b97f4a7c15ull;
    return (unsigned)(h >> 40) & (buckets - 1);
}
