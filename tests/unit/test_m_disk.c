/* sources: vmm/machine/disk.c tests/unit/machine_host.c vmm/machine/bus.c vmm/machine/vtime.c vmm/machine/device.c vmm/machine/state.c */
// Disk images: every mode against a model, and overlays that do not fit.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "machine_host.h"
#include "vmm/machine/disk.h"

enum { SECTORS = 203, TAIL = 100 }; // the image ends within its last sector
#define SIZE ((SECTORS - 1) * SECTOR_SIZE + TAIL)

static char image[64], overlay[64];
static uint8_t model[SECTORS * SECTOR_SIZE];
static char error[256];

static void make_file(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

static int start(void **state) {
    (void)state;
    snprintf(image, sizeof(image), "/tmp/test_m_disk.%d", getpid());
    snprintf(overlay, sizeof(overlay), "/tmp/test_m_disk.%d.overlay", getpid());
    unlink(overlay);
    host_create();
    srand(1);
    memset(model, 0, sizeof(model));
    for (unsigned i = 0; i < SIZE; i++)
        model[i] = (uint8_t)rand();
    make_file(image, model, SIZE);
    return 0;
}

static int end(void **state) {
    (void)state;
    unlink(image);
    unlink(overlay);
    return 0;
}

static struct disk *open_with(enum disk_mode mode, bool errors_end_machine) {
    const struct disk_options o = {
        .path = image, .overlay = overlay, .mode = mode, .errors_end_machine = errors_end_machine};
    return disk_open(&host.machine, &o, error, sizeof(error));
}

static struct disk *open_as(enum disk_mode mode) {
    return open_with(mode, false);
}

static void check_all(struct disk *d) {
    uint8_t *all = malloc(sizeof(model));
    assert_int_equal(disk_read(d, 0, SECTORS, all), 0);
    assert_memory_equal(all, model, sizeof(model));
    free(all);
}

static void scribble(struct disk *d, unsigned times) {
    uint8_t data[40 * SECTOR_SIZE];
    for (unsigned i = 0; i < times; i++) {
        unsigned n = 1 + (unsigned)rand() % 40, at = (unsigned)rand() % (SECTORS - n);
        memset(data, rand(), n * SECTOR_SIZE);
        assert_int_equal(disk_write(d, at, n, data), 0);
        memcpy(model + at * SECTOR_SIZE, data, n * SECTOR_SIZE);
        check_all(d);
    }
}

static void image_is_untouched(void) {
    struct stat st;
    assert_int_equal(stat(image, &st), 0);
    assert_int_equal(st.st_size, SIZE);
    uint8_t *now = malloc(SIZE), *then = malloc(SIZE);
    FILE *f = fopen(image, "rb");
    assert_int_equal(fread(now, 1, SIZE, f), SIZE);
    fclose(f);
    srand(1);
    for (unsigned i = 0; i < SIZE; i++)
        then[i] = (uint8_t)rand();
    assert_memory_equal(now, then, SIZE);
    free(now);
    free(then);
}

static void private_writes(void **state) {
    (void)state;
    struct disk *d = open_as(DISK_PRIVATE);
    assert_int_equal(disk_sectors(d), SECTORS);
    check_all(d);
    scribble(d, 100);
    assert_int_equal(disk_flush(d), 0);
    disk_close(d);
    image_is_untouched();
}

static void overlay_writes(void **state) {
    (void)state;
    struct disk *d = open_as(DISK_OVERLAY);
    scribble(d, 50);
    assert_int_equal(disk_flush(d), 0);
    disk_close(d);
    image_is_untouched();
    srand(2);
    d = open_as(DISK_OVERLAY); // it is there again
    check_all(d);
    scribble(d, 50);
    disk_close(d);
}

// Writes to an overlay for which no space is left.
static int write_without_space(bool errors_end_machine) {
    struct rlimit old, small = {.rlim_cur = 8192};
    uint8_t data[SECTOR_SIZE] = {0};
    struct disk *d = open_with(DISK_OVERLAY, errors_end_machine);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    int result = disk_write(d, SECTORS - 8, 1, data);
    setrlimit(RLIMIT_FSIZE, &old);
    disk_close(d);
    return result;
}

// The guest sees an error, but a recording ends, since its replay would see none.
static void overlay_that_cannot_grow(void **state) {
    (void)state;
    assert_int_equal(write_without_space(false), -EIO);
    assert_int_equal(host.machine.end, MACHINE_RUNNING);
    assert_non_null(strstr(host.log, "writing the overlay at sector"));
    assert_int_equal(write_without_space(true), 0);
    assert_int_equal(host.machine.end, MACHINE_FAILED);
    assert_non_null(strstr(host.machine.end_reason, "writing the overlay at sector"));
}

static void overlays_that_do_not_fit(void **state) {
    (void)state;
    make_file(overlay, "something else, of course", 25);
    assert_null(open_as(DISK_OVERLAY));
    assert_non_null(strstr(error, "magic"));
    unlink(overlay);
    disk_close(open_as(DISK_OVERLAY));
    make_file(image, model, SIZE - 4096);
    assert_null(open_as(DISK_OVERLAY));
    assert_non_null(strstr(error, "another size"));
}

static void limits(void **state) {
    (void)state;
    uint8_t data[2 * SECTOR_SIZE] = {0};
    struct disk *d = open_as(DISK_READ_ONLY);
    assert_int_equal(disk_write(d, 0, 1, data), -EROFS);
    assert_int_equal(disk_read(d, SECTORS - 1, 2, data), -EINVAL);
    assert_int_equal(disk_read(d, UINT64_MAX, 2, data), -EINVAL);
    assert_int_equal(disk_read(d, 1, UINT64_MAX, data), -EINVAL);
    assert_int_equal(disk_read(d, SECTORS, 0, data), 0);
    disk_close(d);
    assert_null(open_as(DISK_WRITABLE)); // half a sector cannot be written
    assert_non_null(strstr(error, "multiple of 512"));
    make_file(image, model, 4 * SECTOR_SIZE);
    d = open_as(DISK_WRITABLE);
    assert_int_equal(disk_write(d, 3, 1, data), 0);
    assert_int_equal(disk_write(d, 3, 2, data), -EINVAL);
    disk_close(d);
    make_file(image, model, 0);
    assert_null(open_as(DISK_PRIVATE));
    assert_non_null(strstr(error, "empty"));
    unlink(image);
    assert_null(open_as(DISK_PRIVATE));
    assert_non_null(strstr(error, "No such file"));
}

// Many may read an image; who writes, to it or to an overlay, is alone.
static void two_disks_do_not_write_one_file(void **state) {
    static const struct {
        enum disk_mode first, second;
        const char *fault; // NULL: both are fine
    } cases[] = {
        {DISK_WRITABLE, DISK_WRITABLE, "it is in use already"},
        {DISK_READ_ONLY, DISK_WRITABLE, "it is in use already"},
        {DISK_PRIVATE, DISK_WRITABLE, "it is in use already"},
        {DISK_WRITABLE, DISK_READ_ONLY, "another disk writes to it"},
        {DISK_WRITABLE, DISK_OVERLAY, "another disk writes to it"},
        {DISK_OVERLAY, DISK_OVERLAY, "another disk uses it"},
        {DISK_READ_ONLY, DISK_READ_ONLY, NULL},
        {DISK_PRIVATE, DISK_PRIVATE, NULL},
        {DISK_OVERLAY, DISK_PRIVATE, NULL},
    };
    assert_int_equal(truncate(image, SECTORS * SECTOR_SIZE), 0);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct disk *first = open_as(cases[i].first), *second = open_as(cases[i].second);
        assert_non_null(first);
        if (cases[i].fault) {
            assert_null(second);
            assert_non_null(strstr(error, cases[i].fault));
            disk_close(first);
            assert_non_null(second = open_as(cases[i].second)); // now it is free
        } else {
            assert_non_null(second);
            disk_close(first);
        }
        disk_close(second);
    }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, end)
    const struct CMUnitTest tests[] = {
        TEST(private_writes),           TEST(overlay_writes), TEST(overlay_that_cannot_grow),
        TEST(overlays_that_do_not_fit), TEST(limits),         TEST(two_disks_do_not_write_one_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
