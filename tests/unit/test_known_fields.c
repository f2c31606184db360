/* sources: vmm/machine/known_fields.c replay/checks.c */
// The sum that is kept from check to check is the one of all fields made anew.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "vmm/machine/known_fields.h"

#define FIELDS  60
#define LONGEST 300
#define ROUNDS  3000

struct field {
    uint32_t group;
    size_t size;
    uint8_t bytes[LONGEST];
};

static uint32_t random_below(uint32_t n) {
    static uint64_t x = 88172645463325252ull;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (uint32_t)(x >> 20) % n;
}

static struct state_sum made_anew(const struct field *f, uint32_t count) {
    struct state_adder s = {0, 0, 0};
    for (uint32_t i = 0; i < count; i++)
        state_sum_add(&s, f[i].group, i, state_hash(f[i].bytes, f[i].size));
    return state_sum_of(&s);
}

static struct state_sum kept(struct known_fields *k, const struct field *f, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        known_field(k, f[i].group, i, f[i].bytes, f[i].size);
    return known_fields_sum(k, count);
}

static void fill(struct field *f) {
    static const size_t sizes[] = {1, 2, 3, 4, 8, 12, 16, 17, 256, LONGEST};
    f->size = sizes[random_below(sizeof(sizes) / sizeof(sizes[0]))];
    for (size_t i = 0; i < f->size; i++)
        f->bytes[i] = (uint8_t)random_below(256);
}

static void flip_a_bit(struct field *f) {
    f->bytes[random_below((uint32_t)f->size)] ^= (uint8_t)(1u << random_below(8));
}

// A field appears or vanishes, as a buffer does that is sometimes in use: those behind it get other numbers.
static uint32_t other_count(struct field *f, uint32_t count) {
    uint32_t at = random_below(count);
    if (count == FIELDS || (count > 2 && random_below(2))) {
        memmove(f + at, f + at + 1, (count - at - 1) * sizeof(*f));
        return count - 1;
    }
    memmove(f + at + 1, f + at, (count - at) * sizeof(*f));
    fill(&f[at]);
    return count + 1;
}

static void every_change_shows(void **state) {
    static struct field f[FIELDS];
    struct known_fields *k = known_fields_create();
    uint32_t count = FIELDS / 2;
    assert_non_null(k);
    for (uint32_t i = 0; i < FIELDS; i++) {
        f[i].group = i / 7;
        fill(&f[i]);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        switch (random_below(8)) {
        case 0: break;
        case 1: fill(&f[random_below(count)]); break;
        case 2: f[random_below(count)].group ^= 1; break;
        case 3: count = other_count(f, count); break;
        default: flip_a_bit(&f[random_below(count)]);
        }
        struct state_sum anew = made_anew(f, count), known = kept(k, f, count);
        assert_true(state_sum_equal(&anew, &known));
    }
    known_fields_free(k);
}

// Who knows that fields are as they were may pass over them.
static void what_is_left_out_counts(void **state) {
    static struct field f[FIELDS];
    struct known_fields *k = known_fields_create();
    for (uint32_t i = 0; i < FIELDS; i++)
        fill(&f[i]);
    kept(k, f, FIELDS);
    flip_a_bit(&f[5]);
    known_field(k, f[5].group, 5, f[5].bytes, f[5].size);
    struct state_sum anew = made_anew(f, FIELDS), known = known_fields_sum(k, FIELDS);
    assert_true(state_sum_equal(&anew, &known));
    known_fields_free(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_shows),
        cmocka_unit_test(what_is_left_out_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
