/* sources: vmm/machine/pic.c vmm/machine/bus.c vmm/machine/device.c vmm/machine/state.c vmm/machine/vtime.c tests/unit/machine_host.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "machine_host.h"
#include "vmm/machine/lapic.h"
#include "vmm/machine/pic.h"

static bool intr; // the pair's output, as the local APIC sees it

void lapic_set_lint0(struct lapic *l, bool level) {
    intr = level;
}

uint32_t irq_level_lines(void) {
    return 1u << 9 | 1u << 10 | 1u << 11;
}

static struct pic *pic;

// As an operating system sets it up: vectors 20h and 28h, everything unmasked.
static int setup(void **state) {
    struct machine *m = host_create();
    pic_create(m);
    host_reset();
    pic = m->pic;
    intr = false;
    const uint8_t init[][2] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}, {0xa0, 0x11},
                               {0xa1, 0x28}, {0xa1, 2},    {0xa1, 1}, {0x21, 0}, {0xa1, 0}};
    for (unsigned i = 0; i < sizeof(init) / 2; i++)
        out8(init[i][0], init[i][1]);
    return 0;
}

static void pulse(unsigned irq) {
    pic_set(pic, irq, true);
    pic_set(pic, irq, false);
}

static void edges_are_latched(void **state) {
    pulse(4);
    assert_true(intr);
    assert_int_equal(in8(0x20), 0x10);
    assert_int_equal(pic_acknowledge(pic), 0x24);
    assert_false(intr);
    pulse(4); // while in service: requested, not delivered
    assert_false(intr);
    out8(0x20, 0x20);
    assert_true(intr);
}

static void lower_numbers_go_first(void **state) {
    pulse(5);
    pulse(1);
    assert_int_equal(pic_acknowledge(pic), 0x21);
    assert_false(intr);
    out8(0x20, 0x0b);
    assert_int_equal(in8(0x20), 1 << 1); // in service
    out8(0x20, 0x20);
    assert_int_equal(pic_acknowledge(pic), 0x25);
}

static void second_chip_comes_by_input_2(void **state) {
    pulse(12);
    assert_true(intr);
    assert_int_equal(in8(0x20), 1 << 2);
    assert_int_equal(pic_acknowledge(pic), 0x2c);
    pulse(3); // lower than input 2
    assert_false(intr);
    pulse(0); // higher
    assert_int_equal(pic_acknowledge(pic), 0x20);
    out8(0x20, 0x20);
    out8(0xa0, 0x20);
    assert_false(intr);
    out8(0x20, 0x62); // specific end of input 2
    assert_int_equal(pic_acknowledge(pic), 0x23);
}

static void levels_follow_the_line(void **state) {
    pic_set(pic, 10, true);
    assert_int_equal(pic_acknowledge(pic), 0x2a);
    out8(0xa0, 0x20);
    out8(0x20, 0x20);
    assert_true(intr); // still asserted
    pic_set(pic, 10, false);
    assert_false(intr);
    assert_int_equal(pic_acknowledge(pic), 0x27); // gone: spurious
    out8(0x20, 0x0b);
    assert_int_equal(in8(0x20), 0);
}

static void level_control_registers(void **state) {
    out8(0x4d1, 1 << 4); // input 12 by level
    assert_int_equal(in8(0x4d1), 1 << 4);
    assert_int_equal(in8(0x4d0), 0);
    pic_set(pic, 12, true);
    out8(0xa1, 0xff);
    assert_false(intr);
    out8(0xa1, 0);
    assert_true(intr);
}

static void masks(void **state) {
    out8(0x21, 1 << 6);
    pulse(6);
    assert_false(intr);
    assert_int_equal(in8(0x21), 1 << 6);
    out8(0x21, 0);
    assert_true(intr);
}

static void the_timer_hears_of_its_listener(void **state) {
    host.timer_wanted = 0;
    out8(0x21, 0x01);
    out8(0xa1, 0);
    assert_int_equal(host.timer_wanted, 0);
    out8(0x21, 0xfe);
    assert_int_equal(host.timer_wanted, 1);
    out8(0x20, 0x11); // initialization unmasks everything
    out8(0x21, 0x20);
    out8(0x21, 4);
    assert_int_equal(host.timer_wanted, 1);
    out8(0x21, 1);
    assert_int_equal(host.timer_wanted, 2);
}

static void special_mask_mode_lets_lower_ones_in(void **state) {
    pulse(2 + 1);
    assert_int_equal(pic_acknowledge(pic), 0x23);
    pulse(6);
    assert_false(intr);
    out8(0x21, 1 << 3);
    out8(0x20, 0x68); // special mask on
    assert_true(intr);
    out8(0x20, 0x48); // and off
    assert_false(intr);
}

static void rotation(void **state) {
    pulse(3);
    assert_int_equal(pic_acknowledge(pic), 0x23);
    out8(0x20, 0xa0); // end and rotate: 3 is the lowest now
    pulse(3);
    pulse(4);
    assert_int_equal(pic_acknowledge(pic), 0x24);
    out8(0x20, 0x20);
    out8(0x20, 0xc0 | 3); // set priority: 3 lowest again
    assert_int_equal(pic_acknowledge(pic), 0x23);
}

static void automatic_end(void **state) {
    const uint8_t init[][2] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 3}, {0x21, 0}};
    for (unsigned i = 0; i < sizeof(init) / 2; i++)
        out8(init[i][0], init[i][1]);
    pulse(7);
    assert_int_equal(pic_acknowledge(pic), 0x27);
    out8(0x20, 0x0b);
    assert_int_equal(in8(0x20), 0);
    out8(0x20, 0x80); // rotate at automatic ends
    pulse(1);
    pulse(2 + 4);
    assert_int_equal(pic_acknowledge(pic), 0x21);
    pulse(1);
    assert_int_equal(pic_acknowledge(pic), 0x26); // 1 became the lowest
}

static void poll(void **state) {
    pulse(5);
    out8(0x20, 0x0c);
    assert_int_equal(in8(0x20), 0x85);
    assert_false(intr);
    out8(0x20, 0x0c);
    assert_int_equal(in8(0x20), 0);
}

static void initialization_without_icw4_or_icw3(void **state) {
    out8(0x20, 0x12); // single, no ICW4
    out8(0x21, 0x40);
    out8(0x21, 0xfe); // already the mask
    assert_int_equal(in8(0x21), 0xfe);
    pulse(0);
    assert_int_equal(pic_acknowledge(pic), 0x40);
}

static void state_is_complete(void **state) {
    pulse(1);
    pulse(12);
    pic_set(pic, 10, true);
    assert_int_equal(pic_acknowledge(pic), 0x21);
    out8(0x20, 0x0b);
    assert_true(host_round_trip());
    assert_int_equal(in8(0x20), 1 << 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(edges_are_latched, setup),
        cmocka_unit_test_setup(lower_numbers_go_first, setup),
        cmocka_unit_test_setup(second_chip_comes_by_input_2, setup),
        cmocka_unit_test_setup(levels_follow_the_line, setup),
        cmocka_unit_test_setup(level_control_registers, setup),
        cmocka_unit_test_setup(masks, setup),
        cmocka_unit_test_setup(the_timer_hears_of_its_listener, setup),
        cmocka_unit_test_setup(special_mask_mode_lets_lower_ones_in, setup),
        cmocka_unit_test_setup(rotation, setup),
        cmocka_unit_test_setup(automatic_end, setup),
        cmocka_unit_test_setup(poll, setup),
        cmocka_unit_test_setup(initialization_without_icw4_or_icw3, setup),
        cmocka_unit_test_setup(state_is_complete, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
