#include "vmm/machine/msix.h"
#include <string.h>
#include "vmm/machine/machine.h"

#define PBA_OFFSET   0x800 // in the bar, after the table
#define BAR_SIZE     0x1000
#define CONTROL      (PCI_MSIX_FLAGS + 1) // high byte: enable and mask bits
#define ENTRY_MASKED 1u

bool msix_enabled(const struct msix *x) {
    return x->function->config[x->capability + CONTROL] & PCI_MSIX_FLAGS_ENABLE >> 8;
}

static bool masked(const struct msix *x, unsigned vector) {
    return (x->function->config[x->capability + CONTROL] & PCI_MSIX_FLAGS_MASKALL >> 8) ||
           (x->table[vector][3] & ENTRY_MASKED);
}

void msix_send(struct msix *x, unsigned vector) {
    if (vector >= x->count || !msix_enabled(x))
        return;
    if (masked(x, vector)) {
        x->pending |= 1u << vector;
        return;
    }
    x->pending &= ~(1u << vector);
    const uint32_t *e = x->table[vector];
    if (pci_memory(x->function, 0, 1)) // a message is a write of a bus master
        irq_message(x->function->machine, (uint64_t)e[1] << 32 | e[0], e[2]);
}

void msix_update(struct msix *x) {
    for (unsigned i = 0; i < x->count; i++)
        if ((x->pending & 1u << i) && !masked(x, i))
            msix_send(x, i);
}

static uint64_t table_read(void *opaque, uint64_t offset, unsigned width) {
    const struct msix *x = opaque;
    if (offset / 16 < x->count && width == 4)
        return x->table[offset / 16][offset / 4 % 4];
    return offset == PBA_OFFSET ? x->pending : 0;
}

static void table_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    struct msix *x = opaque;
    if (offset / 16 >= x->count || width != 4 || offset % 4)
        return;
    x->table[offset / 16][offset / 4 % 4] = (uint32_t)value;
    msix_update(x);
}

void msix_add(struct msix *x, struct pci_function *f, unsigned bar, unsigned count) {
    x->function = f;
    x->count = count;
    x->capability = pci_add_capability(f, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
    pci_put(f->initial + x->capability + PCI_MSIX_FLAGS, 2, count - 1);
    f->writable[x->capability + CONTROL] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
    pci_put(f->initial + x->capability + PCI_MSIX_TABLE, 4, bar);
    pci_put(f->initial + x->capability + PCI_MSIX_PBA, 4, PBA_OFFSET | bar);
    const struct bus_range range = {
        .space = BUS_MEMORY,
        .name = "msi-x table",
        .max_width = 4,
        .read = table_read,
        .write = table_write,
        .opaque = x,
    };
    pci_add_bar(f, bar, BAR_SIZE, &range);
}

void msix_reset(struct msix *x) {
    memset(x->table, 0, sizeof(x->table));
    for (unsigned i = 0; i < x->count; i++)
        x->table[i][3] = ENTRY_MASKED;
    x->pending = 0;
}

void msix_state(struct msix *x, struct state_visitor *v) {
    STATE(v, x, table);
    STATE(v, x, pending);
}
