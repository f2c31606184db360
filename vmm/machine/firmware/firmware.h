// What a PC's firmware leaves in memory for an operating system: memory map, ACPI tables, MultiProcessor
// tables, BIOS data area. There is no firmware code but handlers of real mode's interrupts: a guest that calls the BIOS
// is told so.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct machine;

// Addresses of the tables, in the area 0xE0000–0xFFFFF that is reserved in the memory map.
#define FIRMWARE_START   0xe0000u
#define FIRMWARE_RSDP    0xe0000u // on a 16-byte boundary, as the search of ACPI 5.2.5.1 wants
#define FIRMWARE_TABLES  0xe0040u
#define FIRMWARE_MP      0xf0000u
#define FIRMWARE_VECTORS 0xfe000u // handlers of the interrupts of real mode, 16 bytes each
#define EBDA_START       0x9fc00u

enum { E820_USABLE = 1, E820_RESERVED = 2, E820_ACPI = 3 };
#define E820_MAX 8
struct e820_entry {
    uint64_t start, size;
    uint32_t type;
};
// The memory map, sorted; returns the number of entries.
unsigned e820_build(const struct machine *m, struct e820_entry map[E820_MAX]);

// Writes all tables and the BIOS data area into guest memory. At every reset, before the loader.
void firmware_write(struct machine *m);
void acpi_write(struct machine *m); // RSDP, RSDT, XSDT, FADT, FACS, MADT, DSDT (ACPI 6.4 chapter 5)
void mptable_write(struct machine *m); // MultiProcessor Specification 1.4 chapter 4
// Makes the bytes of a table sum to zero: the value of its checksum byte, which must be 0 now.
uint8_t firmware_checksum(const void *table, size_t n);
