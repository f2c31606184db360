/* sources: replay/checks.c vmm/machine/page_sum.c vmm/machine/page_sum_avx2.c vmm/machine/page_sum_avx512.c */
// Sums that tell where a difference is: of states, and of memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "replay/checks.h"
#include "vmm/machine/page_sum.h"

#define GROUPS 20
#define FIELDS 300 // 15 in each group
#define PAGES  512

struct page_sum page_sum_plain(const uint64_t *page);
struct page_sum page_sum_avx2(const uint64_t *page);
struct page_sum page_sum_avx512(const uint64_t *page);

static uint64_t random_number(void) {
    static uint64_t x = 88172645463325252ull;
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
}

static struct state_sum sum_of(const uint64_t fields[FIELDS]) {
    struct state_adder s = {0, 0, 0};
    for (uint32_t i = 0; i < FIELDS; i++)
        state_sum_add(&s, i / (FIELDS / GROUPS), i, state_hash(&fields[i], sizeof(fields[i])));
    return state_sum_of(&s);
}

static void one_field_is_named(void **state) {
    uint64_t fields[FIELDS];
    int group, field;
    for (unsigned i = 0; i < FIELDS; i++)
        fields[i] = random_number();
    struct state_sum before = sum_of(fields);
    for (int i = 0; i < FIELDS; i++) {
        fields[i] ^= 1ull << i % 64;
        struct state_sum after = sum_of(fields);
        assert_false(state_sum_equal(&before, &after));
        state_sum_locate(&before, &after, GROUPS, FIELDS, &group, &field);
        assert_int_equal(field, i);
        assert_int_equal(group, i / (FIELDS / GROUPS));
        fields[i] ^= 1ull << i % 64;
    }
}

// Several fields of one group: the group is named, the field is not.
static void several_fields(void **state) {
    uint64_t fields[FIELDS];
    int group, field, wrong = 0;
    for (unsigned i = 0; i < FIELDS; i++)
        fields[i] = random_number();
    struct state_sum before = sum_of(fields);
    for (int i = 0; i + 2 < FIELDS; i++) {
        uint64_t kept[3];
        memcpy(kept, fields + i, sizeof(kept));
        fields[i] = random_number();
        fields[i + 2] = random_number();
        struct state_sum after = sum_of(fields);
        state_sum_locate(&before, &after, GROUPS, FIELDS, &group, &field);
        wrong += field >= 0; // once in 2^31 / FIELDS tries
        if (i / 15 == (i + 2) / 15)
            assert_int_equal(group, i / 15);
        memcpy(fields + i, kept, sizeof(kept));
    }
    assert_int_equal(wrong, 0);
}

static void one_page_is_named(void **state) {
    struct memory_sum before = {0, 0, 0}, after;
    const struct page_sum none = {0, 0};
    struct page_sum pages[PAGES];
    for (uint32_t i = 0; i < PAGES; i++) {
        pages[i] = (struct page_sum){random_number() >> 4, random_number() >> 4};
        memory_sum_replace(&before, i, &none, &pages[i]);
    }
    for (uint32_t i = 0; i < PAGES; i++) {
        struct page_sum other = {random_number() >> 4, pages[i].masked};
        after = before;
        memory_sum_replace(&after, i, &pages[i], &other);
        assert_false(memory_sum_equal(&before, &after));
        assert_true(before.masked == after.masked);
        assert_int_equal(memory_sum_locate(&before, &after, PAGES), i);
        memory_sum_replace(&after, i, &other, &pages[i]);
        assert_true(memory_sum_equal(&before, &after)); // a sum has no memory of its own
        struct page_sum next = {random_number() >> 4, 0};
        memory_sum_replace(&after, i, &pages[i], &other);
        memory_sum_replace(&after, (i + 1) % PAGES, &pages[(i + 1) % PAGES], &next);
        assert_int_equal(memory_sum_locate(&before, &after, PAGES), -1);
    }
}

static bool equal(struct page_sum a, struct page_sum b) {
    return a.full == b.full && a.masked == b.masked;
}

// A log that was written on one processor is compared on another.
static void every_processor_sums_alike(void **state) {
    uint64_t *page = aligned_alloc(MEMORY_PAGE, MEMORY_PAGE);
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < MEMORY_PAGE / 8; i++)
            page[i] = round % 5 ? random_number() : random_number() & 0x20;
        struct page_sum plain = page_sum_plain(page);
        if (__builtin_cpu_supports("avx2"))
            assert_true(equal(plain, page_sum_avx2(page)));
        if (__builtin_cpu_supports("avx512f"))
            assert_true(equal(plain, page_sum_avx512(page)));
    }
    free(page);
}

static void accessed_bits_are_masked(void **state) {
    uint64_t *page = aligned_alloc(MEMORY_PAGE, MEMORY_PAGE);
    memset(page, 0, MEMORY_PAGE);
    assert_true(equal(page_sum(page), (struct page_sum){0, 0}));
    for (unsigned i = 0; i < MEMORY_PAGE / 8; i += 3) {
        page[i] = 0x20;
        struct page_sum s = page_sum(page);
        assert_true(s.full && !s.masked);
        page[i] = 0x60;
        assert_true(page_sum(page).masked);
        page[i] = 0;
    }
    free(page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_field_is_named),       cmocka_unit_test(several_fields),
        cmocka_unit_test(one_page_is_named),        cmocka_unit_test(every_processor_sums_alike),
        cmocka_unit_test(accessed_bits_are_masked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
