// PCI enumeration and configuration access; see pci.h.
#include "drivers/pci.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "mm/heap.h"
#include "sync/spinlock.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc

enum {
    PCI_VENDOR = 0x00,
    PCI_REVISION = 0x08,
    PCI_HEADER_TYPE = 0x0e,
    PCI_SECONDARY_BUS = 0x19,
    PCI_CAPABILITIES = 0x34,
    PCI_IRQ_LINE = 0x3c,
    PCI_IRQ_PIN = 0x3d,
};
#define HEADER_MULTIFUNCTION 0x80u
#define STATUS_CAPABILITIES  0x0010u

// Address and data port belong together. Devices and drivers are only added at boot, on one
// processor: the list needs no lock.
static struct spinlock config_lock = SPINLOCK_INIT;
static struct list_node devices = LIST_INIT(devices);
static uint64_t buses_seen[4]; // bit per bus: a firmware's wrong bridge numbers must not loop us

static uint32_t config_read(unsigned bus, unsigned slot, unsigned function, unsigned offset) {
    spin_lock(&config_lock);
    outl(CONFIG_ADDRESS, 1u << 31 | bus << 16 | slot << 11 | function << 8 | (offset & 0xfc));
    uint32_t v = inl(CONFIG_DATA);
    spin_unlock(&config_lock);
    return v;
}

uint32_t pci_read32(const struct pci_device *d, unsigned offset) {
    return config_read(d->bus, d->slot, d->function, offset);
}
uint16_t pci_read16(const struct pci_device *d, unsigned offset) {
    return pci_read32(d, offset) >> (offset & 2) * 8;
}
uint8_t pci_read8(const struct pci_device *d, unsigned offset) {
    return pci_read32(d, offset) >> (offset & 3) * 8;
}

static void config_select(const struct pci_device *d, unsigned offset) {
    outl(CONFIG_ADDRESS,
         1u << 31 | d->bus << 16 | d->slot << 11 | d->function << 8 | (offset & 0xfc));
}
void pci_write32(const struct pci_device *d, unsigned offset, uint32_t v) {
    spin_lock(&config_lock);
    config_select(d, offset);
    outl(CONFIG_DATA, v);
    spin_unlock(&config_lock);
}
// A real 16-bit access: the status register beside the command register clears what is written 1.
void pci_write16(const struct pci_device *d, unsigned offset, uint16_t v) {
    spin_lock(&config_lock);
    config_select(d, offset);
    outw(CONFIG_DATA + (offset & 2), v);
    spin_unlock(&config_lock);
}

unsigned pci_find_capability(const struct pci_device *d, uint8_t id) {
    if (!(pci_read16(d, PCI_STATUS) & STATUS_CAPABILITIES))
        return 0;
    unsigned at = pci_read8(d, PCI_CAPABILITIES) & 0xfc;
    // At most 48 fit: a list that goes round in a broken device ends too.
    for (unsigned n = 0; at >= 0x40 && n < 48; n++) {
        if (pci_read8(d, at) == id)
            return at;
        at = pci_read8(d, at + 1) & 0xfc;
    }
    return 0;
}

void pci_enable(const struct pci_device *d, bool bus_master) {
    uint16_t command = pci_read16(d, PCI_COMMAND) | PCI_COMMAND_IO | PCI_COMMAND_MEMORY;
    if (bus_master)
        command |= PCI_COMMAND_MASTER;
    pci_write16(d, PCI_COMMAND, command);
}

// Writes all ones to a BAR and reads which bits stick. Decoding is off meanwhile (see caller).
static uint32_t bar_mask(const struct pci_device *d, unsigned offset) {
    uint32_t old = pci_read32(d, offset);
    pci_write32(d, offset, ~0u);
    uint32_t mask = pci_read32(d, offset);
    pci_write32(d, offset, old);
    return mask;
}

static void size_bars(struct pci_device *d) {
    unsigned count = d->header_type == 0 ? 6 : 2;
    uint16_t command = pci_read16(d, PCI_COMMAND);
    pci_write16(d, PCI_COMMAND, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    for (unsigned i = 0; i < count; i++) {
        struct pci_bar *bar = &d->bars[i];
        unsigned offset = PCI_BAR0 + 4 * i;
        uint32_t value = pci_read32(d, offset), mask = bar_mask(d, offset);
        if (mask == 0 || mask == ~0u)
            continue;
        if (value & 1) {
            bar->io = true;
            bar->base = value & 0xfffc;
            bar->size = (~(mask & 0xfffcu) & 0xffff) + 1;
            continue;
        }
        bar->prefetchable = value & 8;
        bar->base = value & ~15u;
        uint64_t wide = 0xffffffff00000000ull | (mask & ~15u);
        if ((value & 6) == 4 && i + 1 < count) {
            bar->is_64 = true;
            bar->base |= (uint64_t)pci_read32(d, offset + 4) << 32;
            wide = (uint64_t)bar_mask(d, offset + 4) << 32 | (mask & ~15u);
            i++;
        }
        bar->size = ~wide + 1;
    }
    pci_write16(d, PCI_COMMAND, command);
}

static void scan_bus(unsigned bus);

static void add_function(unsigned bus, unsigned slot, unsigned function) {
    struct pci_device *d = kzalloc(sizeof(*d));
    if (!d) {
        log_error("pci: out of memory, %02x:%02x.%x left out", bus, slot, function);
        return;
    }
    d->bus = bus;
    d->slot = slot;
    d->function = function;
    uint32_t id = pci_read32(d, PCI_VENDOR), class = pci_read32(d, PCI_REVISION);
    d->vendor = id;
    d->device = id >> 16;
    d->revision = class;
    d->interface = class >> 8;
    d->subclass = class >> 16;
    d->class = class >> 24;
    d->header_type = pci_read8(d, PCI_HEADER_TYPE) & ~HEADER_MULTIFUNCTION;
    d->irq_line = pci_read8(d, PCI_IRQ_LINE);
    d->irq_pin = pci_read8(d, PCI_IRQ_PIN);
    if (d->header_type <= 1 && d->class != 6) // sizing would cut off a host bridge for a moment
        size_bars(d);
    list_add_tail(&devices, &d->node);
    log_debug("pci: %02x:%02x.%x %04x:%04x class %02x%02x%02x irq %u", bus, slot, function,
              d->vendor, d->device, d->class, d->subclass, d->interface, d->irq_line);
    if (d->header_type == 1 && d->class == 6 && d->subclass == 4)
        scan_bus(pci_read8(d, PCI_SECONDARY_BUS));
}

static void scan_bus(unsigned bus) {
    if (buses_seen[bus / 64] & BIT(bus % 64))
        return;
    buses_seen[bus / 64] |= BIT(bus % 64);
    for (unsigned slot = 0; slot < 32; slot++) {
        if ((config_read(bus, slot, 0, PCI_VENDOR) & 0xffff) == 0xffff)
            continue;
        uint32_t header = config_read(bus, slot, 0, PCI_HEADER_TYPE & 0xfc) >> 16;
        unsigned functions = header & HEADER_MULTIFUNCTION ? 8 : 1;
        for (unsigned function = 0; function < functions; function++)
            if ((config_read(bus, slot, function, PCI_VENDOR) & 0xffff) != 0xffff)
                add_function(bus, slot, function);
    }
}

void pci_init(void) {
    // Mechanism 1 is there if its address register keeps what is written.
    outl(CONFIG_ADDRESS, 1u << 31);
    if (inl(CONFIG_ADDRESS) != 1u << 31) {
        log_warning("pci: no configuration mechanism 1, no PCI devices");
        return;
    }
    scan_bus(0);
    // Several host bridges: function n of device 0 leads to bus n.
    if (config_read(0, 0, 0, PCI_HEADER_TYPE & 0xfc) >> 16 & HEADER_MULTIFUNCTION)
        for (unsigned function = 1; function < 8; function++)
            if ((config_read(0, 0, function, PCI_VENDOR) & 0xffff) != 0xffff &&
                config_read(0, 0, function, PCI_REVISION) >> 16 == 0x0600)
                scan_bus(function);
}

unsigned pci_register_driver(const struct pci_driver *driver) {
    unsigned taken = 0;
    struct pci_device *d;
    list_for_each (d, &devices, node) {
        if (d->driver || (driver->vendor != PCI_ANY && driver->vendor != d->vendor) ||
            (driver->device != PCI_ANY && driver->device != d->device) ||
            (driver->class != PCI_ANY && driver->class != d->class) ||
            (driver->subclass != PCI_ANY && driver->subclass != d->subclass))
            continue;
        if (driver->probe(d) == 0) {
            d->driver = driver;
            taken++;
        }
    }
    return taken;
}

struct pci_device *pci_find(bool (*fn)(struct pci_device *d, void *arg), void *arg) {
    struct pci_device *d;
    list_for_each (d, &devices, node) {
        if (fn(d, arg))
            return d;
    }
    return NULL;
}
