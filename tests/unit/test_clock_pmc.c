/* sources: vmm/clock_pmc.c */
// Reaching an exact count with a counter whose overflow comes late by a random "skid".
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "vmm/clock_pmc.h"

// A guest: `branches` done, an exit of its own at one point; a counter of 48 bits.
struct mock {
    uint64_t branches, exit_at, runs, steps;
    unsigned skid; // at most
};
#define WIDTH 48

// One passage; true: it ended by the overflow, or by the step.
static bool passage(struct mock *m, const struct pmc_plan *plan, uint64_t *now) {
    uint64_t mask = (1ull << WIDTH) - 1, n;
    bool ended = true;
    if (plan->step) {
        m->steps++;
        n = rand() % 5 == 0; // most instructions are no branches
    } else {
        m->runs++;
        n = ((0 - plan->start) & mask) + (m->skid ? rand() % m->skid : 0);
    }
    if (m->branches + n > m->exit_at) {
        n = m->exit_at - m->branches;
        ended = false;
    }
    m->branches += n;
    *now = (plan->start + n) & mask;
    return ended;
}

enum result { PMC_REACHED, PMC_EXIT };

// As the run loop does: passages until the count is there.
static enum result pmc_run_to(struct mock *m, uint64_t *count, uint64_t target) {
    while (*count < target) {
        uint64_t now;
        struct pmc_plan plan = pmc_plan(target - *count, WIDTH);
        bool ended = passage(m, &plan, &now);
        *count += pmc_passed(&plan, now, WIDTH);
        if (!ended || *count > target)
            return PMC_EXIT;
    }
    return PMC_REACHED;
}

static void exact_with_any_skid(void **state) {
    for (unsigned skid = 0; skid <= PMC_SKID; skid += 32)
        for (unsigned i = 0; i < 200; i++) {
            struct mock m = {.exit_at = UINT64_MAX, .skid = skid};
            uint64_t count = 0, target = rand() % 100000;
            assert_int_equal(pmc_run_to(&m, &count, target), PMC_REACHED);
            assert_int_equal(count, target);
            assert_int_equal(m.branches, target);
            assert_true(m.steps <= 20 * PMC_SKID);
        }
}

static void an_exit_on_the_way_keeps_the_count(void **state) {
    for (unsigned i = 0; i < 500; i++) {
        struct mock m = {.exit_at = rand() % 50000, .skid = 100};
        uint64_t count = 0;
        assert_int_equal(pmc_run_to(&m, &count, 60000), PMC_EXIT);
        assert_int_equal(count, m.branches);
        assert_int_equal(count, m.exit_at);
        m.exit_at = UINT64_MAX;
        assert_int_equal(pmc_run_to(&m, &count, 60000), PMC_REACHED);
        assert_int_equal(m.branches, 60000);
    }
}

static void longer_than_the_counter(void **state) {
    struct mock m = {.exit_at = UINT64_MAX, .skid = 50};
    uint64_t count = 0, target = 1ull << 50;
    assert_int_equal(pmc_run_to(&m, &count, target), PMC_REACHED);
    assert_int_equal(m.branches, target);
    assert_true(m.runs >= 8);
}

static void too_much_skid_is_noticed(void **state) {
    struct mock m = {.exit_at = UINT64_MAX};
    m.skid = 100 * PMC_SKID;
    uint64_t count = 0;
    unsigned lost = 0;
    for (unsigned i = 0; i < 50; i++) {
        uint64_t target = count + 10000;
        if (pmc_run_to(&m, &count, target) == PMC_EXIT && count > target)
            lost++;
    }
    assert_true(lost > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_with_any_skid),
        cmocka_unit_test(an_exit_on_the_way_keeps_the_count),
        cmocka_unit_test(longer_than_the_counter),
        cmocka_unit_test(too_much_skid_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
