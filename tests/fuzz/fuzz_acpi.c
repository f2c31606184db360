/* sources: kernel/acpi/tables.c kernel/acpi/madt.c */
// Any bytes as the memory in which the firmware's tables lie. Checksums are repaired by the accessor,
// or the fuzzer would never get past them.
#include <stdlib.h>
#include <string.h>
#include "acpi/tables.h"

static const uint8_t *memory;
static size_t memory_size;
static void *copies[64];
static unsigned copy_count;

static void repair(uint8_t *p, size_t n, size_t at) {
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += p[i];
    p[at] -= sum;
}

static const void *map(const struct acpi_memory *m, paddr_t addr, size_t size) {
    if (addr > memory_size || size > memory_size - addr || copy_count == 64)
        return NULL;
    uint8_t *copy = malloc(size);
    memcpy(copy, memory + addr, size);
    copies[copy_count++] = copy;
    if (addr == 1 && size >= 20) {
        memcpy(copy, "RSD PTR ", 8);
        repair(copy, 20, 8);
        if (size >= 36)
            repair(copy, 36, 32);
    } else if (size >= 36) {
        repair(copy, size, 9);
    }
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct acpi_memory access = {map};
    struct acpi_info info;
    memory = data;
    memory_size = size;
    acpi_find_rsdp(&access);
    // RSDP at address 1: 0 would mean "none".
    acpi_parse(&access, 1, &info);
    if (info.processor_count > ACPI_MAX_PROCESSORS || info.ioapic_count > ACPI_MAX_IOAPICS)
        abort();
    while (copy_count)
        free(copies[--copy_count]);
    return 0;
}
