// Parses the few ACPI tables that the kernel needs: MADT (processors, interrupt controllers), FADT
// (power, reset, PM timer), and of the DSDT only the package \_S5_. There is no AML interpreter.
//
// Pure: physical memory is read through an accessor only, every length is checked, and nothing in the
// tables is trusted, so that tests and a fuzzer can feed it bytes. References: ACPI 6.5.
#pragma once
#include "mm/layout.h"

struct acpi_memory {
    // The bytes [addr, addr + size) for reading, or NULL when they cannot be read.
    const void *(*map)(const struct acpi_memory *m, paddr_t addr, size_t size);
};

#define ACPI_MAX_PROCESSORS 64
#define ACPI_MAX_IOAPICS    8
#define ACPI_ISA_LINES      16

struct acpi_ioapic {
    paddr_t address;
    uint32_t gsi_base;
};
struct acpi_isa_line { // where an ISA interrupt line is connected
    uint32_t gsi;
    bool level, active_low;
};

struct acpi_info {
    uint32_t processors[ACPI_MAX_PROCESSORS];     // APIC IDs of those that may be started
    unsigned processor_count, processors_ignored; // ignored: more than fit
    paddr_t lapic_address;
    struct acpi_ioapic ioapics[ACPI_MAX_IOAPICS];
    unsigned ioapic_count;
    struct acpi_isa_line isa[ACPI_ISA_LINES];
    int nmi_lint; // LINT pin of the local APICs that carries NMI; -1: none is told

    uint16_t pm_timer;     // I/O port, 0: none
    bool pm_timer_32;      // it has 32 bits, not 24
    uint16_t pm1a_control; // I/O ports, 0: none
    uint16_t pm1b_control;
    uint16_t smi_command;
    uint8_t acpi_enable; // what to write there
    bool s5_valid;       // the two values for "off"
    uint8_t s5_a, s5_b;
    uint16_t reset_port; // I/O port of the reset register, 0: none
    uint8_t reset_value;
};

// Looks for the RSDP where a BIOS leaves it (5.2.5.1). 0: not there.
paddr_t acpi_find_rsdp(const struct acpi_memory *m);
// Fills *info from the tables behind `rsdp` (0: none). Broken tables are skipped. Returns NULL, or a
// sentence that says what is missing; *info then still has sane values (ISA lines 1:1, nothing else).
const char *acpi_parse(const struct acpi_memory *m, paddr_t rsdp, struct acpi_info *info);
