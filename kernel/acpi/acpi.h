// What the firmware's tables say about this machine, and switching it off.
#pragma once
#include "acpi/tables.h"

// Valid after acpi_init(); never changes.
extern struct acpi_info acpi_info;
