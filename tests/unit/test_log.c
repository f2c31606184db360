/* sources: */
// The ring, its readers, and what consoles get.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#define log_printf kernel_log_printf // the stub has that name
#include "lib/log.h"
#undef snprintf
#include "kernel/lib/log.c"

int scnprintf(char *buf, size_t size, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return n < (int)size ? n : (int)size - 1;
}

static char shown[4096];
static void show(struct console *c, const char *text, size_t n) {
    size_t used = strlen(shown);
    if (used + n < sizeof(shown)) {
        memcpy(shown + used, text, n);
        shown[used + n] = '\0';
    }
}
static struct console console = {.name = "test", .write = show};
static unsigned hooked;
static void hook(void) {
    hooked++;
}
static uint64_t now(void) {
    return 12345678901ull;
}

static void test_lines_and_levels(void **state) {
    log_info("early %d", 1);
    log_debug("hidden");
    log_add_console(&console);
    assert_string_equal(shown, "[    0.000000] early 1\n"); // replayed, as far as the level admits
    log_set_hook(hook);
    log_set_clock(now);
    log_warning("now %s", "two");
    assert_string_equal(shown, "[    0.000000] early 1\n[   12.345678] now two\n");
    assert_int_equal(hooked, 1);
    log_set_level(LOG_DEBUG);
    log_debug("seen");
    assert_non_null(strstr(shown, "seen"));
    log_set_level(LOG_ERROR);
    log_info("quiet");
    assert_null(strstr(shown, "quiet"));

    char all[512] = "";
    uint64_t pos = 0;
    size_t n = log_read(&pos, all, sizeof(all) - 1);
    assert_int_equal(n, strlen(all));
    assert_int_equal(pos, log_end());
    assert_ptr_equal(strstr(all, "<6>[    0.000000] early 1\n<7>"), all);
    assert_non_null(strstr(all, "<6>[   12.345678] quiet\n"));
    assert_int_equal(log_read(&pos, all, sizeof(all)), 0);
    (void)state;
}

static void test_long_line_is_cut(void **state) {
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    uint64_t pos = log_end();
    log_info("%s", text);
    char line[2000];
    size_t n = log_read(&pos, line, sizeof(line));
    assert_true(n < 600 && line[n - 1] == '\n');
    (void)state;
}

static void test_overwritten(void **state) {
    uint64_t slow = log_end(), last = slow;
    for (int i = 0; i < 20000; i++)
        log_info("line %d", i);
    char text[300];
    size_t n = log_read(&slow, text, sizeof(text));
    assert_true(n > 0 && slow > last);
    assert_memory_equal(text, "<6>[", 4); // starts with a whole line
    uint64_t future = log_end() + 5;
    assert_int_equal(log_read(&future, text, sizeof(text)), 0);
    assert_int_equal(future, log_end());
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_and_levels),
        cmocka_unit_test(test_long_line_is_cut),
        cmocka_unit_test(test_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
