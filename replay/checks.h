// Sums by which a replay is compared with its recording. They do more than tell that something differs: as
// the parity symbols of a Reed-Solomon code they locate a single difference, without the other state at hand.
//
// A state is a list of fields in groups (registers of a kind, a device). Each field has a hash h of 31 bits. Three
// sums are kept: of h, of h times the group's number, and of h times the field's number, modulo a prime.
// Where only one field differs, by d, the sums differ by d, d * group and d * field: dividing gives the numbers.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- registers and devices --------------------------------------------------------------------------
struct state_sum {
    uint32_t sum, group, field; // modulo 2^31 - 1
};
struct state_check {
    struct state_sum registers, devices;
};

// A sum that is being made: not reduced yet, so that a field costs little.
struct state_adder {
    uint64_t sum, group, field;
};
// Of a field's bytes.
uint32_t state_hash(const void *data, size_t size);
// Adds a field with that hash, or takes it out again. Groups and fields are numbered from 0, fields through all groups; at
// most 65,536.
static inline void state_sum_add(struct state_adder *s, uint32_t group, uint32_t field,
                                 uint64_t hash) {
    s->sum += hash;
    s->group += hash * (group + 1);
    s->field += hash * (field + 1);
}
static inline void state_sum_take(struct state_adder *s, uint32_t group, uint32_t field,
                                  uint64_t hash) {
    state_sum_add(s, group, field, -hash);
}
struct state_sum state_sum_of(const struct state_adder *s);
bool state_sum_equal(const struct state_sum *a, const struct state_sum *b);
bool state_check_equal(const struct state_check *a, const struct state_check *b);
// Where two sums of states with this many groups and fields differ. *group and *field get the number of the
// only one that differs, or -1: several.
void state_sum_locate(const struct state_sum *a, const struct state_sum *b, uint32_t groups,
                      uint32_t fields, int *group, int *field);

// ---- memory -----------------------------------------------------------------------------------------
#define MEMORY_PAGE   4096u
#define MEMORY_REGION (2u << 20)

// Of a page. `masked`: XXH3 modulo 2^61 - 1 of the page with bit 5 of each of its 512 numbers cleared, where page
// tables have the accessed bit. `full`: that, and the sum of these bits. Each is 0 for zeroes.
struct page_sum {
    uint64_t full, masked;
};
// Of a page or a region: sums of its pages' sums, and of `full` times the page's number from 1, modulo 2^61 - 1.
struct memory_sum {
    uint64_t full, masked, place;
};

// Replaces a page's part of its unit. `page`: within the unit, from 0.
void memory_sum_replace(struct memory_sum *s, uint32_t page, const struct page_sum *old,
                        const struct page_sum *new);
bool memory_sum_equal(const struct memory_sum *a, const struct memory_sum *b);
// The only page of a unit of `pages` pages that differs, or -1: several.
int memory_sum_locate(const struct memory_sum *a, const struct memory_sum *b, uint32_t pages);
