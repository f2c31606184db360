// Interrupt wiring of the PC: lines to the 8259 pair and the IOAPIC, messages to local APICs.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct machine;

#define IRQ_SCI       9 // ACPI's, level triggered
#define IRQ_PCI_LINES 2

// Makes the wiring; before any controller.
void irq_create(struct machine *m);
// Level of input `gsi` (0..23). ISA devices use their IRQ number; the PIT is IRQ 0 (IOAPIC pin 2). PCI
// devices use irq_set_pci. Edges are made by the controllers from levels.
void irq_set(struct machine *m, unsigned gsi, bool level);
// A PCI function's INTx pin (1..4) of device `slot` (0..31); shared lines are ORed.
void irq_set_pci(struct machine *m, unsigned slot, unsigned pin, bool level);
// The line that such a pin is wired to: the same number at the 8259 pair and the IOAPIC, level triggered,
// active high.
unsigned irq_pci_gsi(unsigned slot, unsigned pin);
// The lines that carry level-triggered interrupts, a bit each: PCI's and the SCI.
uint32_t irq_level_lines(void);
// A message-signalled interrupt, address and data as on the bus (SDM vol. 3, "Message Signalled Interrupts").
void irq_message(struct machine *m, uint64_t address, uint32_t data);

// For the run loop: whether `c` has an interrupt (not NMI) that it would accept if its IF allows; the
// vector of the one to deliver now, which acknowledges it, or -1.
bool irq_pending(struct cpu *c);
int irq_acknowledge(struct cpu *c);
