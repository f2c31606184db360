/* sources: vmm/machine/ps2.c vmm/machine/ps2_keyboard.c vmm/machine/ps2_mouse.c vmm/machine/typing.c vmm/machine/vga.c vmm/machine/vga_text.c vmm/machine/ports.c vmm/machine/bus.c vmm/machine/vtime.c vmm/machine/device.c vmm/machine/state.c tests/unit/machine_host.c */
// Keyboard controller, VGA registers and screen, and the board's single ports.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "machine_host.h"
#include "vmm/machine/ports.h"
#include "vmm/machine/ps2.h"
#include "vmm/machine/vga.h"

enum { DATA = 0x60, COMMAND = 0x64, FULL = 1, FROM_MOUSE = 0x20 };

static int start(void **state) {
    (void)state;
    struct machine *m = host_create();
    ps2_create(m, NULL);
    vga_create(m);
    ports_create(m, host_output);
    host_reset();
    return 0;
}

// ---- keyboard ----------------------------------------------------------------------------------
// The next byte that the controller has, -1: none comes.
static int next(void) {
    for (unsigned i = 0; i < 10 && !(in8(COMMAND) & FULL); i++)
        host_advance(50000);
    return in8(COMMAND) & FULL ? in8(DATA) : -1;
}

static void ask_mouse(uint8_t command) {
    out8(COMMAND, 0xd4);
    out8(DATA, command);
}

static void controller(void **state) {
    (void)state;
    out8(COMMAND, 0xaa);
    assert_int_equal(next(), 0x55);
    out8(COMMAND, 0xab);
    assert_int_equal(next(), 0);
    out8(COMMAND, 0x60);
    out8(DATA, 0x47);
    out8(COMMAND, 0x20);
    assert_int_equal(next(), 0x47);
    out8(COMMAND, 0xa7); // mouse off, as a driver finds out that there is one
    out8(COMMAND, 0x20);
    assert_int_equal(next(), 0x67);
    out8(COMMAND, 0xa8);
    out8(COMMAND, 0x20);
    assert_int_equal(next(), 0x47);
    out8(COMMAND, 0xd3); // loop-back of the mouse port
    out8(DATA, 0x5a);
    assert_int_equal(in8(COMMAND) & (FULL | FROM_MOUSE), FULL | FROM_MOUSE);
    assert_int_equal(next(), 0x5a);
    assert_int_equal(next(), -1);
}

static void keys(void **state) {
    (void)state;
    assert_int_equal(host_input("keyboard", "\x1c\xf0\x1c", 3), 3); // A down and up
    assert_true(host.level[1]);
    assert_int_equal(in8(DATA), 0x1e);
    assert_false(host.level[1]);
    assert_int_equal(in8(DATA), 0x1e); // the same until the next byte has arrived
    assert_int_equal(next(), 0x9e);
    assert_int_equal(next(), -1);
    assert_int_equal(host.edges[1], 2);
    out8(COMMAND, 0x60);
    out8(DATA, 0x05); // no translation
    host_input("keyboard", "\xe0\xf0\x75", 3);
    assert_int_equal(next(), 0xe0);
    assert_int_equal(next(), 0xf0);
    assert_int_equal(next(), 0x75);
    out8(COMMAND, 0xad); // disabled: keys wait
    assert_int_equal(host_input("keyboard", "\x1c", 1), 1);
    assert_int_equal(next(), -1);
    out8(COMMAND, 0xae);
    assert_int_equal(next(), 0x1c);
    uint8_t many[40] = {0};
    assert_int_equal(host_input("keyboard", many, sizeof(many)), 16); // as many as the queue takes
}

static void keyboard_commands(void **state) {
    (void)state;
    out8(DATA, 0xff);
    assert_int_equal(next(), 0xfa);
    assert_int_equal(next(), 0xaa);
    out8(DATA, 0xf2);
    assert_int_equal(next(), 0xfa);
    assert_int_equal(next(), 0xab);
    assert_int_equal(next(), 0x41); // 83h as translation shows it
    out8(DATA, 0xed);
    assert_int_equal(next(), 0xfa);
    out8(DATA, 7);
    assert_int_equal(next(), 0xfa);
    out8(DATA, 0xee);
    assert_int_equal(next(), 0xee);
    out8(DATA, 0xf0);
    assert_int_equal(next(), 0xfa);
    out8(DATA, 3);
    assert_int_equal(next(), 0xfe);
    out8(DATA, 0xf5); // stop sending keys
    assert_int_equal(next(), 0xfa);
    host_input("keyboard", "\x1c", 1);
    assert_int_equal(next(), -1);
    out8(DATA, 0xf4);
    assert_int_equal(next(), 0xfa);
    host_input("keyboard", "\x1c", 1);
    assert_int_equal(next(), 0x1e);
    out8(DATA, 0x00); // no command
    assert_int_equal(next(), 0xfe);
}

static void mouse(void **state) {
    (void)state;
    out8(COMMAND, 0x60);
    out8(DATA, 0x47);
    ask_mouse(0xff);
    assert_true(host.level[12]);
    assert_int_equal(next(), 0xfa);
    assert_int_equal(next(), 0xaa);
    assert_int_equal(next(), 0x00);
    ask_mouse(0xf3);
    assert_int_equal(next(), 0xfa);
    ask_mouse(200);
    assert_int_equal(next(), 0xfa);
    ask_mouse(0xe9);
    assert_int_equal(next(), 0xfa);
    assert_int_equal(next(), 0);
    assert_int_equal(next(), 2);
    assert_int_equal(next(), 200);
    ask_mouse(0xf2);
    assert_int_equal(next(), 0xfa);
    assert_int_equal(next(), 0);
    ask_mouse(0x11);
    assert_int_equal(next(), 0xfe);
    assert_false(host.level[1]);
}

static void reset_lines(void **state) {
    (void)state;
    out8(COMMAND, 0xfe);
    assert_int_equal(host.machine.end, MACHINE_RESET);
    host.machine.end = MACHINE_RUNNING;
    out8(COMMAND, 0xff); // pulses nothing
    assert_int_equal(host.machine.end, MACHINE_RUNNING);
    out8(COMMAND, 0xd1);
    out8(DATA, 0xdd); // A20 off, running
    assert_int_equal(in8(0x92), 0);
    assert_int_equal(host.machine.end, MACHINE_RUNNING);
    out8(0x92, 2);
    out8(COMMAND, 0xd0);
    assert_int_equal(next() & 3, 3);
    out8(0x92, 3);
    assert_int_equal(host.machine.end, MACHINE_RESET);
}

// ---- VGA ---------------------------------------------------------------------------------------
static void registers(void **state) {
    (void)state;
    out16(0x3d4, 0x120f); // cursor low by one 16-bit access
    out8(0x3d4, 0x0f);
    assert_int_equal(in8(0x3d5), 0x12);
    out8(0x3d4, 0x40);
    assert_int_equal(in8(0x3d5), 0);
    out8(0x3d4, 0);
    out8(0x3d5, 0); // protected by register 11h
    assert_int_equal(in8(0x3d5), 0x5f);
    in8(0x3da); // attribute flip-flop: index next
    out8(0x3c0, 0x10);
    out8(0x3c0, 0x0c);
    out8(0x3c0, 0x30);
    assert_int_equal(in8(0x3c1), 0x0c);
    out8(0x3c8, 9);
    for (unsigned i = 0; i < 3; i++)
        out8(0x3c9, (uint8_t)(60 + i));
    out8(0x3c7, 9);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(in8(0x3c9), 60 + i);
    assert_int_equal(in8(0x3c8), 10); // where writing goes on
    assert_int_equal(in8(0x3cc), 0x67);
    assert_int_equal(in8(0x3b5), 0xff); // the monochrome ports are elsewhere
    assert_true(host_round_trip());
    unsigned retraces = 0;
    for (unsigned i = 0, last = 0; i < 1000; i++) {
        host_advance(50000);
        unsigned now = in8(0x3da) & 8;
        retraces += now && !last;
        last = now;
    }
    assert_in_range(retraces, 3, 4); // 70 Hz for 50 ms
}

static void screen(void **state) {
    (void)state;
    struct vga_screen s;
    uint8_t *text = host.machine.ram + VGA_TEXT;
    text[(80 * 3 + 5) * 2] = 'X';
    text[(80 * 3 + 5) * 2 + 1] = 0x17;
    out16(0x3d4, 0x000e);
    out16(0x3d4, (80 * 3 + 5) << 8 | 0x0f);
    vga_render(host.machine.vga, &s);
    assert_int_equal(s.cell[3][5], 0x1700 | 'X');
    assert_true(s.cursor);
    assert_int_equal(s.cursor_row, 3);
    assert_int_equal(s.cursor_column, 5);
    out16(0x3d4, 80 << 8 | 0x0d); // scrolled by a line
    vga_render(host.machine.vga, &s);
    assert_int_equal(s.cell[2][5], 0x1700 | 'X');
    assert_int_equal(s.cursor_row, 2);
    out16(0x3d4, 0xff0c); // start address at the end wraps
    vga_render(host.machine.vga, &s);
    out16(0x3d4, 0x200a);
    vga_render(host.machine.vga, &s);
    assert_false(s.cursor);
}

static void characters(void **state) {
    (void)state;
    char text[4];
    assert_int_equal(vga_utf8('A', text), 1);
    assert_string_equal(text, "A");
    assert_int_equal(vga_utf8(0xc4, text), 3);
    assert_string_equal(text, "─");
    assert_int_equal(vga_utf8(0x81, text), 2);
    assert_string_equal(text, "ü");
    assert_int_equal(vga_utf8(0xff, text), 2);
    vga_utf8(0x01, text);
    assert_string_equal(text, "☺");
}

static void screen_of_a_silent_guest(void **state) {
    uint8_t *text = host.machine.ram + VGA_TEXT;
    for (unsigned i = 0; i < 80 * 25; i++) // a guest clears it with blanks
        text[2 * i] = ' ';
    vga_tell(&host.machine);
    assert_int_equal(host.log_count, 0); // nothing to tell
    memcpy(text + 80 * 2 * 2, "H\7\x81\7", 4);
    vga_tell(&host.machine);
    assert_int_equal(host.log_count,
                     4); // a heading, two empty rows, one without the blanks at its end
    assert_string_equal(host.log, "| Hü");
    out8(0xe9, 'x'); // it has other ways
    vga_tell(&host.machine);
    assert_int_equal(host.log_count, 4);
}

// ---- ports -------------------------------------------------------------------------------------
static void single_ports(void **state) {
    (void)state;
    out8(0x80, 0x42);
    assert_int_equal(in8(0x80), 0x42);
    for (const char *p = "debug"; *p; p++)
        out8(0xe9, (uint8_t)*p);
    out8(0x402, '!');
    assert_string_equal(host.sent, "debug!");
    assert_int_equal(in8(0xe9), 0xe9);
    assert_true(host_round_trip());
    out32(0x501, 7);
    assert_int_equal(host.machine.end, MACHINE_POWERED_OFF);
    assert_int_equal(host.machine.exit_status, 7);
}

static void a_call_of_the_bios(void **state) {
    (void)state;
    out8(0x60c, 0x10);
    assert_int_equal(host.machine.end, MACHINE_POWERED_OFF);
    assert_int_equal(host.machine.exit_status, 126);
    assert_non_null(strstr(host.log, "interrupt 10h in real mode"));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup(f, start)
    const struct CMUnitTest tests[] = {
        TEST(controller),
        TEST(keys),
        TEST(keyboard_commands),
        TEST(mouse),
        TEST(reset_lines),
        TEST(registers),
        TEST(screen),
        TEST(characters),
        TEST(screen_of_a_silent_guest),
        TEST(single_ports),
        TEST(a_call_of_the_bios),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
