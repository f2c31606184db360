// ACPI fixed hardware: PM1a event and control blocks, the PM timer, and the reset register. The machine is
// always in ACPI mode: there is no SMI command port.
#pragma once
#include <stdint.h>

struct machine;

#define ACPI_PM_BASE    0x600 // PM1a event block, 4 bytes
#define ACPI_PM_CONTROL 0x604 // PM1a control block, 2 bytes
#define ACPI_PM_TIMER   0x608 // 4 bytes
#define ACPI_SLP_TYP_S5 5
#define RESET_PORT      0xcf9
#define RESET_VALUE     6

void acpi_pm_create(struct machine *m);
// Port CF9h, which lies among those of PCI configuration.
uint8_t reset_control_read(struct machine *m);
void reset_control_write(struct machine *m, uint8_t value);
