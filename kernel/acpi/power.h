// Switching the machine off and starting it anew. Disks must be written before.
#pragma once
#include "lib/compiler.h"

// ACPI S5, else the port that Bochs has for it; else halts with a sentence. Any context.
noreturn void system_power_off(void);
// Reset register, port 0xcf9, keyboard controller, triple fault. Any context.
noreturn void system_restart(void);
