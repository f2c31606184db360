#include "replay/checks.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

#define P31 0x7fffffffull
#define P61 0x1fffffffffffffffull

typedef unsigned __int128 u128;

// ---- registers and devices --------------------------------------------------------------------------
static uint32_t sub31(uint32_t a, uint32_t b) {
    return (uint32_t)((a + P31 - b) % P31);
}

uint32_t state_hash(const void *data, size_t size) {
    return (uint32_t)(XXH3_64bits(data, size) >> 33);
}

struct state_sum state_sum_of(const struct state_adder *s) {
    return (struct state_sum){s->sum % P31, s->group % P31, s->field % P31};
}

bool state_sum_equal(const struct state_sum *a, const struct state_sum *b) {
    return a->sum == b->sum && a->group == b->group && a->field == b->field;
}

bool state_check_equal(const struct state_check *a, const struct state_check *b) {
    return state_sum_equal(&a->registers, &b->registers) &&
           state_sum_equal(&a->devices, &b->devices);
}

// The number below `count` which times `difference` gives `product`, -1: none.
static int quotient31(uint32_t product, uint32_t difference, uint32_t count) {
    for (uint32_t i = 0; difference && i < count; i++)
        if (difference * (i + 1ull) % P31 == product)
            return (int)i;
    return -1;
}

void state_sum_locate(const struct state_sum *a, const struct state_sum *b, uint32_t groups,
                      uint32_t fields, int *group, int *field) {
    uint32_t difference = sub31(a->sum, b->sum);
    *group = quotient31(sub31(a->group, b->group), difference, groups);
    *field = quotient31(sub31(a->field, b->field), difference, fields);
}

// ---- memory -----------------------------------------------------------------------------------------
static uint64_t add61(uint64_t a, uint64_t b) {
    uint64_t s = a + b;
    return s >= P61 ? s - P61 : s;
}
static uint64_t sub61(uint64_t a, uint64_t b) {
    return a >= b ? a - b : a + P61 - b;
}
// 2^61 is 1: the upper bits of the product count like the lower ones.
static uint64_t mul61(uint64_t a, uint64_t b) {
    u128 product = (u128)a * b;
    return add61((uint64_t)product & P61, (uint64_t)(product >> 61));
}

void memory_sum_replace(struct memory_sum *s, uint32_t page, const struct page_sum *old,
                        const struct page_sum *new) {
    uint64_t change = sub61(new->full, old->full);
    s->full = add61(s->full, change);
    s->masked = add61(s->masked, sub61(new->masked, old->masked));
    s->place = add61(s->place, mul61(change, page + 1ull));
}

bool memory_sum_equal(const struct memory_sum *a, const struct memory_sum *b) {
    return a->full == b->full && a->masked == b->masked && a->place == b->place;
}

int memory_sum_locate(const struct memory_sum *a, const struct memory_sum *b, uint32_t pages) {
    uint64_t difference = sub61(a->full % P61, b->full % P61);
    uint64_t place = sub61(a->place % P61, b->place % P61);
    for (uint32_t i = 0; difference && i < pages; i++)
        if (mul61(difference, i + 1ull) == place)
            return (int)i;
    return -1;
}
