/* sources: kernel/drivers/keymap.c kernel/drivers/rtc_time.c */
// Scancodes to the bytes of the `linux` terminal; the CMOS clock's formats.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "drivers/keymap.h"
#include "drivers/rtc.h"

static struct keymap k;
static bool application;
static struct key_event last;

static int start(void **state) {
    memset(&k, 0, sizeof(k));
    application = false;
    return 0;
}

// Feeds scancodes, returns all the text they give.
static const char *type(const uint8_t *codes, size_t n) {
    static char text[64];
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        last = keymap_feed(&k, codes[i], application);
        if (last.action != KEY_TEXT)
            continue;
        memcpy(text + at, last.text, last.length);
        at += last.length;
    }
    text[at] = 0;
    return text;
}
#define TYPE(...) type((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void letters(void **state) {
    assert_string_equal(TYPE(0x1e, 0x9e, 0x30, 0xb0), "ab");
    assert_string_equal(TYPE(0x2a, 0x1e, 0x9e, 0x02, 0xaa, 0x02), "A!1");
    assert_string_equal(TYPE(0x36, 0x0c, 0xb6, 0x0c), "_-");
    assert_string_equal(TYPE(0x39, 0x1c, 0x0e, 0x0f, 0x01), " \r\177\t\033");
    assert_string_equal(TYPE(0x1e, 0x1e, 0x1e), "aaa"); // the keyboard repeats
}

static void modifiers(void **state) {
    assert_string_equal(TYPE(0x1d, 0x2e, 0xae, 0x9d), "\003");
    assert_string_equal(TYPE(0xe0, 0x1d, 0x2c, 0xe0, 0x9d), "\032");
    assert_string_equal(TYPE(0x1d, 0x2b, 0x9d), "\034");
    assert_string_equal(TYPE(0x38, 0x21, 0xb8, 0x21), "\033ff");
    TYPE(0x1d, 0x39);
    assert_int_equal(last.action, KEY_TEXT);
    assert_int_equal(last.length, 1);
    assert_int_equal(last.text[0], 0);
}

static void locks(void **state) {
    assert_string_equal(TYPE(0x3a, 0x3a, 0xba, 0x1e, 0x02, 0x2a, 0x1e, 0xaa), "A1a");
    assert_int_equal(k.locks, LOCK_CAPS);
    assert_string_equal(TYPE(0x3a, 0xba, 0x1e), "a");
    assert_string_equal(TYPE(0x48, 0x45, 0xc5, 0x48), "\033[A8");
    assert_int_equal(k.locks, LOCK_NUM);
    assert_string_equal(TYPE(0xe0, 0x48), "\033[A"); // the grey keys do not care
}

static void sequences(void **state) {
    assert_string_equal(TYPE(0xe0, 0x48, 0xe0, 0xc8, 0xe0, 0x50, 0xe0, 0x4d, 0xe0, 0x4b),
                        "\033[A\033[B\033[C\033[D");
    application = true;
    assert_string_equal(TYPE(0xe0, 0x48, 0xe0, 0x47), "\033OA\033[1~");
    application = false;
    assert_string_equal(TYPE(0xe0, 0x47, 0xe0, 0x4f, 0xe0, 0x49, 0xe0, 0x51),
                        "\033[1~\033[4~\033[5~\033[6~");
    assert_string_equal(TYPE(0xe0, 0x52, 0xe0, 0x53), "\033[2~\033[3~");
    assert_string_equal(TYPE(0x3b, 0x3f, 0x40, 0x44, 0x57, 0x58),
                        "\033[[A\033[[E\033[17~\033[21~\033[23~\033[24~");
    assert_string_equal(TYPE(0x2a, 0x3b, 0xaa), "\033[25~");
    // The wrapped form that keyboards send with Num Lock.
    assert_string_equal(TYPE(0xe0, 0x2a, 0xe0, 0x48, 0xe0, 0xc8, 0xe0, 0xaa, 0x1e), "\033[Aa");
    assert_string_equal(TYPE(0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5, 0x1e), "a"); // Pause
    assert_string_equal(TYPE(0xe0, 0x35, 0xe0, 0x1c, 0xe0, 0x5b), "/\r");
}

static void actions(void **state) {
    TYPE(0x38, 0x3c);
    assert_int_equal(last.action, KEY_SWITCH);
    assert_int_equal(last.number, 1);
    TYPE(0xb8, 0x2a, 0xe0, 0x49);
    assert_int_equal(last.action, KEY_SCROLL);
    assert_true(last.number > 0);
    TYPE(0xaa, 0x1d, 0x38, 0xe0, 0x53);
    assert_int_equal(last.action, KEY_REBOOT);
}

// No byte sequence yields more text than there is room for.
static void any_bytes(void **state) {
    uint32_t seed = 1;
    for (int i = 0; i < 200000; i++) {
        seed = seed * 1103515245 + 12345;
        struct key_event e = keymap_feed(&k, seed >> 16, seed >> 30 & 1);
        assert_true(e.length <= sizeof(e.text));
    }
}

static void clock_formats(void **state) {
    struct rtc_time t;
    struct rtc_registers bcd = {0x59, 0x30, 0x91, 0x29, 0x02, 0x24, 0x20, 0x00}; // 11 pm, 12 hours
    assert_true(rtc_decode(&bcd, &t));
    assert_int_equal(t.year, 2024);
    assert_int_equal(t.hour, 23);
    assert_int_equal(t.minute, 30);
    assert_int_equal(rtc_to_seconds(&t), 1709249459);
    struct rtc_registers binary = {.b = 0x06};
    rtc_encode(&t, &binary);
    assert_int_equal(binary.hour, 23);
    assert_int_equal(binary.year, 24);
    struct rtc_registers midnight = {0x00, 0x00, 0x12, 0x01, 0x01, 0x99, 0x00, 0x00};
    assert_true(rtc_decode(&midnight, &t));
    assert_int_equal(t.hour, 0);
    assert_int_equal(t.year, 1999);
    struct rtc_registers wrong = {0x00, 0x00, 0x00, 0x31, 0x02, 0x24, 0x20, 0x02};
    assert_false(rtc_decode(&wrong, &t));
}

static void calendar(void **state) {
    for (int64_t s = 0; s < 8000000000; s += 86400 * 5 + 4321) {
        struct rtc_time t;
        time_t when = s;
        struct tm tm;
        gmtime_r(&when, &tm);
        rtc_from_seconds(s, &t);
        assert_int_equal(t.year, tm.tm_year + 1900);
        assert_int_equal(t.month, tm.tm_mon + 1);
        assert_int_equal(t.day, tm.tm_mday);
        assert_int_equal(t.second, tm.tm_sec);
        assert_int_equal(rtc_to_seconds(&t), s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(letters, start), cmocka_unit_test_setup(modifiers, start),
        cmocka_unit_test_setup(locks, start),   cmocka_unit_test_setup(sequences, start),
        cmocka_unit_test_setup(actions, start), cmocka_unit_test_setup(any_bytes, start),
        cmocka_unit_test(clock_formats),        cmocka_unit_test(calendar),
    };
    return cmocka_run_group_tests_name("keymap", tests, NULL, NULL);
}
