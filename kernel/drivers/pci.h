// PCI: what is on the buses, and access to configuration space (mechanism 1: ports CF8/CFC; PCI
// Local Bus Specification 3.0, section 3.2.2.3.2).
#pragma once
#include "lib/list.h"
#include "mm/layout.h"

struct pci_bar {
    uint64_t base; // port number or physical address
    uint64_t size; // bytes; 0: not implemented
    bool io;       // ports, else memory
    bool is_64;    // uses the next slot too (which then has size 0)
    bool prefetchable;
};

struct pci_driver;

// A function of a device. Everything here is fixed after pci_init().
struct pci_device {
    uint8_t bus, slot, function;
    uint16_t vendor, device;
    uint8_t class, subclass, interface, revision;
    uint8_t header_type; // 0: device, 1: bridge
    uint8_t irq_line;    // as the firmware routed it to the 8259s; 0 or 255: none
    uint8_t irq_pin;     // 1–4: INTA–INTD; 0: none
    struct pci_bar bars[6];
    const struct pci_driver *driver; // NULL: nobody wanted it
    struct list_node node;
};

// Which devices a driver wants: PCI_ANY matches all.
#define PCI_ANY 0xffffu
struct pci_driver {
    const char *name;
    uint16_t vendor, device;
    uint16_t class, subclass;
    // Takes the device (0) or leaves it (-errno, and says why in the log).
    int (*probe)(struct pci_device *d);
};

// Registers of the header that drivers need.
enum {
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_BAR0 = 0x10,
};
#define PCI_COMMAND_IO      0x0001u
#define PCI_COMMAND_MEMORY  0x0002u
#define PCI_COMMAND_MASTER  0x0004u
#define PCI_CAPABILITY_MSI  0x05u
#define PCI_CAPABILITY_PCIE 0x10u
#define PCI_CAPABILITY_MSIX 0x11u

// Finds every device of every bus reachable through bridges. Logs one line each at debug level.
// Boot only.
void pci_init(void);
// Offers `driver` every device that matches and has no driver yet; returns how many it took. Boot.
unsigned pci_register_driver(const struct pci_driver *driver);
// Calls fn for each device until it returns true; returns that device or NULL.
struct pci_device *pci_find(bool (*fn)(struct pci_device *d, void *arg), void *arg);

// Configuration space of a device: `offset` < 256, aligned to the size. Any context.
uint8_t pci_read8(const struct pci_device *d, unsigned offset);
uint16_t pci_read16(const struct pci_device *d, unsigned offset);
uint32_t pci_read32(const struct pci_device *d, unsigned offset);
void pci_write16(const struct pci_device *d, unsigned offset, uint16_t v);
void pci_write32(const struct pci_device *d, unsigned offset, uint32_t v);
// Offset of a capability, 0: the device does not have it.
unsigned pci_find_capability(const struct pci_device *d, uint8_t id);
// Lets the device answer on its BARs and do DMA.
void pci_enable(const struct pci_device *d, bool bus_master);
