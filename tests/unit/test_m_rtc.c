/* sources: vmm/machine/rtc.c vmm/machine/rtc_time.c vmm/machine/acpi_pm.c vmm/machine/bus.c vmm/machine/device.c vmm/machine/state.c vmm/machine/vtime.c tests/unit/machine_host.c */
// The real-time clock, and ACPI's timer and power register.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "machine_host.h"
#include "vmm/machine/acpi_pm.h"
#include "vmm/machine/rtc.h"
#include "vmm/machine/rtc_time.h"

#define SECOND 1000000000ull
enum { IRQ_RTC = 8 };

static int setup(void **state) {
    struct machine *m = host_create();
    rtc_create(m);
    acpi_pm_create(m);
    host_reset();
    return 0;
}

static uint8_t get(uint8_t index) {
    out8(0x70, index);
    return in8(0x71);
}

static void put(uint8_t index, uint8_t value) {
    out8(0x70, index);
    out8(0x71, value);
}

// The harness's wall clock at power-on is 1000000000: 2001-09-09 01:46:40, a Sunday.
static void time_at_power_on(void **state) {
    assert_int_equal(get(0), 0x40);
    assert_int_equal(get(2), 0x46);
    assert_int_equal(get(4), 0x01);
    assert_int_equal(get(6), 1);
    assert_int_equal(get(7), 0x09);
    assert_int_equal(get(8), 0x09);
    assert_int_equal(get(9), 0x01);
    assert_int_equal(get(0x32), 0x20);
    assert_int_equal(get(0x0d), 0x80);
    host_advance(20 * SECOND);
    assert_int_equal(get(0), 0x00);
    assert_int_equal(get(2), 0x47);
}

static void formats(void **state) {
    put(0x0b, 0x06); // binary, 24 hours
    assert_int_equal(get(0), 40);
    assert_int_equal(get(9), 1);
    put(0x0b, 0x80 | 0x00); // stop; BCD, 12 hours
    put(4, 0x92);           // 12 PM
    put(2, 0x59);
    put(0, 0x59);
    put(0x0b, 0x00);
    host_advance(SECOND + SECOND / 10);
    assert_int_equal(get(4), 0x81); // 1 PM
    assert_int_equal(get(2), 0);
}

static void calendar_agrees_with_libc(void **state) {
    uint8_t cmos[128];
    for (int64_t t = 0; t < 9000000000; t += 86400 * 11 + 12345) {
        time_t libc = t;
        struct tm tm;
        gmtime_r(&libc, &tm);
        rtc_time_to_registers(t, cmos, RTC_B_BINARY | RTC_B_24_HOURS);
        assert_int_equal(cmos[RTC_SECONDS], tm.tm_sec);
        assert_int_equal(cmos[RTC_HOURS], tm.tm_hour);
        assert_int_equal(cmos[RTC_WEEKDAY], tm.tm_wday + 1);
        assert_int_equal(cmos[RTC_DAY], tm.tm_mday);
        assert_int_equal(cmos[RTC_MONTH], tm.tm_mon + 1);
        assert_int_equal(cmos[RTC_CENTURY] * 100 + cmos[RTC_YEAR], tm.tm_year + 1900);
        for (uint8_t b = 0; b < 8; b += 2) {
            rtc_time_to_registers(t, cmos, b);
            assert_int_equal(rtc_time_from_registers(cmos, b), t);
        }
    }
}

static void update_in_progress_precedes_the_second(void **state) {
    host_advance(SECOND / 2);
    assert_int_equal(get(0x0a) & 0x80, 0);
    host_advance(SECOND / 2 - SECOND / 1000);
    assert_int_equal(get(0x0a) & 0x80, 0x80);
    assert_int_equal(get(0), 0x40);
    host_advance(SECOND / 1000);
    assert_int_equal(get(0x0a) & 0x80, 0);
    assert_int_equal(get(0), 0x41);
}

static void periodic_interrupts(void **state) {
    put(0x0a, 0x26); // 1024 Hz
    put(0x0b, 0x42);
    unsigned count = 0;
    for (unsigned i = 0; i < 10000; i++) {
        host_advance(SECOND / 10000);
        if (host.level[IRQ_RTC]) {
            assert_int_equal(get(0x0c) & 0xc0, 0xc0);
            assert_false(host.level[IRQ_RTC]);
            count++;
        }
    }
    assert_in_range(count, 1023, 1025);
    put(0x0b, 0x02);
    get(0x0c);
    host_advance(SECOND / 100);
    assert_false(host.level[IRQ_RTC]);
    assert_int_equal(get(0x0c), 0x40); // the flag without interrupt
}

static void update_interrupts(void **state) {
    put(0x0b, 0x12);
    host_advance(SECOND / 2);
    assert_false(host.level[IRQ_RTC]);
    host_advance(SECOND / 2 + SECOND / 1000);
    assert_true(host.level[IRQ_RTC]);
    assert_int_equal(get(0x0c) & 0x90, 0x90);
    assert_int_equal(get(0x0c) & 0x90, 0);
}

static void alarm(void **state) {
    put(1, 0x00);
    put(3, 0x50);
    put(5, 0xc0); // any hour
    get(0x0c);
    put(0x0b, 0x22);
    host_advance(199 * SECOND);
    assert_false(host.level[IRQ_RTC]);
    host_advance(2 * SECOND);
    assert_true(host.level[IRQ_RTC]);
    assert_int_equal(get(0x0c) & 0xa0, 0xa0);
    host_advance(3600 * SECOND);
    assert_true(host.level[IRQ_RTC]);
    get(0x0c);
    put(5, 0x77); // never
    host_advance(100000 * SECOND);
    assert_false(host.level[IRQ_RTC]);
}

static void set_bit_freezes(void **state) {
    put(0x0b, 0x82);
    host_advance(10 * SECOND);
    assert_int_equal(get(0), 0x40);
    assert_int_equal(get(0x0a) & 0x80, 0);
    put(0x0b, 0x02);
    host_advance(SECOND + SECOND / 10);
    assert_int_equal(get(0), 0x41);
}

static void memory_sizes(void **state) {
    assert_int_equal(get(0x15) | get(0x16) << 8, 640);
    assert_int_equal(get(0x17) | get(0x18) << 8, 3072);
    rtc_set_cmos(&host.machine, 0x12, 0xf0);
    unsigned sum = 0;
    for (unsigned i = 0x10; i <= 0x2d; i++)
        sum += get(i);
    assert_int_equal(get(0x2e) << 8 | get(0x2f), sum);
}

static void rtc_state_is_complete(void **state) {
    put(0x0b, 0x72);
    host_advance(5 * SECOND + 77);
    assert_true(host_round_trip());
    assert_int_equal(get(0), 0x45);
}

// ---- ACPI --------------------------------------------------------------------------------------
static void pm_timer(void **state) {
    assert_int_equal(in32(ACPI_PM_TIMER), 0);
    host_advance(SECOND);
    assert_int_equal(in32(ACPI_PM_TIMER), 3579545);
    host_advance(600 * SECOND); // bit 31 changes at 2^31 / 3579545 = 599.9 s
    assert_int_equal(in16(ACPI_PM_BASE) & 1, 1);
    out16(ACPI_PM_BASE, 1);
    assert_int_equal(in16(ACPI_PM_BASE) & 1, 0);
    out16(ACPI_PM_BASE + 2, 1);
    host_advance(599 * SECOND);
    assert_true(host.level[9]);
    out16(ACPI_PM_BASE, 1);
    assert_false(host.level[9]);
}

static void power_off(void **state) {
    assert_int_equal(in16(ACPI_PM_CONTROL) & 1, 1); // always in ACPI mode
    out16(ACPI_PM_CONTROL, 1 << 13 | 1 << 10);      // some other sleep type
    assert_int_equal(host.machine.end, MACHINE_RUNNING);
    out16(ACPI_PM_CONTROL, 1 << 13 | ACPI_SLP_TYP_S5 << 10);
    assert_int_equal(host.machine.end, MACHINE_POWERED_OFF);
}

static void reset_register(void **state) {
    reset_control_write(&host.machine, 2);
    assert_int_equal(host.machine.end, MACHINE_RUNNING);
    assert_int_equal(reset_control_read(&host.machine), 2);
    reset_control_write(&host.machine, 6);
    assert_int_equal(host.machine.end, MACHINE_RESET);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(time_at_power_on, setup),
        cmocka_unit_test_setup(formats, setup),
        cmocka_unit_test(calendar_agrees_with_libc),
        cmocka_unit_test_setup(update_in_progress_precedes_the_second, setup),
        cmocka_unit_test_setup(periodic_interrupts, setup),
        cmocka_unit_test_setup(update_interrupts, setup),
        cmocka_unit_test_setup(alarm, setup),
        cmocka_unit_test_setup(set_bit_freezes, setup),
        cmocka_unit_test_setup(memory_sizes, setup),
        cmocka_unit_test_setup(rtc_state_is_complete, setup),
        cmocka_unit_test_setup(pm_timer, setup),
        cmocka_unit_test_setup(power_off, setup),
        cmocka_unit_test_setup(reset_register, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
