/* sources: replay/chaos.c */
// Adversarial timing: slice ends that record and replay agree on, choices that stay within what is allowed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "replay/chaos.h"

#define SLICE 100000u

static void ends_depend_on_seed_and_count_alone(void **state) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t end = 0;
        for (unsigned i = 0; i < 3000; i++) {
            uint64_t next = chaos_slice_end(seed, SLICE, end);
            assert_true(next > end && next - end <= 8 * SLICE);
            // The same from anywhere in between: a replay stops at other places.
            assert_int_equal(chaos_slice_end(seed, SLICE, (end + next) / 2), next);
            assert_int_equal(chaos_slice_end(seed, SLICE, next - 1), next);
            end = next;
        }
    }
}

static void slices_are_long_and_short(void **state) {
    unsigned longest = 0, shortest = 0, n = 0;
    for (uint64_t end = 0, next; end < 2000ull * SLICE; end = next, n++) {
        next = chaos_slice_end(7, SLICE, end);
        longest += next - end > 2 * SLICE;
        shortest += next - end < SLICE / 20;
    }
    assert_true(longest >= 10);
    assert_true(shortest >= 1000);
    assert_true(n < 100000); // or nothing else would be done
}

static void slices_of_one_tick(void **state) {
    for (uint64_t count = 0; count < 1000; count++)
        assert_true(chaos_slice_end(3, 1, count) > count);
}

static void time_moves_by_an_eighth(void **state) {
    struct chaos c;
    chaos_start(&c, 5, true);
    c.slice = SLICE;
    uint64_t jumps = 0;
    unsigned n = 100000, moved = 0;
    for (unsigned i = 0; i < n; i++) {
        uint64_t jump = chaos_jump(&c);
        jumps += jump;
        moved += jump != 0;
    }
    assert_in_range(jumps, (uint64_t)n * SLICE / 9, (uint64_t)n * SLICE / 7);
    assert_in_range(moved, n / 9, n / 7);
}

static void nothing_without_a_seed(void **state) {
    struct chaos c;
    chaos_start(&c, 0, true);
    c.slice = SLICE;
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(chaos_jump(&c), 0);
        assert_int_equal(chaos_oversleep(&c), 0);
        assert_false(chaos_holds_inputs(&c));
    }
}

// Jitter is nothing but a small jump once in a while.
static void jitter(void **state) {
    struct chaos c;
    chaos_start(&c, 5, false);
    c.slice = SLICE;
    unsigned n = 100000, moved = 0;
    for (unsigned i = 0; i < n; i++) {
        uint64_t jump = chaos_jump(&c);
        assert_true(jump <= SLICE / 16);
        moved += jump != 0;
        assert_int_equal(chaos_oversleep(&c), 0);
        assert_false(chaos_holds_inputs(&c));
    }
    assert_in_range(moved, n / 80, n / 50);
}

static void only_who_can_run_is_chosen(void **state) {
    struct chaos c;
    chaos_start(&c, 9, true);
    for (uint64_t i = 0; i < 100000; i++) {
        uint64_t runnable = i % 65535 + 1;
        c.slice_end = i % 2 ? 0 : UINT64_MAX;
        unsigned cpu = chaos_choose_cpu(&c, i << 12, i % 16, runnable);
        assert_true(cpu < 16 && runnable >> cpu & 1);
    }
}

// Everybody has a turn in the end, who gives up mostly gives way, and some starve for a phase.
static void turns(void **state) {
    struct chaos c;
    unsigned had[4] = {0}, stayed = 0, n = 4000, starved = 0;
    chaos_start(&c, 11, true);
    for (unsigned phase = 0; phase < 64; phase++) {
        unsigned here[4] = {0}, now = 0;
        for (unsigned i = 0; i < n; i++) {
            c.slice_end = UINT64_MAX;
            unsigned next = chaos_choose_cpu(&c, (uint64_t)phase << 20, now, 15);
            stayed += next == now;
            here[now = next]++;
        }
        for (unsigned i = 0; i < 4; i++) {
            had[i] += here[i];
            assert_true(here[i] > 0); // a spinning processor would wait for it for ever
            starved += here[i] < n / 16;
        }
    }
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(had[i], 64 * n / 8, 64 * n / 2);
    assert_true(stayed < 64 * n / 4);
    assert_in_range(starved, 30, 100); // of 256, one in four
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_depend_on_seed_and_count_alone),
        cmocka_unit_test(slices_are_long_and_short),
        cmocka_unit_test(slices_of_one_tick),
        cmocka_unit_test(time_moves_by_an_eighth),
        cmocka_unit_test(nothing_without_a_seed),
        cmocka_unit_test(jitter),
        cmocka_unit_test(only_who_can_run_is_chosen),
        cmocka_unit_test(turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
