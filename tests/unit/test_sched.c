/* sources: kernel/sched/runqueue.c kernel/sched/balance.c kernel/sched/timer.c kernel/lib/tree.c tests/unit/sched_host.c */
// Run queues, load balance and timers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "sched_host.h"

#define NORMAL 1024

static void least_run_time_first(void **state) {
    host_sched_init(1);
    int late = host_world(NORMAL, 3000), first = host_world(NORMAL, 1000);
    int middle = host_world(NORMAL, 2000);
    host_enqueue(late, 0);
    host_enqueue(first, 0);
    host_enqueue(middle, 0);
    assert_int_equal(host_queued(0), 3);
    assert_int_equal(host_pick(0), first);
    assert_int_equal(host_pick(0), middle);
    assert_int_equal(host_pick(0), late);
    assert_int_equal(host_pick(0), -1);
}

// Equal ones take turns.
static void equals_take_turns(void **state) {
    host_sched_init(1);
    int w[3];
    for (int i = 0; i < 3; i++) {
        w[i] = host_world(NORMAL, 0);
        host_enqueue(w[i], 0);
    }
    for (int i = 0; i < 3000; i++)
        host_run(host_pick(0), 0, 4000000);
    uint64_t sum = host_run_time(w[0]) + host_run_time(w[1]) + host_run_time(w[2]);
    for (int i = 0; i < 3; i++)
        assert_in_range(host_run_time(w[i]) * 3000 / sum, 990, 1010);
}

// Time in proportion to weight, however long the slices are.
static void share_by_weight(void **state) {
    static const uint32_t weights[] = {512, 1024, 2048, 4096};
    int w[4];
    uint64_t sum = 0;
    host_sched_init(1);
    srand(1);
    for (int i = 0; i < 4; i++) {
        w[i] = host_world(weights[i], 0);
        host_enqueue(w[i], 0);
    }
    for (int i = 0; i < 20000; i++)
        host_run(host_pick(0), 0, 100000 + rand() % 4000000);
    for (int i = 0; i < 4; i++)
        sum += host_run_time(w[i]);
    for (int i = 0; i < 4; i++) {
        double share = (double)host_run_time(w[i]) / (double)sum;
        double wanted = weights[i] / 7680.0;
        assert_true(share > wanted * 0.98 && share < wanted * 1.02);
    }
}

// Who slept long comes soon, but has not saved up the time.
static void sleeper_gets_little_credit(void **state) {
    host_sched_init(1);
    int busy = host_world(NORMAL, 0), sleeper = host_world(NORMAL, 0);
    host_enqueue(busy, 0);
    for (int i = 0; i < 1000; i++)
        host_run(host_pick(0), 0, 4000000);
    host_enqueue(sleeper, 0);
    assert_true(host_min_vruntime(0) - host_vruntime(sleeper) <= 3000000);
    int turns = 0;
    while (host_pick(0) == sleeper) {
        host_run(sleeper, 0, 4000000);
        turns++;
    }
    assert_in_range(turns, 1, 3);
}

static void wakes_where_nothing_runs(void **state) {
    host_sched_init(4);
    int busy = host_world(NORMAL, 0), w = host_world(NORMAL, 0);
    assert_int_equal(host_choose(w, 2), 2); // caches are warm there
    host_set_running(busy, 2);
    unsigned cpu = host_choose(w, 2);
    assert_int_not_equal(cpu, 2);
    host_set_affinity(w, 1u << 2);
    assert_int_equal(host_choose(w, 2), 2);
    host_set_affinity(w, 1u << 3);
    assert_int_equal(host_choose(w, 2), 3);
}

static void idle_processor_takes_over(void **state) {
    host_sched_init(2);
    int running = host_world(NORMAL, 0), a = host_world(NORMAL, 7000000);
    int b = host_world(NORMAL, 9000000);
    host_set_running(running, 0);
    host_enqueue(a, 0);
    host_enqueue(b, 0);
    assert_true(host_pull(1));
    assert_int_equal(host_queued(0), 1);
    assert_int_equal(host_queued(1), 1);
    assert_int_equal(host_pick(1), b); // the one that would have waited longest
    assert_int_equal(host_cpu_of(b), 1);
    host_set_running(b, 1);
    assert_false(host_pull(1)); // one runs on each, one waits: moving it would gain nothing
}

static void bound_worlds_stay(void **state) {
    host_sched_init(2);
    int running = host_world(NORMAL, 0), bound = host_world(NORMAL, 0);
    host_set_affinity(bound, 1u << 0);
    host_set_running(running, 0);
    host_enqueue(bound, 0);
    assert_false(host_pull(1));
    assert_int_equal(host_queued(0), 1);
}

static void timers_fire_in_order(void **state) {
    host_sched_init(2);
    host_fired_count = 0;
    host_timer_arm(1, 300, 0);
    host_timer_arm(2, 100, 0);
    host_timer_arm(3, 200, 0);
    host_timer_arm(4, 900, 0);
    assert_int_equal(host_timers_run(50), 100);
    assert_int_equal(host_fired_count, 0);
    assert_int_equal(host_timers_run(300), 900); // what is due at that moment fires
    assert_int_equal(host_fired_count, 3);
    assert_int_equal(host_fired[0], 2);
    assert_int_equal(host_fired[1], 3);
    assert_int_equal(host_fired[2], 1);
    assert_true(host_timer_cancel(4));
    assert_false(host_timer_cancel(4));
    assert_int_equal(host_timers_run(1000), UINT64_MAX);
}

static void timers_are_armed_again(void **state) {
    host_sched_init(1);
    host_fired_count = 0;
    host_timer_arm(5, 100, 50);
    host_timer_arm(5, 200, 50); // moves it
    assert_int_equal(host_armed, 200);
    assert_int_equal(host_timers_run(100), 200);
    assert_int_equal(host_timers_run(310), 350); // 200, 250, 300: from within its own function
    assert_int_equal(host_fired_count, 3);
    assert_true(host_timer_cancel(5));
    assert_int_equal(host_timers_run(UINT64_MAX - 1), UINT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_run_time_first),     cmocka_unit_test(equals_take_turns),
        cmocka_unit_test(share_by_weight),          cmocka_unit_test(sleeper_gets_little_credit),
        cmocka_unit_test(wakes_where_nothing_runs), cmocka_unit_test(idle_processor_takes_over),
        cmocka_unit_test(bound_worlds_stay),        cmocka_unit_test(timers_fire_in_order),
        cmocka_unit_test(timers_are_armed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
