// Compares lib/printf.c with the C library's.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define snprintf  kernel_snprintf
#define vsnprintf kernel_vsnprintf
#define scnprintf kernel_scnprintf
#include "kernel/lib/printf.c"
#undef snprintf
#undef vsnprintf

#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
#pragma GCC diagnostic ignored "-Wformat-overflow"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-truncation"

#define CHECK(...)                                                   \
    do {                                                             \
        char ours_[256], theirs_[256];                               \
        int n_ = kernel_snprintf(ours_, sizeof(ours_), __VA_ARGS__); \
        int m_ = snprintf(theirs_, sizeof(theirs_), __VA_ARGS__);    \
        assert_string_equal(ours_, theirs_);                         \
        assert_int_equal(n_, m_);                                    \
    } while (0)

static void test_integers(void **state) {
    static const long long values[] = {0,
                                       1,
                                       -1,
                                       9,
                                       10,
                                       42,
                                       -42,
                                       255,
                                       256,
                                       65535,
                                       0x7fffffff,
                                       -0x80000000ll,
                                       0xffffffffll,
                                       0x123456789abcdefll,
                                       INT64_MAX,
                                       INT64_MIN};
    static const char *flags[] = {"", "-", "0", "+", " ", "#", "-#", "0#", "+0", "-+", " 0", "-0"};
    static const char *widths[] = {"", "1", "5", "20", ".0", ".1", ".8", "12.5", "3.10"};
    static const char *sizes[] = {"hh", "h", "", "l", "ll", "z"};
    for (size_t v = 0; v < ARRAY_SIZE(values); v++)
        for (size_t f = 0; f < ARRAY_SIZE(flags); f++)
            for (size_t w = 0; w < ARRAY_SIZE(widths); w++)
                for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
                    for (const char *c = "diuxXo"; *c; c++) {
                        char format[32];
                        snprintf(format, sizeof(format), "<%%%s%s%s%c>", flags[f], widths[w],
                                 sizes[s], *c);
                        CHECK(format, values[v]);
                    }
    (void)state;
}

static void test_text(void **state) {
    CHECK("plain");
    CHECK("%s|%10s|%-10s|%.2s|%10.3s|%.0s", "hello", "hello", "hello", "hello", "hello", "hello");
    CHECK("%c|%5c|%-5c|%%", 'a', 'b', 'c');
    CHECK("%*d|%-*d|%.*d|%*d", 6, 42, 6, 42, 4, 42, -6, 42);
    CHECK("%.*s|%.*s", 3, "abcdef", -1, "abcdef");
    CHECK("%p %p", (void *)0x1234, (void *)0xffffffff80001234);
    char buf[32];
    kernel_snprintf(buf, sizeof(buf), "%s %.3s", NULL, NULL);
    assert_string_equal(buf, "(null) (nu");
    kernel_snprintf(buf, sizeof(buf), "%q %y", 1, 2);
    assert_string_equal(buf, "%q %y");
    (void)state;
}

static void test_precision_of_unterminated_text(void **state) {
    char *text = malloc(4); // exactly: reading a fifth byte is an error that ASan finds
    for (int i = 0; i < 4; i++)
        text[i] = 'x';
    char buf[16];
    assert_int_equal(kernel_snprintf(buf, sizeof(buf), "%.4s", text), 4);
    free(text);
    (void)state;
}

static void test_truncation(void **state) {
    char buf[8] = "unused";
    assert_int_equal(kernel_snprintf(buf, 4, "%d", 123456), 6);
    assert_string_equal(buf, "123");
    assert_int_equal(kernel_snprintf(NULL, 0, "%s", "abc"), 3);
    assert_int_equal(kernel_scnprintf(buf, 4, "%d", 123456), 3);
    assert_int_equal(kernel_scnprintf(buf, sizeof(buf), "%d", 12), 2);
    assert_int_equal(kernel_scnprintf(buf, 0, "%d", 12), 0);
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_precision_of_unterminated_text),
        cmocka_unit_test(test_truncation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
