/* sources: kernel/block/partition.c */
// Partition tables built by hand, sound and damaged.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "block/partition.h"

#define SECTORS 4096u
static uint8_t disk[SECTORS * 512];
static bool broken; // the disk reads nothing

static int read_disk(void *arg, uint64_t sector, void *buf) {
    assert_true(sector < SECTORS);
    if (broken)
        return -5;
    memcpy(buf, disk + sector * 512, 512);
    return 0;
}
static struct partition_table scan(void) {
    struct partition_table t;
    assert_int_equal(partition_scan(read_disk, NULL, SECTORS, &t), 0);
    return t;
}
static void set32(uint64_t at, uint32_t v) {
    memcpy(disk + at, &v, 4);
}
static void set64(uint64_t at, uint64_t v) {
    memcpy(disk + at, &v, 8);
}
static void mbr(unsigned sector, unsigned n, uint8_t type, uint32_t start, uint32_t count) {
    uint64_t at = sector * 512ull;
    disk[at + 510] = 0x55;
    disk[at + 511] = 0xaa;
    disk[at + 446 + n * 16 + 4] = type;
    set32(at + 446 + n * 16 + 8, start);
    set32(at + 446 + n * 16 + 12, count);
}
static void expect(const struct partition_table *t, unsigned n, unsigned number, uint64_t start,
                   uint64_t sectors) {
    assert_int_equal(t->entries[n].number, number);
    assert_int_equal(t->entries[n].start, start);
    assert_int_equal(t->entries[n].sectors, sectors);
}

static void test_none(void **state) {
    assert_int_equal(scan().kind, PARTITIONS_NONE);
    disk[510] = 0x55;
    disk[511] = 0xaa;
    memset(disk + 446, 0x41, 64); // text of a boot sector
    assert_int_equal(scan().kind, PARTITIONS_NONE);
    assert_int_equal(scan().count, 0);
}
static void test_mbr(void **state) {
    mbr(0, 0, 0x83, 100, 200);
    mbr(0, 2, 0x82, 300, 3796);
    mbr(0, 3, 0x83, 300, 3797); // one sector too many
    struct partition_table t = scan();
    assert_int_equal(t.kind, PARTITIONS_MBR);
    assert_int_equal(t.count, 2);
    expect(&t, 0, 1, 100, 200);
    expect(&t, 1, 3, 300, 3796);
    assert_non_null(t.remark);
}
static void test_extended(void **state) {
    mbr(0, 1, 0x0f, 1000, 2000);
    mbr(1000, 0, 0x83, 10, 90);
    mbr(1000, 1, 0x05, 500, 600);
    mbr(1500, 0, 0x83, 20, 80);
    struct partition_table t = scan();
    assert_int_equal(t.count, 2);
    expect(&t, 0, 5, 1010, 90);
    expect(&t, 1, 6, 1520, 80);
    assert_null(t.remark);
    mbr(1500, 1, 0x05, 500, 600); // a link to itself
    t = scan();
    assert_true(t.count <= PARTITIONS_MAX);
    assert_non_null(t.remark);
    mbr(1500, 1, 0x05, 2000, 600); // a link out of the extended partition
    assert_int_equal(scan().count, 2);
}
// A header at `lba` whose entries are at `entries`.
static void gpt_header(unsigned lba, unsigned entries) {
    uint64_t at = lba * 512ull;
    memset(disk + at, 0, 512);
    memcpy(disk + at, "EFI PART", 8);
    set32(at + 8, 0x10000);
    set32(at + 12, 92);
    set64(at + 24, lba);
    set64(at + 72, entries);
    set32(at + 80, 128);
    set32(at + 84, 128);
    set32(at + 88, partition_crc32(0, disk + entries * 512ull, 128 * 128));
    set32(at + 16, partition_crc32(0, disk + at, 92));
}
static void gpt(void) {
    mbr(0, 0, 0xee, 1, SECTORS - 1);
    for (unsigned copy = 0; copy < 2; copy++) {
        uint64_t at = (copy ? SECTORS - 33 : 2) * 512ull;
        disk[at] = 1;
        set64(at + 32, 64);
        set64(at + 40, 163);
        disk[at + 5 * 128] = 1;
        set64(at + 5 * 128 + 32, 200);
        set64(at + 5 * 128 + 40, 200);
    }
    gpt_header(1, 2);
    gpt_header(SECTORS - 1, SECTORS - 33);
}
static void test_crc(void **state) {
    assert_int_equal(partition_crc32(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(partition_crc32(partition_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
}
static void test_gpt(void **state) {
    gpt();
    struct partition_table t = scan();
    assert_int_equal(t.kind, PARTITIONS_GPT);
    assert_int_equal(t.count, 2);
    expect(&t, 0, 1, 64, 100);
    expect(&t, 1, 6, 200, 1);
    assert_null(t.remark);
    disk[2 * 512 + 33] ^= 1; // an entry changes: its checksum tells, the backup serves
    t = scan();
    assert_int_equal(t.count, 2);
    assert_non_null(t.remark);
    disk[(SECTORS - 1) * 512 + 40] ^= 1;
    t = scan();
    assert_int_equal(t.kind, PARTITIONS_GPT);
    assert_int_equal(t.count, 0);
    assert_non_null(t.remark);
}
static void test_unreadable(void **state) {
    struct partition_table t;
    broken = true;
    assert_int_equal(partition_scan(read_disk, NULL, SECTORS, &t), -5);
    assert_int_equal(partition_scan(read_disk, NULL, 1, &t), 0);
}
static int clear(void **state) {
    memset(disk, 0, sizeof(disk));
    broken = false;
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_none, clear),
        cmocka_unit_test_setup(test_mbr, clear),
        cmocka_unit_test_setup(test_extended, clear),
        cmocka_unit_test_setup(test_crc, clear),
        cmocka_unit_test_setup(test_gpt, clear),
        cmocka_unit_test_setup(test_unreadable, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
