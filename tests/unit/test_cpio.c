/* sources: kernel/fs/cpio.c */
// The archive reader: what it finds, and that it refuses what is cut short or wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "fs/cpio.h"
#include "lib/errno.h"

static uint8_t archive[4096];
static size_t used;

static void add(const char *name, unsigned mode, const void *data, unsigned size) {
    used += snprintf((char *)archive + used, sizeof(archive) - used,
                     "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 7, mode, 0, 0, 1,
                     1000, size, 0, 0, 4, 64, (unsigned)strlen(name) + 1, 0);
    memcpy(archive + used, name, strlen(name) + 1);
    used = (used + strlen(name) + 1 + 3) & ~3u;
    memcpy(archive + used, data, size);
    used = (used + size + 3) & ~3u;
}

static int setup(void **state) {
    memset(archive, 0, sizeof(archive));
    used = 0;
    return 0;
}

static void reads_entries(void **state) {
    struct cpio_entry e;
    size_t pos = 0;
    add("/dir/file", 0100644, "hello", 5);
    add("dev", 0020600, "", 0);
    add("TRAILER!!!", 0, "", 0);
    assert_int_equal(cpio_next(archive, used, &pos, &e), 1);
    assert_string_equal(e.name, "dir/file");
    assert_int_equal(e.size, 5);
    assert_memory_equal(e.data, "hello", 5);
    assert_int_equal(e.mode, 0100644);
    assert_int_equal(e.mtime, 1000);
    assert_int_equal(cpio_next(archive, used, &pos, &e), 1);
    assert_int_equal(e.rdev_major, 4);
    assert_int_equal(e.rdev_minor, 64);
    assert_int_equal(cpio_next(archive, used, &pos, &e), 0);
}

static void joined_archives(void **state) {
    struct cpio_entry e;
    size_t pos = 0;
    add("a", 0100644, "", 0);
    add("TRAILER!!!", 0, "", 0);
    used = 1024; // padding with zeros
    add("b", 0100644, "", 0);
    add("TRAILER!!!", 0, "", 0);
    assert_int_equal(cpio_next(archive, used, &pos, &e), 1);
    assert_int_equal(cpio_next(archive, used, &pos, &e), 1);
    assert_string_equal(e.name, "b");
    assert_int_equal(cpio_next(archive, used, &pos, &e), 0);
}

// An entry that is cut anywhere is refused; nothing behind the end is looked at (the copy is exact).
static void refuses_cuts(void **state) {
    add("name", 0100644, "contents", 8);
    for (size_t n = 1; n < used; n++) {
        uint8_t copy[256];
        struct cpio_entry e;
        size_t pos = 0;
        memcpy(copy, archive, n);
        assert_int_equal(cpio_next(copy, n, &pos, &e), -EINVAL);
        assert_int_equal(pos, 0);
    }
}

static void refuses_nonsense(void **state) {
    struct cpio_entry e;
    size_t pos = 0;
    add("name", 0100644, "", 0);
    archive[5] = '9';
    assert_int_equal(cpio_next(archive, used, &pos, &e), -EINVAL);
    archive[5] = '1';
    archive[20] = 'g';
    assert_int_equal(cpio_next(archive, used, &pos, &e), -EINVAL);
    archive[20] = '0';
    archive[110 + 4] = 'x'; // the name's zero
    assert_int_equal(cpio_next(archive, used, &pos, &e), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(reads_entries, setup),
        cmocka_unit_test_setup(joined_archives, setup),
        cmocka_unit_test_setup(refuses_cuts, setup),
        cmocka_unit_test_setup(refuses_nonsense, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
