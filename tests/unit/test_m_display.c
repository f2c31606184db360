/* sources: vmm/machine/display.c vmm/machine/typing.c vmm/machine/ps2.c vmm/machine/ps2_keyboard.c vmm/machine/ps2_mouse.c vmm/machine/vga.c vmm/machine/vga_text.c vmm/machine/bus.c vmm/machine/vtime.c vmm/machine/device.c vmm/machine/state.c tests/unit/machine_host.c kernel/drivers/keymap.c kernel/drivers/vt.c kernel/drivers/vt_screen.c kernel/drivers/vt_sgr.c kernel/drivers/vt_charset.c kernel/lib/printf.c */
// The screen on a terminal and keys from one, against VMkernel's own terminal and keyboard: what is drawn must look alike
// there, and what is typed must come out there as it went in.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "drivers/keymap.h"
#include "drivers/vt.h"
#include "machine_host.h"
#include "vmm/machine/display.h"
#include "vmm/machine/output.h"
#include "vmm/machine/ps2.h"
#include "vmm/machine/typing.h"
#include "vmm/machine/vga.h"

static struct machine *m;
static struct typing typing;

static int start(void **state) {
    m = host_create();
    m->count = 1;
    memset(&typing, 0, sizeof(typing));
    ps2_create(m, NULL);
    vga_create(m);
    host_reset();
    return 0;
}

// ---- keys --------------------------------------------------------------------------------------
// What a guest with a US layout makes of the codes, which it reads at port 60h as those of set 1.
static const char *text_of(const uint8_t *codes, size_t n) {
    static char text[4096];
    static struct keymap map;
    size_t used = 0;
    memset(&map, 0, sizeof(map));
    for (size_t sent = 0; sent < n || (in8(0x64) & 1);) {
        sent += host_input("keyboard", codes + sent, n - sent);
        host_advance(1000000);
        while (in8(0x64) & 1) {
            struct key_event e = keymap_feed(&map, in8(0x60), false);
            if (e.action == KEY_TEXT && used + e.length < sizeof(text)) {
                memcpy(text + used, e.text, e.length);
                used += e.length;
            }
            host_advance(1000000);
        }
    }
    text[used] = 0;
    assert_false(map.shift[0] || map.control[0] || map.alt[0]); // all keys are up again
    return text;
}

static const char *typed(const char *text) {
    static uint8_t codes[4096];
    return text_of(
        codes, typing_codes(&typing, (const uint8_t *)text, strlen(text), codes, sizeof(codes)));
}

static void all_characters(void **state) {
    char all[128];
    size_t n = 0;
    for (char c = ' '; c < 0x7f; c++)
        all[n++] = c;
    all[n] = 0;
    assert_string_equal(typed(all), all);
    assert_string_equal(typed("\x01\x03\x04\x1a\t\r\x7f\x1c"), "\x01\x03\x04\x1a\t\r\x7f\x1c");
    assert_string_equal(typed("a\nb"), "a\rb");
    assert_string_equal(typed("caf\xc3\xa9"), "caf"); // there is no such key
}

static void sequences(void **state) {
    static const char keys[] = "\033[A\033[B\033[C\033[D\033[1~\033[2~\033[3~\033[4~\033[5~\033[6~"
                               "\033[[A\033[[E\033[17~\033[21~\033[23~\033[24~";
    assert_string_equal(typed(keys), keys);
    assert_string_equal(typed("\033OA\033OP\033[H\033[F"), "\033[A\033[[A\033[1~\033[4~");
    assert_string_equal(typed("\033[11~\033[15~"), "\033[[A\033[[E");
    assert_string_equal(typed("\033x\033X"), "\033x\033X"); // Alt
    assert_string_equal(typed("\033[99~\033[zq"), "q");     // no such keys
    for (unsigned i = 0; i < 20; i++)
        assert_string_equal(typed("\033[1;2;3;4;5;6;7;8A"), typed("\033[1;2;3;4;5;6;7;8A"));
}

// A sequence may come in pieces; Escape alone is a key when nothing follows.
static void pieces(void **state) {
    uint8_t codes[64];
    assert_string_equal(typed("a\033"), "a");
    assert_string_equal(typed("["), "");
    assert_string_equal(typed("Bc"), "\033[Bc");
    assert_int_equal(typing_codes(&typing, NULL, 0, codes, sizeof(codes)), 0);
    assert_string_equal(typed("\033"), "");
    size_t n = typing_codes(&typing, NULL, 0, codes, sizeof(codes));
    assert_string_equal(text_of(codes, n), "\033");
    assert_string_equal(typed("\033["), "");
    n = typing_codes(&typing, NULL, 0, codes, sizeof(codes));
    assert_string_equal(text_of(codes, n), "\033[");
}

// Where there is no room for a key it is lost whole: none stays down.
static void no_room(void **state) {
    uint8_t codes[40];
    for (size_t size = 0; size <= sizeof(codes); size++) {
        size_t n = typing_codes(&typing, (const uint8_t *)"A\003AA", 4, codes, size);
        assert_true(n <= size);
        assert_int_equal(n % 6, 0);
    }
}

// ---- the screen --------------------------------------------------------------------------------
static uint16_t cells[VGA_ROWS * VGA_COLUMNS];
static struct vt vt;

static void put(unsigned y, unsigned x, uint16_t cell) {
    memcpy(m->ram + VGA_TEXT + (y * VGA_COLUMNS + x) * 2, &cell, 2);
}

// Draws, and gives what was drawn to the terminal; returns how many bytes.
static size_t drawn(void) {
    host.sent_size = 0;
    display_refresh(m, true);
    vt_write(&vt, host.sent, host.sent_size);
    return host.sent_size;
}

static void looks_alike(void) {
    const uint16_t *wanted = (const uint16_t *)(m->ram + VGA_TEXT);
    for (unsigned i = 0; i < VGA_ROWS * VGA_COLUMNS; i++)
        if (cells[i] != wanted[i])
            fail_msg("row %u column %u: %04x, not %04x", i / VGA_COLUMNS, i % VGA_COLUMNS, cells[i],
                     wanted[i]);
}

static void shows_the_screen(void **state) {
    vt_init(&vt, VGA_ROWS, VGA_COLUMNS, cells, NULL, 0);
    for (unsigned i = 0; i < VGA_ROWS * VGA_COLUMNS; i++)
        put(i / VGA_COLUMNS, i % VGA_COLUMNS, 0x0720);
    display_create(m, host_output);
    drawn();
    looks_alike();
    assert_int_equal(drawn(), 0); // nothing has changed
    for (unsigned c = 0x20; c < 0x7f; c++)
        put(3 + c / 64, c % 64, (uint16_t)(0x0700 | c));
    for (unsigned a = 0; a < 128; a++) // the top bit is blinking or a bright background: not shown
        put(8 + a / 64, a % 64, (uint16_t)(a << 8 | 'x'));
    put(24, 79, 0x2e41);
    drawn();
    looks_alike();
    put(12, 40, 0x07b0 | 0x01); // from the upper half of code page 437
    assert_in_range(drawn(), 1, 60);
    looks_alike();
    display_close(m);
}

static void shows_the_cursor(void **state) {
    vt_init(&vt, VGA_ROWS, VGA_COLUMNS, cells, NULL, 0);
    display_create(m, host_output);
    drawn();
    out16(0x3d4, 0x000e | (7 * 80 + 9) / 256 << 8);
    out16(0x3d4, 0x000f | (7 * 80 + 9) % 256 << 8);
    drawn();
    assert_int_equal(vt.cursor.y, 7);
    assert_int_equal(vt.cursor.x, 9);
    assert_true(vt.cursor_visible);
    out16(0x3d4, 0x200a); // off
    drawn();
    assert_false(vt.cursor_visible);
    host.sent_size = 0;
    display_close(m);
    vt_write(&vt, host.sent, host.sent_size);
    assert_true(vt.cursor_visible);
    assert_int_equal(vt.cursor.x, 0);
    assert_int_equal(vt.cursor.y, VGA_ROWS - 1);
}

// While the guest is busy the screen is looked at as often as eyes need it.
static void some_frames_a_second(void **state) {
    unsigned frames = 0;
    display_create(m, host_output);
    for (unsigned ms = 0; ms < 1000; ms++) {
        host_advance(1000000);
        put(0, 0, (uint16_t)(0x0700 | ms / 10 % 10) + '0');
        host.sent_size = 0;
        display_refresh(m, false);
        frames += host.sent_size != 0;
    }
    assert_in_range(frames, 20, 30);
    display_close(m);
    display_refresh(m, true); // a VM without: nothing happens
    display_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_characters, start),
        cmocka_unit_test_setup(sequences, start),
        cmocka_unit_test_setup(pieces, start),
        cmocka_unit_test_setup(no_room, start),
        cmocka_unit_test_setup(shows_the_screen, start),
        cmocka_unit_test_setup(shows_the_cursor, start),
        cmocka_unit_test_setup(some_frames_a_second, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
