#include "vmm/machine/irq.h"
#include "vmm/machine/ioapic.h"
#include "vmm/machine/lapic.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/pic.h"

// The PCI interrupt lines, as the board wires them.
static const uint8_t pci_line_gsi[IRQ_PCI_LINES] = {10, 11};

static void reset(struct device *d) {
    struct machine *m = d->machine;
    for (unsigned i = 0; i < IRQ_PCI_LINES; i++)
        m->pci_lines[i] = 0;
}

static void state(struct device *d, struct state_visitor *v) {
    struct machine *m = d->machine;
    STATE(v, m, pci_lines);
}

static const struct device_ops ops = {
    .name = "irq",
    .reset = reset,
    .state = state,
    .nondeterminism = "none: wires between devices",
};

void irq_create(struct machine *m) {
    device_register(m, &m->irq_device, &ops);
}

void irq_set(struct machine *m, unsigned gsi, bool level) {
    if (gsi < 16 && gsi != 2)
        pic_set(m->pic, gsi, level);
    ioapic_set(m->ioapic, gsi == 0 ? IOAPIC_TIMER_PIN : gsi, level);
}

// The usual rotation, so that devices share the lines evenly.
static unsigned pci_line(unsigned slot, unsigned pin) {
    return (slot + pin - 1) % IRQ_PCI_LINES;
}

unsigned irq_pci_gsi(unsigned slot, unsigned pin) {
    return pci_line_gsi[pci_line(slot, pin)];
}

uint32_t irq_level_lines(void) {
    uint32_t lines = 1u << IRQ_SCI;
    for (unsigned i = 0; i < IRQ_PCI_LINES; i++)
        lines |= 1u << pci_line_gsi[i];
    return lines;
}

void irq_set_pci(struct machine *m, unsigned slot, unsigned pin, bool level) {
    unsigned line = pci_line(slot, pin);
    uint32_t bit = 1u << (slot & 31), sources = m->pci_lines[line];
    m->pci_lines[line] = level ? sources | bit : sources & ~bit;
    irq_set(m, pci_line_gsi[line], m->pci_lines[line] != 0);
}

void irq_message(struct machine *m, uint64_t address, uint32_t data) {
    if (address >> 20 != 0xfee) {
        machine_trace(m, "interrupt message to 0x%lx, which is not an APIC's address", address);
        return;
    }
    struct apic_message message = {
        .destination = address >> 12 & 0xff,
        .logical = address & 4,
        .delivery = data >> 8 & 7,
        .vector = data & 0xff,
        .level = data >> 14 & 1,
        .level_triggered = data >> 15 & 1,
    };
    lapic_send(m, &message);
}

static bool pic_reaches(struct cpu *c) {
    return pic_output(c->machine->pic) &&
           (lapic_accepts_extint(c->lapic) ||
            ioapic_accepts_extint(c->machine->ioapic, lapic_id(c->lapic)));
}

bool irq_pending(struct cpu *c) {
    return lapic_pending(c->lapic) >= 0 || pic_reaches(c);
}

int irq_acknowledge(struct cpu *c) {
    if (pic_reaches(c)) // external interrupts bypass the local APIC's priorities
        return pic_acknowledge(c->machine->pic);
    return lapic_acknowledge(c->lapic);
}
