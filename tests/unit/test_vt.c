/* sources: kernel/drivers/vt.c kernel/drivers/vt_screen.c kernel/drivers/vt_sgr.c kernel/drivers/vt_charset.c kernel/lib/printf.c */
// The terminal's state machine against expected screens.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "drivers/vt.h"

enum { ROWS = 6, COLUMNS = 20, HISTORY = 8, GUARD = 64 };
static uint16_t memory[GUARD + ROWS * COLUMNS + GUARD];
static uint16_t *const cells = memory + GUARD;
static uint16_t history[HISTORY * COLUMNS];
static struct vt vt;
static char answers[256];

static void collect(struct vt *v, const char *text, size_t n) {
    size_t at = strlen(answers);
    if (at + n < sizeof(answers)) {
        memcpy(answers + at, text, n);
        answers[at + n] = 0;
    }
}

static int start(void **state) {
    memset(memory, 0xaa, sizeof(memory));
    vt_init(&vt, ROWS, COLUMNS, cells, history, HISTORY);
    vt.answer = collect;
    answers[0] = 0;
    return 0;
}

static void feed(const char *text) {
    vt_write(&vt, text, strlen(text));
}

static const char *row(unsigned y) {
    static char text[COLUMNS + 1];
    for (unsigned x = 0; x < COLUMNS; x++)
        text[x] = cells[y * COLUMNS + x] & 0xff;
    unsigned n = COLUMNS;
    while (n && text[n - 1] == ' ')
        n--;
    text[n] = 0;
    return text;
}
static uint8_t attribute_at(unsigned y, unsigned x) {
    return cells[y * COLUMNS + x] >> 8;
}
static void at(unsigned y, unsigned x) {
    assert_int_equal(vt.cursor.y, y);
    assert_int_equal(vt.cursor.x, x);
}

static void text_and_controls(void **state) {
    feed("one\r\ntwo\tx\b\by");
    assert_string_equal(row(0), "one");
    assert_string_equal(row(1), "two    yx");
    at(1, 8);
    feed("\n\r!");
    assert_string_equal(row(2), "!");
}

static void wrapping(void **state) {
    feed("0123456789abcdefghij");
    at(0, 19); // the wrap waits for the next character
    feed("k");
    assert_string_equal(row(1), "k");
    feed("\033[1;20HX\r\n-");
    assert_string_equal(row(1), "-"); // CR cancels a pending wrap: no empty line
    feed("\033[?7l\033[3;19Habcd");
    assert_string_equal(row(2), "                  ad");
}

static void scrolling_and_history(void **state) {
    feed("1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n8");
    assert_string_equal(row(0), "3");
    assert_string_equal(row(5), "8");
    assert_int_equal(vt.history_count, 2);
    assert_int_equal(vt_view_row(&vt, 0, 2)[0] & 0xff, '1');
    assert_int_equal(vt_view_row(&vt, 1, 2)[0] & 0xff, '2');
    assert_int_equal(vt_view_row(&vt, 2, 2)[0] & 0xff, '3');
    for (int i = 0; i < 20; i++)
        feed("\r\nz");
    assert_int_equal(vt.history_count, HISTORY);
}

static void cursor_movement(void **state) {
    feed("\033[3;5H");
    at(2, 4);
    feed("\033[A\033[2C");
    at(1, 6);
    feed("\033[99B\033[99D");
    at(5, 0);
    feed("\033[99;99H");
    at(5, 19);
    feed("\033[H\033[5G\033[4d");
    at(3, 4);
    feed("\033[2F");
    at(1, 0);
    feed("\033[2E");
    at(3, 0);
}

static void erasing(void **state) {
    for (int i = 0; i < ROWS; i++)
        feed(i ? "\r\nabcdefghij" : "abcdefghij");
    feed("\033[2;4H\033[K");
    assert_string_equal(row(1), "abc");
    feed("\033[3;4H\033[1K");
    assert_string_equal(row(2), "    efghij");
    feed("\033[2K");
    assert_string_equal(row(2), "");
    feed("\033[4;4H\033[J");
    assert_string_equal(row(3), "abc");
    assert_string_equal(row(4), "");
    feed("\033[1;4H\033[1J");
    assert_string_equal(row(0), "    efghij");
    feed("\033[2X\033[2J");
    assert_string_equal(row(0), "");
    feed("\033[44m\033[2J"); // erased cells take the background
    assert_int_equal(attribute_at(0, 0), 0x17);
}

static void inserting_and_deleting(void **state) {
    feed("abcdef\033[1;3H\033[2@");
    assert_string_equal(row(0), "ab  cdef");
    feed("\033[3P");
    assert_string_equal(row(0), "abdef");
    feed("\033[4hXY\033[4l");
    assert_string_equal(row(0), "abXYdef");
    feed("\033[H1\r\n2\r\n3\r\n4\033[2;1H\033[L");
    assert_string_equal(row(1), "");
    assert_string_equal(row(2), "2");
    feed("\033[2M");
    assert_string_equal(row(1), "3");
    feed("\033[99L\033[99M\033[99@\033[99P\033[99X");
    at(1, 0);
}

static void scroll_region(void **state) {
    feed("a\r\nb\r\nc\r\nd\r\ne\r\nf\033[2;4r");
    at(0, 0);
    feed("\033[4;1H\nX");
    assert_string_equal(row(0), "a");
    assert_string_equal(row(1), "c");
    assert_string_equal(row(2), "d");
    assert_string_equal(row(3), "X");
    assert_string_equal(row(4), "e");
    feed("\033[2;1H\033M");
    assert_string_equal(row(1), "");
    assert_string_equal(row(2), "c");
    assert_string_equal(row(4), "e");
    assert_int_equal(vt.history_count, 0);
    feed("\033[?6h\033[1;1HO\033[99;1HP\033[6n\033[?6l");
    assert_string_equal(row(1), "O");
    assert_string_equal(row(3), "P");
    assert_string_equal(answers, "\033[3;2R");
    feed("\033[5;3r"); // nonsense is ignored
    assert_int_equal(vt.top, 1);
}

static void save_and_restore(void **state) {
    feed("\033[3;3H\033[1;31m\0337\033[H\033[0mA\0338B");
    assert_int_equal(attribute_at(0, 0), 0x07);
    assert_int_equal(attribute_at(2, 2), 0x0c); // bright red
    feed("\033[s\033[H\033[u");
    at(2, 3);
}

static void colours(void **state) {
    feed("\033[31mA\033[1mB\033[44mC\033[7mD\033[27mE\033[0mF\033[4mG\033[24;5mH");
    static const uint8_t expected[] = {0x04, 0x0c, 0x1c, 0x49, 0x1c, 0x07, 0x03, 0x87};
    for (unsigned i = 0; i < sizeof(expected); i++)
        assert_int_equal(attribute_at(0, i), expected[i]);
    feed("\r\n\033[0;38;5;196mA\033[0;48;5;21mB\033[0;38;5;9mC\033[0;38;2;0;255;0mD\033[0;95mE");
    static const uint8_t extended[] = {0x0c, 0x17, 0x0c, 0x0a, 0x0d};
    for (unsigned i = 0; i < sizeof(extended); i++)
        assert_int_equal(attribute_at(1, i), extended[i]);
    feed("\r\n\033[0;38m\033[38;5mX\033[;mY"); // torn sequences
    assert_int_equal(attribute_at(2, 1), 0x07);
}

static void characters(void **state) {
    feed("\xc3\xa9\xe2\x94\x80\xe2\x95\x94\xe2\x82\xac");
    assert_int_equal(cells[0] & 0xff, 0x82);
    assert_int_equal(cells[1] & 0xff, 0xc4);
    assert_int_equal(cells[2] & 0xff, 0xc9);
    feed("\r\n\xff"
         "a\xe2\x94x\xc0\x80\xf0\x9f\x98\x80|");
    assert_int_equal(cells[COLUMNS] & 0xff, 0xfe);
    assert_string_equal(row(1), "\xfe"
                                "a\xfex\xfe\xfe\xfe |");
    feed("\r\n\033(0lqk\033(B\016x\017x\033[11m\xba\x01\033[10mq");
    assert_string_equal(row(2), "\xda\xc4\xbf\xb3x\xba\x01q");
    feed("\r\ne\xcc\x81!"); // a combining accent takes no column
    assert_string_equal(row(3), "e!");
}

static void tabs(void **state) {
    feed("\ta\r\033[3g\tb\r\n   \033H\r\tc");
    assert_string_equal(row(0), "        a          b");
    assert_string_equal(row(1), "   c");
}

static void answers_and_ignored(void **state) {
    feed("\033[2;3H\033[6n\033[5n\033[c\033Z\033[0c");
    assert_string_equal(answers, "\033[2;3R\033[0n\033[?6c\033[?6c\033[?6c");
    answers[0] = 0;
    feed(
        "\033[H\033]0;title\007a\033]P1ff00ffb\033]R\033]8;;x\033\\c\033P+q\033\\d\033[?1049h\033[>c"
        "\033[!p\033[?25lq\033[[Af\033%G\033[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18mg");
    assert_string_equal(row(0), "abcdqfg");
    assert_string_equal(answers, "");
    assert_false(vt.cursor_visible);
    feed("\033[31\030h\033[3\0331"); // CAN ends a sequence, ESC starts another
    assert_string_equal(row(0), "abcdqfgh");
    feed("\033#8");
    assert_string_equal(row(5), "EEEEEEEEEEEEEEEEEEEE");
    feed("\033[?1h");
    assert_true(vt.application_cursor);
    feed("\033c");
    assert_false(vt.application_cursor);
    assert_string_equal(row(5), "");
}

static void reversed_screen(void **state) {
    feed("\033[31mA\033[?5h");
    assert_int_equal(attribute_at(0, 0), 0x40);
    feed("B\033[?5l");
    assert_int_equal(attribute_at(0, 0), 0x04);
    assert_int_equal(attribute_at(0, 1), 0x04);
}

static void messages(void **state) {
    const char *log = "log: \033[31mline\n";
    feed("\033[32mab\033[3");
    vt_write_message(&vt, log, strlen(log));
    feed("1mc");
    assert_string_equal(row(0), "ab"); // the message has lines of its own
    assert_string_equal(row(1), "log: ?[31mline");
    assert_int_equal(attribute_at(1, 2), 0x07);
    assert_string_equal(row(2), "c");
    assert_int_equal(attribute_at(2, 0), 0x04); // the torn sequence was completed: red
}

static void dirty_rows(void **state) {
    vt.dirty_from = vt.dirty_to = 0;
    feed("\033[3;1Hx");
    assert_int_equal(vt.dirty_from, 2);
    assert_int_equal(vt.dirty_to, 3);
}

// Random sequences never write outside the cells nor put the cursor outside the screen.
static void stays_inside(void **state) {
    static const char alphabet[] = "\033[[[;;;?0123456789ABCDEFGHJKLMPX@adefghlmnrsu`c78DEMZ()%#]"
                                   "\n\r\t\b\016\017\xe2\x94\x80 xyz";
    srand(1);
    for (int i = 0; i < 300000; i++) {
        char c = alphabet[rand() % (sizeof(alphabet) - 1)];
        vt_write(&vt, &c, 1);
        assert_true(vt.cursor.x < COLUMNS && vt.cursor.y < ROWS);
        assert_true(vt.top < vt.bottom && vt.bottom <= ROWS);
        assert_true(vt.dirty_to <= ROWS);
    }
    for (int i = 0; i < GUARD; i++) {
        assert_int_equal(memory[i], 0xaaaa);
        assert_int_equal(memory[GUARD + ROWS * COLUMNS + i], 0xaaaa);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(text_and_controls, start),
        cmocka_unit_test_setup(wrapping, start),
        cmocka_unit_test_setup(scrolling_and_history, start),
        cmocka_unit_test_setup(cursor_movement, start),
        cmocka_unit_test_setup(erasing, start),
        cmocka_unit_test_setup(inserting_and_deleting, start),
        cmocka_unit_test_setup(scroll_region, start),
        cmocka_unit_test_setup(save_and_restore, start),
        cmocka_unit_test_setup(colours, start),
        cmocka_unit_test_setup(characters, start),
        cmocka_unit_test_setup(tabs, start),
        cmocka_unit_test_setup(answers_and_ignored, start),
        cmocka_unit_test_setup(reversed_screen, start),
        cmocka_unit_test_setup(messages, start),
        cmocka_unit_test_setup(dirty_rows, start),
        cmocka_unit_test_setup(stays_inside, start),
    };
    return cmocka_run_group_tests_name("vt", tests, NULL, NULL);
}
