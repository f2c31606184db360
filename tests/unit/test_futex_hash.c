/* sources: kernel/proc/futex_hash.c */
// Keys that lie close together in memory, as locks do, spread over the buckets.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "proc/futex.h"

#define BUCKETS 256

static void check_spread(uint64_t step, uint64_t object_step) {
    unsigned hits[BUCKETS] = {0};
    for (unsigned i = 0; i < 16 * BUCKETS; i++) {
        struct futex_key k = {(void *)(0xffff800000100000 + i * object_step),
                              0x7f0000001000 + i * step};
        unsigned b = futex_hash(&k, BUCKETS);
        assert_true(b < BUCKETS);
        hits[b]++;
    }
    for (unsigned b = 0; b < BUCKETS; b++)
        assert_true(hits[b] < 64); // 16 on average
}

static void test_spread(void **state) {
    check_spread(4, 0);    // an array of words
    check_spread(40, 0);   // of mutexes
    check_spread(4096, 0); // one a page
    check_spread(0, 256);  // the same address in many processes
}

static void test_equal_keys(void **state) {
    struct futex_key a = {(void *)0x1000, 8}, b = a, c = {(void *)0x1000, 12};
    assert_true(futex_key_equal(&a, &b));
    assert_false(futex_key_equal(&a, &c));
    assert_int_equal(futex_hash(&a, BUCKETS), futex_hash(&b, BUCKETS));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_spread),
                                       cmocka_unit_test(test_equal_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
