/* sources: kernel/acpi/tables.c kernel/acpi/madt.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "acpi/tables.h"

// Physical memory: 1 MB. Every read is a copy of exactly the bytes asked for, so that ASan finds any
// access beyond them.
static uint8_t memory[MIB];
static void *copies[256];
static unsigned copy_count;

static const void *map(const struct acpi_memory *m, paddr_t addr, size_t size) {
    if (addr > sizeof(memory) || size > sizeof(memory) - addr || copy_count == 256)
        return NULL;
    copies[copy_count] = malloc(size);
    memcpy(copies[copy_count], memory + addr, size);
    return copies[copy_count++];
}
static const struct acpi_memory access = {map};

static int reset(void **state) {
    memset(memory, 0, sizeof(memory));
    while (copy_count)
        free(copies[--copy_count]);
    return 0;
}

static void checksum(uint8_t *p, size_t n, size_t at) {
    p[at] = 0;
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += p[i];
    p[at] = -sum;
}

static void table(paddr_t addr, const char *signature, const void *body, uint32_t size) {
    uint8_t *t = memory + addr;
    uint32_t length = size + 36;
    memcpy(t, signature, 4);
    memcpy(t + 4, &length, 4);
    memcpy(t + 36, body, size);
    checksum(t, length, 9);
}

#define RSDP 0xe0010
static void rsdp(uint8_t revision, uint32_t rsdt, uint64_t xsdt) {
    uint8_t *r = memory + RSDP;
    memcpy(r, "RSD PTR ", 8);
    r[15] = revision;
    memcpy(r + 16, &rsdt, 4);
    checksum(r, 20, 8);
    uint32_t length = 36;
    memcpy(r + 20, &length, 4);
    memcpy(r + 24, &xsdt, 8);
    checksum(r, 36, 32);
}

static const uint8_t madt_body[] = {
    0x00, 0x00, 0xe0, 0xfe, 1, 0,    0,    0, // local APIC address, 8259s present
    0,    8,    0,    0,    1, 0,    0,    0, // processor 0
    0,    8,    1,    2,    1, 0,    0,    0, // processor with APIC ID 2
    0,    8,    2,    4,    0, 0,    0,    0, // disabled
    9,    16,   0,    0,    2, 0,    0,    0,    1,  0, 0, 0, 1, 0, 0, 0, // ID 2 again
    9,    16,   0,    0,    0, 1,    0,    0,    1,  0, 0, 0, 2, 0, 0, 0, // x2APIC ID 256
    1,    12,   0,    0,    0, 0,    0xc0, 0xfe, 0,  0, 0, 0,             // IOAPIC
    2,    10,   0,    0,    2, 0,    0,    0,    0,  0,                   // IRQ 0 is GSI 2
    2,    10,   0,    9,    9, 0,    0,    0,    15, 0,       // IRQ 9: level, active low
    2,    10,   0,    99,   9, 0,    0,    0,    15, 0,       // not an ISA line
    4,    6,    0xff, 0,    0, 1,                             // NMI on LINT1
    5,    12,   0,    0,    0, 0x10, 0xe0, 0xfe, 0,  0, 0, 0, // local APIC elsewhere
    77,   3,    0,                                            // unknown
};

static uint32_t fadt_body[(244 - 36) / 4 + 1];
static void put_fadt(paddr_t addr, uint32_t dsdt) {
    uint8_t *f = (uint8_t *)fadt_body;
    memset(f, 0, sizeof(fadt_body));
    uint32_t pm1a = 0x604, timer = 0x608, flags = 1u << 8 | 1u << 10, smi = 0xb2;
    memcpy(f + 40 - 36, &dsdt, 4);
    memcpy(f + 48 - 36, &smi, 4);
    f[52 - 36] = 0xf1;
    memcpy(f + 64 - 36, &pm1a, 4);
    memcpy(f + 76 - 36, &timer, 4);
    memcpy(f + 112 - 36, &flags, 4);
    f[116 - 36] = 1; // reset register: I/O 0xcf9
    f[120 - 36] = 0xf9;
    f[121 - 36] = 0x0c;
    f[128 - 36] = 6;
    table(addr, "FACP", f, 244 - 36);
}

static const uint8_t dsdt_body[] = {0x10, 0x20, '_', 'S',  '5', '_',  0x99, // not a package
                                    0x08, '_',  'S', '5',  '_', 0x12, 0x06,
                                    0x04, 0x0a, 5,   0x01, 0,   0};

static void put_all(bool xsdt) {
    table(0x1000, "APIC", madt_body, sizeof(madt_body));
    put_fadt(0x2000, 0x3000);
    table(0x3000, "DSDT", dsdt_body, sizeof(dsdt_body));
    uint32_t rsdt[] = {0x9999999, 0x1000, 0x2000};
    uint64_t xs[] = {0x2000, 0, 0x1000};
    table(0x4000, "RSDT", rsdt, sizeof(rsdt));
    table(0x5000, "XSDT", xs, sizeof(xs));
    rsdp(xsdt ? 2 : 0, 0x4000, 0x5000);
}

static void check_all(const struct acpi_info *info) {
    assert_int_equal(info->processor_count, 3);
    assert_int_equal(info->processors[1], 2);
    assert_int_equal(info->processors[2], 256);
    assert_int_equal(info->lapic_address, 0xfee01000);
    assert_int_equal(info->ioapic_count, 1);
    assert_int_equal(info->ioapics[0].address, 0xfec00000);
    assert_int_equal(info->isa[0].gsi, 2);
    assert_false(info->isa[0].level);
    assert_int_equal(info->isa[1].gsi, 1);
    assert_true(info->isa[9].level && info->isa[9].active_low);
    assert_int_equal(info->nmi_lint, 1);
    assert_int_equal(info->pm_timer, 0x608);
    assert_true(info->pm_timer_32);
    assert_int_equal(info->pm1a_control, 0x604);
    assert_int_equal(info->acpi_enable, 0xf1);
    assert_true(info->s5_valid);
    assert_int_equal(info->s5_a, 5);
    assert_int_equal(info->s5_b, 1);
    assert_int_equal(info->reset_port, 0xcf9);
    assert_int_equal(info->reset_value, 6);
}

static void test_rsdt_and_xsdt(void **state) {
    struct acpi_info info;
    for (int xsdt = 0; xsdt < 2; xsdt++) {
        reset(NULL);
        put_all(xsdt);
        assert_int_equal(acpi_find_rsdp(&access), RSDP);
        assert_null(acpi_parse(&access, RSDP, &info));
        check_all(&info);
    }
    (void)state;
}

static void test_rsdp_in_ebda(void **state) {
    put_all(false);
    memcpy(memory + 0x9fc20, memory + RSDP, 36);
    memory[0x40e] = 0xc0;
    memory[0x40f] = 0x9f;
    assert_int_equal(acpi_find_rsdp(&access), 0x9fc20);
    memory[RSDP] ^= 1;
    memory[0x9fc21] ^= 1;
    assert_int_equal(acpi_find_rsdp(&access), 0);
    (void)state;
}

static void test_damaged_xsdt_falls_back(void **state) {
    struct acpi_info info;
    put_all(true);
    memory[0x5000 + 40] ^= 1; // checksum
    assert_null(acpi_parse(&access, RSDP, &info));
    check_all(&info);
    (void)state;
}

static void test_missing(void **state) {
    struct acpi_info info;
    assert_non_null(acpi_parse(&access, 0, &info));
    assert_int_equal(info.isa[7].gsi, 7);
    assert_non_null(acpi_parse(&access, 0xffffff0, &info));
    put_all(false);
    memory[0x1000 + 50] ^= 1; // MADT damaged: the rest is there
    assert_non_null(acpi_parse(&access, RSDP, &info));
    assert_int_equal(info.processor_count, 0);
    assert_int_equal(info.pm_timer, 0x608);
    (void)state;
}

static void test_madt_cut_at_every_byte(void **state) {
    struct acpi_info info;
    for (uint32_t n = 0; n <= sizeof(madt_body); n++) {
        reset(NULL);
        put_all(false);
        memset(memory + 0x1000, 0, 0x1000);
        table(0x1000, "APIC", madt_body, n);
        acpi_parse(&access, RSDP, &info);
        assert_true(info.processor_count <= 3);
    }
    (void)state;
}

static void test_many_processors(void **state) {
    uint8_t body[8 + 8 * 100] = {0};
    for (unsigned i = 0; i < 100; i++) {
        uint8_t entry[8] = {0, 8, 0, i, 1};
        memcpy(body + 8 + i * 8, entry, 8);
    }
    struct acpi_info info;
    put_all(false);
    table(0x6000, "APIC", body, sizeof(body));
    uint32_t rsdt[] = {0x6000};
    table(0x4000, "RSDT", rsdt, sizeof(rsdt));
    assert_null(acpi_parse(&access, RSDP, &info));
    assert_int_equal(info.processor_count, ACPI_MAX_PROCESSORS);
    assert_int_equal(info.processors_ignored, 100 - ACPI_MAX_PROCESSORS);
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rsdt_and_xsdt, reset, reset),
        cmocka_unit_test_setup_teardown(test_rsdp_in_ebda, reset, reset),
        cmocka_unit_test_setup_teardown(test_damaged_xsdt_falls_back, reset, reset),
        cmocka_unit_test_setup_teardown(test_missing, reset, reset),
        cmocka_unit_test_setup_teardown(test_madt_cut_at_every_byte, reset, reset),
        cmocka_unit_test_setup_teardown(test_many_processors, reset, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
