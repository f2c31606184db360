/* sources: vmm/machine/firmware/e820.c vmm/machine/firmware/acpi.c vmm/machine/firmware/mptable.c */
// The ACPI tables of the virtual machine, read by ACPICA's own tools: each is disassembled, and what comes
// out compiles again to the same bytes, without a word of complaint.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "vmm/machine/config.h"
#include "vmm/machine/firmware/firmware.h"
#include "vmm/machine/machine.h"

#define RAM (2u << 20)

static struct config config = {.acpi = true};
static struct machine machine;
static char folder[] = "/tmp/acpi-tables-XXXXXX";

void *guest_memory(struct machine *m, uint64_t gpa, uint64_t n) {
    if (gpa >= m->low_size || n > m->low_size - gpa)
        return NULL;
    return m->ram + gpa;
}

static void write_file(const char *name, const void *data, size_t n) {
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

// Runs a shell command in the folder; prints what it says if it fails.
static void run(const char *command) {
    char line[512];
    snprintf(line, sizeof(line), "cd %s && { { %s; } > log 2>&1 || { cat log; false; } }", folder,
             command);
    assert_int_equal(system(line), 0);
}

static uint64_t number(uint64_t at, size_t n) {
    uint64_t v = 0;
    memcpy(&v, machine.ram + at, n);
    return v;
}

// iasl reports trouble in comments and on its output, and mostly exits with 0 all the same.
static void check_table(uint64_t at, const char *signature) {
    uint64_t n = number(at + 4, 4);
    assert_true(at >= FIRMWARE_TABLES && at + n <= FIRMWARE_MP);
    assert_memory_equal(machine.ram + at, signature, 4);
    write_file("t.dat", machine.ram + at, n);
    run("rm -f t.dsl && iasl -d t.dat > said 2>&1 && ! grep -iE 'error|warning|invalid' said");
    run("test -s t.dsl && ! grep -iE 'error|warning|invalid|incorrect|unknown' t.dsl");
    run("iasl -p again t.dsl > said 2>&1 && grep '0 Errors, 0 Warnings' said");
    run("cmp -i 36 t.dat again.aml"); // behind the header, which names the compiler
}

static void check_all(unsigned cpus) {
    machine = (struct machine){.config = &config,
                               .ram = calloc(1, RAM),
                               .ram_size = RAM,
                               .low_size = RAM,
                               .cpu_count = cpus};
    assert_non_null(machine.ram);
    firmware_write(&machine);
    assert_memory_equal(machine.ram + FIRMWARE_RSDP, "RSD PTR ", 8);
    uint64_t rsdt = number(FIRMWARE_RSDP + 16, 4), xsdt = number(FIRMWARE_RSDP + 24, 8);
    check_table(rsdt, "RSDT");
    check_table(xsdt, "XSDT");
    uint64_t fadt = number(xsdt + 36, 8), madt = number(xsdt + 44, 8);
    assert_int_equal(number(rsdt + 36, 4), fadt);
    assert_int_equal(number(rsdt + 40, 4), madt);
    check_table(fadt, "FACP");
    check_table(madt, "APIC");
    check_table(number(fadt + 36, 4), "FACS");
    check_table(number(fadt + 40, 4), "DSDT");
    assert_int_equal(number(fadt + 132, 8), number(fadt + 36, 4));
    assert_int_equal(number(fadt + 140, 8), number(fadt + 40, 4));
    free(machine.ram);
}

static void one_processor(void **state) {
    check_all(1);
}
static void two_processors(void **state) {
    check_all(2);
}
static void sixteen_processors(void **state) {
    check_all(16);
}

static int make_folder(void **state) {
    return mkdtemp(folder) ? 0 : -1;
}
static int remove_folder(void **state) {
    char line[64];
    snprintf(line, sizeof(line), "rm -r %s", folder);
    return system(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_processor),
        cmocka_unit_test(two_processors),
        cmocka_unit_test(sixteen_processors),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
