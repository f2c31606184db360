// I/O APICs: where the lines of devices end. Numbered by global system interrupt (GSI).
#pragma once
#include "lib/compiler.h"

// Finds the IOAPICs and masks every input. Boot processor.
void ioapic_init(void);
// Sends that input as `vector` to the processor with that APIC ID, and unmasks it. False: no IOAPIC
// has it.
bool ioapic_route(unsigned gsi, unsigned vector, uint32_t apic_id, bool level, bool active_low);
