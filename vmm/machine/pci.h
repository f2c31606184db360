// The PCI bus of the machine: one bus 0 behind configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2),
// and what all functions share: configuration space, base address registers, interrupts, capabilities.
//
// There is no firmware in the guest, so reset leaves what a BIOS would: base addresses assigned, I/O
// and memory decoding on, the interrupt line register filled in.
#pragma once
#include <linux/pci_regs.h>
#include "vmm/machine/bus.h"
#include "vmm/machine/state.h"

struct machine;
struct pci_function;

// Windows that base addresses come from. The firmware's tables name the same.
#define PCI_MEMORY_WINDOW 0xc0000000u // to fec00000h
#define PCI_IO_WINDOW     0xc000u     // to 10000h
#define PCI_SLOTS         32
#define PCI_BARS          6

struct pci_bar {
    struct bus_range range; // base and whether it is on the bus follow the registers
    uint32_t size;          // 0: no such register
    uint32_t assigned;      // base address after reset
    bool mapped;
};

struct pci_function {
    struct machine *machine;
    uint8_t slot, function;
    uint8_t config[256];
    uint8_t initial[256];   // config after reset
    uint8_t writable[256];  // bits that the guest may change
    uint8_t clearable[256]; // bits that writing 1 clears
    struct pci_bar bar[PCI_BARS];
    uint8_t capability_end; // where the next capability goes
    bool irq_level;         // what the function asserts, before masks
    // Optional: before the guest reads, and after it wrote, [offset, offset+n) of config.
    void (*before_read)(struct pci_function *f, unsigned offset, unsigned n);
    void (*after_write)(struct pci_function *f, unsigned offset, unsigned n);
    void *opaque; // of the owner, for these
};

// Puts the configuration ports on the bus; before any function.
void pci_create(struct machine *m);

// Identity of a function.
struct pci_identity {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; // class, subclass, programming interface: 24 bits
    uint8_t revision;
    uint8_t pin; // INTx: 1..4, 0: none
};
// Adds a function. Its owner then adds bars and capabilities, changes `initial` and `writable` where it
// has more, and calls pci_reset() and pci_state() from its own operations.
void pci_add(struct machine *m, struct pci_function *f, unsigned slot, unsigned function,
             const struct pci_identity *id);
// The lowest slot without a function from 2 on.
unsigned pci_free_slot(struct machine *m);
// Base address register `index` of `size` bytes (a power of two, at least 4). `range` gives space, name,
// max_width, handlers and opaque; base and size are filled in.
void pci_add_bar(struct pci_function *f, unsigned index, uint32_t size,
                 const struct bus_range *range);
// Room for a capability of `length` bytes incl. its two header bytes: its offset in configuration space.
unsigned pci_add_capability(struct pci_function *f, uint8_t id, unsigned length);

void pci_reset(struct pci_function *f);
void pci_state(struct pci_function *f, struct state_visitor *v);
void pci_loaded(struct pci_function *f); // puts the bars where the loaded registers say
// Level of the function's INTx.
void pci_set_irq(struct pci_function *f, bool level);
// Host address of guest memory for a transfer by the function; NULL when it is not all RAM or the
// function may not be bus master.
void *pci_memory(struct pci_function *f, uint64_t gpa, uint64_t n);

// Little-endian fields of configuration space.
uint32_t pci_get(const uint8_t *p, unsigned width);
void pci_put(uint8_t *p, unsigned width, uint32_t value);
