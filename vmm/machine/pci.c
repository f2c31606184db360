#include "vmm/machine/pci.h"
#include <stdlib.h>
#include <string.h>
#include "vmm/machine/acpi_pm.h"
#include "vmm/machine/machine.h"

#define ADDRESS_PORT 0xcf8
#define DATA_PORT    0xcfc
#define FUNCTIONS    8
#define ENABLE       0x80000000u
#define ADDRESS_BITS 0x80fffffcu
#define NO_DEVICE    0xffffffffu

struct pci {
    struct device device;
    struct bus_range ports[2];
    uint32_t address; // as written to port CF8h
    struct pci_function *functions[PCI_SLOTS * FUNCTIONS];
    uint32_t next_memory, next_io; // where the next base address is assigned
};

uint32_t pci_get(const uint8_t *p, unsigned width) {
    uint32_t value = 0;
    memcpy(&value, p, width);
    return value;
}

void pci_put(uint8_t *p, unsigned width, uint32_t value) {
    memcpy(p, &value, width);
}

static uint16_t command(const struct pci_function *f) {
    return (uint16_t)pci_get(f->config + PCI_COMMAND, 2);
}

// ---- base address registers --------------------------------------------------------------------
static uint32_t bar_flags(const struct pci_bar *b) {
    return b->range.space == BUS_PORT ? PCI_BASE_ADDRESS_SPACE_IO : 0;
}

static void place_bar(struct pci_function *f, unsigned i) {
    struct pci_bar *b = &f->bar[i];
    if (!b->size)
        return;
    bool io = b->range.space == BUS_PORT;
    bool on = command(f) & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
    uint32_t base = pci_get(f->config + PCI_BASE_ADDRESS_0 + 4 * i, 4) & ~(b->size - 1);
    if (io && base > 0xffff)
        on = false; // the processor has no such port; sizing passes here
    if (b->mapped && (!on || b->range.base != base)) {
        bus_remove(f->machine, &b->range);
        b->mapped = false;
    }
    if (on && !b->mapped) {
        bus_move(f->machine, &b->range, base);
        b->mapped = true;
    }
}

static void place_bars(struct pci_function *f) {
    for (unsigned i = 0; i < PCI_BARS; i++)
        place_bar(f, i);
}

void pci_add_bar(struct pci_function *f, unsigned index, uint32_t size,
                 const struct bus_range *range) {
    struct pci *p = f->machine->pci;
    struct pci_bar *b = &f->bar[index];
    b->range = *range;
    b->range.size = b->size = size;
    uint32_t *next = range->space == BUS_PORT ? &p->next_io : &p->next_memory;
    uint32_t align = range->space == BUS_MEMORY && size < 4096 ? 4096 : size;
    b->assigned = (*next + align - 1) & ~(align - 1);
    *next = b->assigned + align;
    unsigned at = PCI_BASE_ADDRESS_0 + 4 * index;
    pci_put(f->initial + at, 4, b->assigned | bar_flags(b));
    pci_put(f->writable + at, 4, ~(size - 1));
    uint32_t on = range->space == BUS_PORT ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    f->initial[PCI_COMMAND] |= on;
    f->writable[PCI_COMMAND] |= on;
}

// ---- what all functions share ------------------------------------------------------------------
unsigned pci_add_capability(struct pci_function *f, uint8_t id, unsigned length) {
    unsigned at = f->capability_end;
    f->capability_end = (uint8_t)(at + ((length + 3) & ~3u));
    f->initial[at] = id;
    f->initial[at + PCI_CAP_LIST_NEXT] = f->initial[PCI_CAPABILITY_LIST];
    f->initial[PCI_CAPABILITY_LIST] = (uint8_t)at;
    f->initial[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    return at;
}

void pci_add(struct machine *m, struct pci_function *f, unsigned slot, unsigned function,
             const struct pci_identity *id) {
    f->machine = m;
    f->slot = (uint8_t)slot;
    f->function = (uint8_t)function;
    f->capability_end = 0x40;
    m->pci->functions[slot * FUNCTIONS + function] = f;
    pci_put(f->initial + PCI_VENDOR_ID, 2, id->vendor);
    pci_put(f->initial + PCI_DEVICE_ID, 2, id->device);
    pci_put(f->initial + PCI_SUBSYSTEM_VENDOR_ID, 2, id->subsystem_vendor);
    pci_put(f->initial + PCI_SUBSYSTEM_ID, 2, id->subsystem);
    pci_put(f->initial + PCI_REVISION_ID, 4, id->class_code << 8 | id->revision);
    pci_put(f->writable + PCI_COMMAND, 2,
            PCI_COMMAND_MASTER | PCI_COMMAND_SERR | PCI_COMMAND_PARITY);
    f->writable[PCI_CACHE_LINE_SIZE] = 0xff;
    f->writable[PCI_LATENCY_TIMER] = 0xff;
    if (id->pin) {
        f->initial[PCI_INTERRUPT_PIN] = id->pin;
        f->initial[PCI_INTERRUPT_LINE] = (uint8_t)irq_pci_gsi(slot, id->pin);
        f->writable[PCI_INTERRUPT_LINE] = 0xff;
        f->writable[PCI_COMMAND + 1] |= PCI_COMMAND_INTX_DISABLE >> 8;
    }
}

unsigned pci_free_slot(struct machine *m) {
    unsigned slot = 2;
    while (slot < PCI_SLOTS - 1 && m->pci->functions[slot * FUNCTIONS])
        slot++;
    return slot;
}

static void update_irq(struct pci_function *f) {
    uint8_t pin = f->config[PCI_INTERRUPT_PIN];
    if (!pin)
        return;
    if (f->irq_level)
        f->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
    else
        f->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
    irq_set_pci(f->machine, f->slot, pin, f->irq_level && !(command(f) & PCI_COMMAND_INTX_DISABLE));
}

void pci_set_irq(struct pci_function *f, bool level) {
    if (f->irq_level == level)
        return;
    f->irq_level = level;
    update_irq(f);
}

void *pci_memory(struct pci_function *f, uint64_t gpa, uint64_t n) {
    return command(f) & PCI_COMMAND_MASTER ? guest_memory(f->machine, gpa, n) : NULL;
}

void pci_reset(struct pci_function *f) {
    memcpy(f->config, f->initial, sizeof(f->config));
    f->irq_level = false;
    update_irq(f);
    place_bars(f);
}

void pci_state(struct pci_function *f, struct state_visitor *v) {
    STATE(v, f, config);
    STATE(v, f, irq_level);
}

void pci_loaded(struct pci_function *f) {
    place_bars(f);
}

// ---- configuration mechanism 1 -----------------------------------------------------------------
// The function that the address register selects, NULL: none there.
static struct pci_function *selected(const struct pci *p) {
    if (!(p->address & ENABLE) || (p->address >> 16 & 0xff))
        return NULL;
    return p->functions[p->address >> 8 & 0xff];
}

static uint64_t address_read(void *opaque, uint64_t offset, unsigned width) {
    struct pci *p = opaque;
    if (offset == 0 && width == 4)
        return p->address;
    if (offset == RESET_PORT - ADDRESS_PORT && width == 1)
        return reset_control_read(p->device.machine);
    return NO_DEVICE;
}

static void address_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    struct pci *p = opaque;
    if (offset == 0 && width == 4)
        p->address = value & ADDRESS_BITS;
    else if (offset == RESET_PORT - ADDRESS_PORT && width == 1)
        reset_control_write(p->device.machine, (uint8_t)value);
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned width) {
    struct pci *p = opaque;
    struct pci_function *f = selected(p);
    if (!f)
        return NO_DEVICE;
    unsigned at = (p->address & 0xfc) + (unsigned)offset;
    if (f->before_read)
        f->before_read(f, at, width);
    return pci_get(f->config + at, width);
}

static bool touches(unsigned offset, unsigned n, unsigned start, unsigned end) {
    return offset < end && offset + n > start;
}

static void data_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    struct pci *p = opaque;
    struct pci_function *f = selected(p);
    if (!f)
        return;
    unsigned at = (p->address & 0xfc) + (unsigned)offset;
    for (unsigned i = at; i < at + width; i++, value >>= 8) {
        uint8_t byte = value & 0xff, may = f->writable[i];
        f->config[i] = (uint8_t)((f->config[i] & ~may) | (byte & may)) & ~(byte & f->clearable[i]);
    }
    if (touches(at, width, PCI_COMMAND, PCI_COMMAND + 2))
        update_irq(f);
    if (touches(at, width, PCI_COMMAND, PCI_COMMAND + 2) ||
        touches(at, width, PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_5 + 4))
        place_bars(f);
    if (f->after_write)
        f->after_write(f, at, width);
}

// ---- device ------------------------------------------------------------------------------------
static void reset(struct device *d) {
    struct pci *p = (struct pci *)d;
    p->address = 0;
}

static void state(struct device *d, struct state_visitor *v) {
    struct pci *p = (struct pci *)d;
    STATE(v, p, address);
}

static const struct device_ops ops = {
    .name = "pci",
    .reset = reset,
    .state = state,
    .nondeterminism = "none: registers that only the guest changes",
};

void pci_create(struct machine *m) {
    struct pci *p = calloc(1, sizeof(*p));
    p->next_memory = PCI_MEMORY_WINDOW;
    p->next_io = PCI_IO_WINDOW;
    p->ports[0] = (struct bus_range){
        .space = BUS_PORT,
        .base = ADDRESS_PORT,
        .size = 4,
        .name = "pci address",
        .max_width = 4,
        .read = address_read,
        .write = address_write,
        .opaque = p,
    };
    p->ports[1] = (struct bus_range){
        .space = BUS_PORT,
        .base = DATA_PORT,
        .size = 4,
        .name = "pci data",
        .max_width = 4,
        .read = data_read,
        .write = data_write,
        .opaque = p,
    };
    m->pci = p;
    device_register(m, &p->device, &ops);
    bus_add(m, &p->ports[0]);
    bus_add(m, &p->ports[1]);
}
