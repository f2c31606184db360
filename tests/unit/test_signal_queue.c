/* sources: kernel/proc/signal_queue.c */
// Pending signals: order, dropping, queueing of real-time signals, limits.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "proc/signal_queue.h"

static signal_set pending;
static struct list_node queue;
static unsigned count;

static int setup(void **state) {
    pending = 0;
    count = 0;
    list_init(&queue);
    return 0;
}

static int teardown(void **state) {
    signal_discard(&pending, &queue, ~0ull, &count);
    return count != 0;
}

static int put(int sig, int value) {
    siginfo_t info = {0};
    info.si_code = SI_QUEUE;
    info.si_value.sival_int = value;
    return signal_enqueue(&pending, &queue, sig, &info, &count, 8);
}

static siginfo_t take(int sig) {
    siginfo_t info;
    signal_take(&pending, &queue, sig, &info, &count);
    return info;
}

static void test_order(void **state) {
    assert_int_equal(signal_next(0), 0);
    assert_int_equal(signal_next(SIGNAL_BIT(SIGTERM) | SIGNAL_BIT(SIGHUP)), SIGHUP);
    assert_int_equal(signal_next(SIGNAL_BIT(SIGHUP) | SIGNAL_BIT(SIGSEGV)), SIGSEGV);
    assert_int_equal(signal_next(SIGNAL_BIT(64)), 64);
}

static void test_standard_signal_once(void **state) {
    assert_int_equal(put(SIGUSR1, 1), 0);
    assert_int_equal(put(SIGUSR1, 2), 0);
    assert_int_equal(count, 1);
    assert_int_equal(take(SIGUSR1).si_value.sival_int, 1);
    assert_int_equal(pending, 0);
}

static void test_realtime_in_order(void **state) {
    for (int i = 0; i < 3; i++)
        assert_int_equal(put(40, i), 0);
    assert_int_equal(put(41, 9), 0);
    for (int i = 0; i < 3; i++) {
        assert_true(pending & SIGNAL_BIT(40));
        assert_int_equal(take(40).si_value.sival_int, i);
    }
    assert_int_equal(pending, SIGNAL_BIT(41));
}

static void test_limit(void **state) {
    for (int i = 0; i < 8; i++)
        assert_int_equal(put(40, i), 0);
    assert_int_equal(put(40, 8), -EAGAIN);
    // A standard signal is never lost, only its siginfo.
    assert_int_equal(put(SIGUSR2, 5), 0);
    assert_true(pending & SIGNAL_BIT(SIGUSR2));
    assert_int_equal(take(SIGUSR2).si_code, SI_USER);
    assert_int_equal(count, 8);
}

static void test_discard(void **state) {
    put(SIGTSTP, 0);
    put(SIGTTIN, 0);
    put(SIGHUP, 0);
    signal_discard(&pending, &queue, SIGNALS_STOP, &count);
    assert_int_equal(pending, SIGNAL_BIT(SIGHUP));
    assert_int_equal(count, 1);
}

static void test_kernel_info(void **state) {
    signal_enqueue(&pending, &queue, SIGALRM, NULL, &count, 8);
    siginfo_t info = take(SIGALRM);
    assert_int_equal(info.si_signo, SIGALRM);
    assert_int_equal(info.si_code, SI_KERNEL);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_order),
        CASE(test_standard_signal_once),
        CASE(test_realtime_in_order),
        CASE(test_limit),
        CASE(test_discard),
        CASE(test_kernel_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
