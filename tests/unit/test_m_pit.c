/* sources: vmm/machine/pit.c vmm/machine/pit_channel.c vmm/machine/bus.c vmm/machine/device.c vmm/machine/state.c vmm/machine/vtime.c tests/unit/machine_host.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "machine_host.h"
#include "vmm/machine/pit.h"
#include "vmm/machine/pit_channel.h"

#define PIT_HZ 1193182

static int setup(void **state) {
    pit_create(host_create());
    host_reset();
    return 0;
}

// Until the timer's own clock shows `ticks` since power-on.
static void run_to(uint64_t ticks) {
    uint64_t v = vtime_unscale(&host.machine, ticks, PIT_HZ);
    host_advance(v - vtime_now(&host.machine));
}

static void program(unsigned counter, unsigned mode, uint16_t count) {
    out8(0x43, counter << 6 | 0x30 | mode << 1);
    out8(0x40 + counter, count);
    out8(0x40 + counter, count >> 8);
}

static uint16_t word(unsigned counter) {
    uint16_t low = in8(0x40 + counter);
    return low | in8(0x40 + counter) << 8;
}

static uint16_t latched(unsigned counter) {
    out8(0x43, counter << 6);
    return word(counter);
}

static uint8_t status(unsigned counter) {
    out8(0x43, 0xe0 | 2 << counter);
    return in8(0x40 + counter);
}

static void rate_generator_interrupts_periodically(void **state) {
    program(0, 2, 1000);
    run_to(1000);
    assert_int_equal(host.edges[0], 1); // high from the beginning: one edge to high
    run_to(1001);
    assert_int_equal(host.edges[0], 2);
    run_to(10001);
    assert_int_equal(host.edges[0], 11);
    assert_int_equal(latched(0), 1000);
    run_to(10001 + 999);
    assert_int_equal(latched(0), 1);
    assert_int_equal(status(0) & 0x80, 0); // low for the last tick
}

static void periods_do_not_drift(void **state) {
    program(0, 2, 11932); // Linux's 100 Hz
    host_advance(10000000000ull);
    assert_in_range(host.edges[0], 1000, 1001);
}

static void square_wave(void **state) {
    program(0, 3, 10);
    run_to(1 + 4);
    assert_int_equal(status(0) & 0x80, 0x80);
    assert_int_equal(latched(0), 2);
    run_to(1 + 5);
    assert_int_equal(status(0) & 0x80, 0);
    assert_int_equal(latched(0), 10);
    run_to(1 + 10);
    assert_int_equal(status(0) & 0x80, 0x80);
}

static void terminal_count(void **state) {
    program(0, 0, 500);
    assert_false(host.level[0]);
    run_to(500);
    assert_false(host.level[0]);
    run_to(501);
    assert_true(host.level[0]);
    assert_int_equal(host.edges[0], 1);
    run_to(501 + 10);
    assert_int_equal(latched(0), 0x10000 - 10); // goes on below zero
    out8(0x40, 1);                              // the first byte of a new count stops it
    assert_false(host.level[0]);
    out8(0x40, 0);
    host_advance(1000000);
    assert_true(host.level[0]);
}

static void software_strobe(void **state) {
    program(2, 4, 20);
    out8(0x61, 1);
    run_to(19);
    assert_int_equal(in8(0x61) & 0x20, 0x20);
    run_to(20); // low for one tick
    assert_int_equal(in8(0x61) & 0x20, 0);
    run_to(21);
    assert_int_equal(in8(0x61) & 0x20, 0x20);
}

// How Linux measures the TSC: counter 2 in mode 0 with its gate, polling port 61h.
static void counter_2_and_its_gate(void **state) {
    out8(0x61, 0);
    program(2, 0, 100);
    host_advance(1000000);
    assert_int_equal(in8(0x61) & 0x20, 0);
    assert_int_equal(latched(2), 100); // stands while the gate is low
    uint64_t start = vtime_scale(&host.machine, vtime_now(&host.machine), PIT_HZ);
    out8(0x61, 1);
    run_to(start + 99);
    assert_int_equal(in8(0x61) & 0x20, 0);
    run_to(start + 101);
    assert_int_equal(in8(0x61) & 0x20, 0x20);
}

static void one_shot_is_triggered_by_the_gate(void **state) {
    program(2, 1, 50);
    assert_int_equal(in8(0x61) & 0x20, 0x20);
    out8(0x61, 1);
    uint64_t start = vtime_scale(&host.machine, vtime_now(&host.machine), PIT_HZ) + 1;
    run_to(start + 49);
    assert_int_equal(in8(0x61) & 0x20, 0);
    out8(0x61, 0);
    out8(0x61, 1); // again
    run_to(start + 50 + 40);
    assert_int_equal(in8(0x61) & 0x20, 0);
    run_to(start + 50 + 52);
    assert_int_equal(in8(0x61) & 0x20, 0x20);
}

static void a_new_count_waits_for_the_period(void **state) {
    program(0, 2, 100);
    run_to(1 + 30);
    out8(0x40, 200);
    out8(0x40, 0);
    assert_int_equal(latched(0), 70);
    assert_int_equal(status(0) & 0x40, 0x40); // null count
    run_to(1 + 100);
    assert_int_equal(latched(0), 200);
    assert_int_equal(status(0) & 0x40, 0);
}

// Also when the counter has gone round before: the period that runs is not cut short.
static void a_new_count_waits_for_a_later_period(void **state) {
    program(0, 2, 100);
    run_to(1 + 730);
    unsigned edges = host.edges[0];
    out8(0x40, 200);
    out8(0x40, 0);
    assert_int_equal(latched(0), 70);
    run_to(1 + 799);
    assert_int_equal(host.edges[0], edges);
    run_to(1 + 800);
    assert_int_equal(host.edges[0], edges + 1);
    assert_int_equal(latched(0), 200);
    run_to(1 + 1000);
    assert_int_equal(host.edges[0], edges + 2);
}

// A BIOS leaves 18.2 Hz: nothing is called for it before the guest listens.
static void firmware_leaves_it_running(void **state) {
    host_advance(1000000000);
    assert_int_equal(host.edges[0], 0);
    assert_int_equal(status(0) & 0x40, 0); // not a null count
    uint16_t before = latched(0);
    host_advance(1000000);
    assert_int_not_equal(latched(0), before);
    pit_interrupt_wanted(&host.machine);
    host_advance(10000000000ull);
    assert_in_range(host.edges[0], 182, 183);
}

static void latches_keep_until_read(void **state) {
    program(0, 2, 5000);
    run_to(1 + 1000);
    out8(0x43, 0x00);
    run_to(1 + 2000);
    out8(0x43, 0x00); // ignored
    assert_int_equal(word(0), 4000);
    assert_int_equal(word(0), 3000); // unlatched: live
}

static void read_back_of_status_and_count(void **state) {
    program(0, 2, 0x1234);
    run_to(1 + 4);
    out8(0x43, 0xc2); // both of counter 0
    assert_int_equal(in8(0x40), 0x80 | 0x30 | 2 << 1);
    assert_int_equal(word(0), 0x1230);
}

static void decimal_counts(void **state) {
    out8(0x43, 0x35); // counter 0, both bytes, mode 2, BCD
    out8(0x40, 0x00);
    out8(0x40, 0x10); // 1000
    run_to(1 + 1);
    assert_int_equal(latched(0), 0x0999);
    out8(0x43, 0x35);
    out8(0x40, 0);
    out8(0x40, 0); // 10000
    host_advance(1000000000);
    assert_in_range(host.edges[0], 119, 121);
}

static void one_byte_access(void **state) {
    out8(0x43, 0x14); // counter 0, low byte, mode 2
    out8(0x40, 100);
    run_to(1 + 10);
    assert_int_equal(in8(0x40), 90);
    out8(0x43, 0x24); // high byte
    out8(0x40, 2);
    assert_int_equal(in8(0x40), 2);
}

static void refresh_toggles(void **state) {
    uint8_t first = in8(0x61) & 0x10;
    run_to(18);
    assert_int_not_equal(in8(0x61) & 0x10, first);
    run_to(36);
    assert_int_equal(in8(0x61) & 0x10, first);
}

static void count_of_one_does_not_hang(void **state) {
    program(0, 2, 1);
    program(0, 3, 1);
    host_advance(1000);
    assert_in_range(latched(0), 0, 2);
}

static void state_is_complete(void **state) {
    program(0, 2, 1000);
    program(2, 0, 700);
    out8(0x61, 1);
    host_advance(123456);
    out8(0x43, 0xc2);
    in8(0x40);
    assert_true(host_round_trip());
    unsigned edges = host.edges[0];
    host_advance(1000000000ull);
    assert_in_range(host.edges[0] - edges, 1192, 1195);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rate_generator_interrupts_periodically, setup),
        cmocka_unit_test_setup(periods_do_not_drift, setup),
        cmocka_unit_test_setup(square_wave, setup),
        cmocka_unit_test_setup(terminal_count, setup),
        cmocka_unit_test_setup(software_strobe, setup),
        cmocka_unit_test_setup(counter_2_and_its_gate, setup),
        cmocka_unit_test_setup(one_shot_is_triggered_by_the_gate, setup),
        cmocka_unit_test_setup(a_new_count_waits_for_the_period, setup),
        cmocka_unit_test_setup(a_new_count_waits_for_a_later_period, setup),
        cmocka_unit_test_setup(firmware_leaves_it_running, setup),
        cmocka_unit_test_setup(latches_keep_until_read, setup),
        cmocka_unit_test_setup(read_back_of_status_and_count, setup),
        cmocka_unit_test_setup(decimal_counts, setup),
        cmocka_unit_test_setup(one_byte_access, setup),
        cmocka_unit_test_setup(refresh_toggles, setup),
        cmocka_unit_test_setup(count_of_one_does_not_hang, setup),
        cmocka_unit_test_setup(state_is_complete, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
