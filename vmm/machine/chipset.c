#include "vmm/machine/chipset.h"
#include <stdlib.h>
#include <string.h>
#include "vmm/machine/machine.h"
#include "vmm/machine/pci.h"

#define INTEL        0x8086
#define I440FX_ID    0x1237
#define I440FX_PAM   0x59 // 7 registers: which of C0000h..FFFFFh are RAM
#define I440FX_SMRAM 0x72
#define PIIX3_ID     0x7000
#define PIIX3_PIRQ   0x60 // 4 registers: ISA interrupt of each PCI line

struct bridge {
    struct device device;
    struct pci_function pci;
};

static void reset(struct device *d) {
    pci_reset(&((struct bridge *)d)->pci);
}

static void state(struct device *d, struct state_visitor *v) {
    pci_state(&((struct bridge *)d)->pci, v);
}

static void loaded(struct device *d) {
    pci_loaded(&((struct bridge *)d)->pci);
}

static const struct device_ops host_ops = {
    .name = "host-bridge",
    .reset = reset,
    .state = state,
    .loaded = loaded,
    .nondeterminism = "none: registers that only the guest changes",
};

static const struct device_ops isa_ops = {
    .name = "isa-bridge",
    .reset = reset,
    .state = state,
    .loaded = loaded,
    .nondeterminism = "none: registers that only the guest changes",
};

static struct bridge *add(struct machine *m, unsigned slot, const struct pci_identity *id,
                          const struct device_ops *ops) {
    struct bridge *b = calloc(1, sizeof(*b));
    pci_add(m, &b->pci, slot, 0, id);
    b->pci.initial[PCI_COMMAND] = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    device_register(m, &b->device, ops);
    return b;
}

// The area C0000h..FFFFFh is RAM whatever these registers say; they keep what is written.
static void host_bridge(struct machine *m) {
    const struct pci_identity id = {
        .vendor = INTEL,
        .device = I440FX_ID,
        .class_code = 0x060000,
        .revision = 2,
    };
    struct pci_function *f = &add(m, 0, &id, &host_ops)->pci;
    f->initial[I440FX_PAM] = 0x30;
    memset(f->initial + I440FX_PAM + 1, 0x33, 6);
    memset(f->writable + I440FX_PAM, 0x33, 7);
    f->initial[I440FX_SMRAM] = 0x02;
    f->writable[I440FX_SMRAM] = 0x70;
}

// The routing registers hold what the board's wires are (irq.c); writing them changes no wire.
static void isa_bridge(struct machine *m) {
    const struct pci_identity id = {
        .vendor = INTEL,
        .device = PIIX3_ID,
        .class_code = 0x060100,
    };
    struct pci_function *f = &add(m, CHIPSET_ISA_SLOT, &id, &isa_ops)->pci;
    f->initial[PCI_HEADER_TYPE] = 0x80; // has more functions
    for (unsigned i = 0; i < 4; i++) {
        f->initial[PIIX3_PIRQ + i] = (uint8_t)irq_pci_gsi(0, i + 1);
        f->writable[PIIX3_PIRQ + i] = 0x8f;
    }
}

void chipset_create(struct machine *m) {
    host_bridge(m);
    isa_bridge(m);
}
