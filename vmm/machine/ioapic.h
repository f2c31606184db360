// I/O APIC with 24 inputs (Intel 82093AA data sheet; version 20h with an EOI register).
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define IOAPIC_BASE      0xfec00000u
#define IOAPIC_PINS      24
#define IOAPIC_TIMER_PIN 2 // IRQ 0, the 8254's, arrives there

struct ioapic;
struct machine;

void ioapic_create(struct machine *m);
// Level of an input.
void ioapic_set(struct ioapic *io, unsigned pin, bool level);
// A local APIC ended a level-triggered interrupt: entries with this vector may send again.
void ioapic_eoi(struct ioapic *io, uint8_t vector);
// A local APIC takes what it refused before, or answers to another address: levels that wait are sent.
void ioapic_retry(struct ioapic *io);
// Whether pin 0, which carries the 8259 pair's output too, hands it to processor `apic_id`.
bool ioapic_accepts_extint(const struct ioapic *io, uint32_t apic_id);
