// Inside acpi/ only: the multiple APIC description table.
#pragma once
#include "acpi/tables.h"

struct acpi_header { // 5.2.6
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[6], oem_table[8];
    uint32_t oem_revision, creator, creator_revision;
} packed;

// Reads the MADT of `size` bytes (at least a header, checksum verified) into *info.
void madt_parse(const void *table, uint32_t size, struct acpi_info *info);
