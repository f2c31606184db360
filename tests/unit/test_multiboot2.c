/* sources: kernel/boot/multiboot2.c kernel/boot/cmdline.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "boot/multiboot2.h"

struct boot_info boot_info;

// Builds a boot information block.
static uint8_t block[4096] __attribute__((aligned(8)));
static uint32_t used;

static void begin(void) {
    memset(block, 0, sizeof(block));
    used = 8;
}

static void add(uint32_t type, const void *data, uint32_t size) {
    uint32_t head[2] = {type, size + 8};
    memcpy(block + used, head, 8);
    if (size)
        memcpy(block + used + 8, data, size);
    used = (used + 8 + size + 7) & ~7u;
}

static void finish(void) {
    add(0, NULL, 0);
    memcpy(block, &used, 4);
}

static void add_memory_map(const uint64_t (*entries)[3], unsigned n, uint32_t entry_size) {
    uint8_t data[2048] = {0};
    uint32_t head[2] = {entry_size, 0};
    memcpy(data, head, 8);
    for (unsigned i = 0; i < n; i++)
        memcpy(data + 8 + i * entry_size, entries[i], 24);
    add(6, data, 8 + n * entry_size);
}

static void check_ranges(const struct memory_range *expected, unsigned n) {
    assert_int_equal(boot_info.memory_count, n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(boot_info.memory[i].start, expected[i].start);
        assert_int_equal(boot_info.memory[i].end, expected[i].end);
        assert_int_equal(boot_info.memory[i].usable, expected[i].usable);
    }
}

static void test_all_tags(void **state) {
    static const uint64_t map[][3] = {
        {0x100000, 0x7f00000, 1}, {0, 0x9fc00, 1}, {0xf0000, 0x10000, 2}};
    uint32_t module[] = {0x200000, 0x201234, 0x64726e69};
    begin();
    add(1, "console=ttyS0 init=/bin/sh", 27);
    add(2, "GRUB", 5);
    add(3, module, sizeof(module));
    add_memory_map(map, 3, 24);
    char rsdp[20] = "RSD PTR ";
    add(14, rsdp, sizeof(rsdp));
    finish();
    assert_null(multiboot2_parse(block, sizeof(block), 0x9000, &boot_info));
    assert_string_equal(boot_info.cmdline, "console=ttyS0 init=/bin/sh");
    assert_string_equal(boot_info.loader, "GRUB");
    assert_int_equal(boot_info.initrd_start, 0x200000);
    assert_int_equal(boot_info.initrd_end, 0x201234);
    assert_true(boot_info.rsdp > 0x9000 && boot_info.rsdp < 0x9000 + used);
    assert_memory_equal(block + boot_info.rsdp - 0x9000, "RSD PTR ", 8);
    static const struct memory_range expected[] = {
        {0, 0x9f000, true}, {0xf0000, 0x100000, false}, {0x100000, 0x8000000, true}};
    check_ranges(expected, 3);
    (void)state;
}

static void test_overlaps(void **state) {
    // Reserved inside usable, two usable that touch, reserved over a border; larger entries than ours.
    static const uint64_t map[][3] = {{0x100000, 0x400000, 1},
                                      {0x200000, 0x1000, 2},
                                      {0x500000, 0x100000, 1},
                                      {0x5ff000, 0x10000, 3},
                                      {0x600000, 0x100000, 1}};
    begin();
    add_memory_map(map, 5, 32);
    finish();
    assert_null(multiboot2_parse(block, sizeof(block), 0, &boot_info));
    static const struct memory_range expected[] = {{0x100000, 0x200000, true},
                                                   {0x200000, 0x201000, false},
                                                   {0x201000, 0x5ff000, true},
                                                   {0x5ff000, 0x60f000, false},
                                                   {0x60f000, 0x700000, true}};
    check_ranges(expected, 5);
    (void)state;
}

static void test_partial_pages_and_wrap(void **state) {
    static const uint64_t map[][3] = {
        {0x1001, 0x2000, 1}, {0x4fff, 2, 2}, {UINT64_MAX - 0x5000, UINT64_MAX, 2}};
    begin();
    add_memory_map(map, 3, 24);
    finish();
    assert_null(multiboot2_parse(block, sizeof(block), 0, &boot_info));
    assert_int_equal(boot_info.memory[0].start, 0x2000);
    assert_int_equal(boot_info.memory[0].end, 0x3000);
    assert_int_equal(boot_info.memory[1].start, 0x4000);
    assert_int_equal(boot_info.memory[1].end, 0x6000);
    (void)state;
}

static void test_damaged(void **state) {
    assert_non_null(multiboot2_parse(block, 4, 0, &boot_info));
    begin();
    finish();
    assert_non_null(multiboot2_parse(block, sizeof(block), 0, &boot_info));
    // A tag that claims to be longer than the block ends the walk.
    begin();
    add(1, "abc", 4);
    uint32_t huge = 0xfffffff0;
    memcpy(block + 12, &huge, 4);
    finish();
    assert_non_null(multiboot2_parse(block, sizeof(block), 0, &boot_info));
    assert_string_equal(boot_info.cmdline, "");
    (void)state;
}

static void test_too_many_ranges(void **state) {
    uint8_t data[24 * 200 + 8];
    uint32_t head[2] = {24, 0};
    memcpy(data, head, 8);
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t e[3] = {i * 0x10000, 0x1000, 1 + i % 2};
        memcpy(data + 8 + i * 24, e, 24);
    }
    static uint8_t big[8192];
    uint32_t tag[] = {sizeof(data) + 16 + 8, 0, 6, sizeof(data) + 8};
    memcpy(big, tag, sizeof(tag));
    memcpy(big + sizeof(tag), data, sizeof(data));
    assert_null(multiboot2_parse(big, sizeof(big), 0, &boot_info));
    assert_int_equal(boot_info.memory_count, 128);
    (void)state;
}

static void test_cmdline(void **state) {
    strcpy(boot_info.cmdline,
           " quiet console=vga  console=ttyS0,115200 x= init=\"/bin/a b\" quietly=1 console");
    assert_true(cmdline_has("quiet"));
    assert_true(cmdline_has("quietly"));
    assert_false(cmdline_has("quie"));
    assert_false(cmdline_has("/bin/a"));
    assert_string_equal(cmdline_get("console", 0), "vga");
    assert_string_equal(cmdline_get("console", 1), "ttyS0,115200");
    assert_null(cmdline_get("console", 2));
    assert_string_equal(cmdline_get("x", 0), "");
    assert_string_equal(cmdline_get("init", 0), "/bin/a b");
    assert_null(cmdline_get("quiet", 0));
    assert_null(cmdline_get("ini", 0));
    strcpy(boot_info.cmdline, "");
    assert_null(cmdline_get("init", 0));
    assert_false(cmdline_has("init"));
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_tags),
        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_partial_pages_and_wrap),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_too_many_ranges),
        cmocka_unit_test(test_cmdline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
