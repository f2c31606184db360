// Compares lib/string.c with the C library's, at every small length, offset and overlap.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define memcpy  kernel_memcpy
#define memmove kernel_memmove
#define memset  kernel_memset
#define memcmp  kernel_memcmp
#define memchr  kernel_memchr
#define strlen  kernel_strlen
#define strnlen kernel_strnlen
#define strcmp  kernel_strcmp
#define strncmp kernel_strncmp
#define strchr  kernel_strchr
#define strrchr kernel_strrchr
#define strstr  kernel_strstr
#define strlcpy kernel_strlcpy
#include "kernel/lib/string.h"
#include "kernel/lib/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strrchr
#undef strstr

static void fill(char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 + 3);
}

static void test_copy(void **state) {
    for (size_t n = 0; n < 300; n++)
        for (size_t offset = 0; offset < 9; offset++) {
            char *from = malloc(n + offset + 1), *to = malloc(n + offset + 1);
            fill(from, n + offset + 1);
            memset(to, 0x55, n + offset + 1);
            assert_ptr_equal(kernel_memcpy(to + offset, from + offset, n), to + offset);
            assert_memory_equal(to + offset, from + offset, n);
            assert_int_equal(to[n + offset], 0x55);
            for (size_t i = 0; i < offset; i++)
                assert_int_equal(to[i], 0x55);
            free(from);
            free(to);
        }
    (void)state;
}

static void test_move(void **state) {
    char ours[256], theirs[256];
    for (size_t n = 0; n < 100; n++)
        for (size_t from = 0; from < 100; from += 3)
            for (size_t to = 0; to < 100; to++) {
                fill(ours, sizeof(ours));
                fill(theirs, sizeof(theirs));
                kernel_memmove(ours + to, ours + from, n);
                memmove(theirs + to, theirs + from, n);
                assert_memory_equal(ours, theirs, sizeof(ours));
            }
    (void)state;
}

static void test_set(void **state) {
    char ours[400], theirs[400];
    for (size_t n = 0; n < 300; n++)
        for (size_t offset = 0; offset < 9; offset++) {
            fill(ours, sizeof(ours));
            fill(theirs, sizeof(theirs));
            assert_ptr_equal(kernel_memset(ours + offset, 0x1fe, n), ours + offset);
            memset(theirs + offset, 0x1fe, n);
            assert_memory_equal(ours, theirs, sizeof(ours));
        }
    (void)state;
}

static int sign(int x) {
    return (x > 0) - (x < 0);
}

static void test_compare(void **state) {
    char a[64], b[64];
    for (size_t n = 0; n < 40; n++)
        for (size_t differs = 0; differs <= n; differs++) {
            fill(a, sizeof(a));
            fill(b, sizeof(b));
            b[differs] ^= 0x80;
            assert_int_equal(sign(kernel_memcmp(a, b, n)), sign(memcmp(a, b, n)));
        }
    static const char *words[] = {"", "a", "ab", "abc", "abd", "b", "\x80", "abcabd"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        for (size_t k = 0; k < ARRAY_SIZE(words); k++) {
            assert_int_equal(sign(kernel_strcmp(words[i], words[k])),
                             sign(strcmp(words[i], words[k])));
            for (size_t n = 0; n < 5; n++)
                assert_int_equal(sign(kernel_strncmp(words[i], words[k], n)),
                                 sign(strncmp(words[i], words[k], n)));
            assert_ptr_equal(kernel_strstr(words[i], words[k]), strstr(words[i], words[k]));
        }
    (void)state;
}

static void test_search(void **state) {
    const char *text = "hello, world";
    for (int c = 0; c < 128; c++) {
        assert_ptr_equal(kernel_strchr(text, c), strchr(text, c));
        assert_ptr_equal(kernel_strrchr(text, c), strrchr(text, c));
        assert_ptr_equal(kernel_memchr(text, c, 5), memchr(text, c, 5));
    }
    assert_int_equal(kernel_strlen(text), strlen(text));
    assert_int_equal(kernel_strnlen(text, 3), 3);
    assert_int_equal(kernel_strnlen(text, 30), 12);
    (void)state;
}

static void test_strlcpy(void **state) {
    char buf[4];
    assert_int_equal(kernel_strlcpy(buf, "abcdef", sizeof(buf)), 6);
    assert_string_equal(buf, "abc");
    assert_int_equal(kernel_strlcpy(buf, "xy", sizeof(buf)), 2);
    assert_string_equal(buf, "xy");
    assert_int_equal(kernel_strlcpy(buf, "q", 0), 1);
    assert_string_equal(buf, "xy");
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy),   cmocka_unit_test(test_move),
        cmocka_unit_test(test_set),    cmocka_unit_test(test_compare),
        cmocka_unit_test(test_search), cmocka_unit_test(test_strlcpy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
