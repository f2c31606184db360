/* sources: kernel/proc/pid.c */
// Numbers come back late, and only when nobody uses them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <cmocka.h>
#include "proc/pid.h"

static void test_ascending(void **state) {
    assert_int_equal(pid_alloc(), 1);
    assert_int_equal(pid_alloc(), 2);
    pid_drop(2);
    assert_int_equal(pid_alloc(), 3); // 2 is free, but was used a moment ago
    assert_int_equal(pid_last(), 3);
}

static void test_group_keeps_number(void **state) {
    int leader = pid_alloc();
    pid_hold(leader); // a process group
    pid_drop(leader); // the process has gone
    for (int i = 0; i < 2 * PID_MAX; i++) {
        int pid = pid_alloc();
        assert_int_not_equal(pid, leader);
        assert_true(pid > 0 && pid < PID_MAX);
        pid_drop(pid);
    }
    pid_drop(leader);
}

static void test_exhaustion(void **state) {
    int n = 0;
    while (pid_alloc() > 0)
        n++;
    assert_true(n > PID_MAX - 400);
    assert_int_equal(pid_alloc(), -EAGAIN);
    pid_drop(777);
    assert_int_equal(pid_alloc(), 777);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ascending),
        cmocka_unit_test(test_group_keeps_number),
        cmocka_unit_test(test_exhaustion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
