// MultiProcessor tables (Intel MultiProcessor Specification 1.4, chapter 4), for kernels without ACPI.
#include <string.h>
#include "vmm/machine/firmware/firmware.h"
#include "vmm/machine/ioapic.h"
#include "vmm/machine/irq.h"
#include "vmm/machine/lapic.h"
#include "vmm/machine/machine.h"

#define PACKED __attribute__((packed))
enum { BUS_ISA_ID = 1, BUS_PCI_ID = 0 };
enum { INT = 0, NMI = 1, EXTINT = 3 };
// Interrupt flags, table 4-10: polarity and trigger as the bus; PCI: active low, level.
enum { AS_BUS = 0, LOW_LEVEL = 0x0f, HIGH_LEVEL = 0x0d };

struct PACKED floating_pointer { // 4.1
    char signature[4];
    uint32_t table;
    uint8_t length, revision, checksum, features[5];
};
struct PACKED mp_header { // 4.2
    char signature[4];
    uint16_t length;
    uint8_t revision, checksum;
    char oem[8], product[12];
    uint32_t oem_table;
    uint16_t oem_size, entries;
    uint32_t lapic;
    uint16_t extended_length;
    uint8_t extended_checksum, reserved;
};
struct PACKED mp_processor { // 4.3.1
    uint8_t type, apic_id, apic_version, flags;
    uint32_t signature, features, reserved[2];
};

struct writer {
    uint8_t *at;
    uint16_t entries;
};

static void append(struct writer *w, const void *entry, size_t n) {
    memcpy(w->at, entry, n);
    w->at += n;
    w->entries++;
}

static void bus(struct writer *w, uint8_t id, const char *name) {
    uint8_t e[8] = {1, id};
    memcpy(e + 2, name, 6);
    append(w, e, sizeof(e));
}

// 4.3.4: from a bus to the IOAPIC; 4.3.5 (type 4): to the local APICs.
static void interrupt(struct writer *w, uint8_t type, uint8_t kind, uint16_t flags, uint8_t bus_id,
                      uint8_t source, uint8_t apic, uint8_t input) {
    const uint8_t e[8] = {type,   kind,   (uint8_t)flags, (uint8_t)(flags >> 8),
                          bus_id, source, apic,           input};
    append(w, e, sizeof(e));
}

static void processors(struct machine *m, struct writer *w) {
    for (unsigned i = 0; i < m->cpu_count; i++) {
        // Flags: usable, and the first is the boot processor. Features: FPU, CX8, APIC.
        const struct mp_processor p = {.type = 0,
                                       .apic_id = (uint8_t)i,
                                       .apic_version = 0x14,
                                       .flags = i == 0 ? 3 : 1,
                                       .signature = 0x600,
                                       .features = 0x301};
        append(w, &p, sizeof(p));
    }
}

static void interrupts(struct writer *w, uint8_t ioapic) {
    for (uint8_t irq = 0; irq < 16; irq++) {
        bool pci = irq == 10 || irq == 11;
        if (irq != 2 && !pci)
            interrupt(w, 3, INT, irq == IRQ_SCI ? HIGH_LEVEL : AS_BUS, BUS_ISA_ID, irq, ioapic,
                      irq ? irq : IOAPIC_TIMER_PIN);
    }
    for (uint8_t slot = 0; slot < 32; slot++)
        for (uint8_t pin = 0; pin < 4; pin++)
            interrupt(w, 3, INT, LOW_LEVEL, BUS_PCI_ID, (uint8_t)(slot << 2 | pin), ioapic,
                      10 + ((slot + pin) & 1));
    interrupt(w, 4, EXTINT, AS_BUS, BUS_ISA_ID, 0, 0xff, 0);
    interrupt(w, 4, NMI, AS_BUS, BUS_ISA_ID, 0, 0xff, 1);
}

void mptable_write(struct machine *m) {
    uint8_t ioapic_id = (uint8_t)m->cpu_count;
    struct floating_pointer f = {.table = FIRMWARE_MP + 16, .length = 1, .revision = 4};
    memcpy(f.signature, "_MP_", 4);
    f.checksum = firmware_checksum(&f, sizeof(f));
    memcpy(guest_memory(m, FIRMWARE_MP, sizeof(f)), &f, sizeof(f));

    uint8_t *table = guest_memory(m, FIRMWARE_MP + 16, 4096);
    struct writer w = {table + sizeof(struct mp_header), 0};
    processors(m, &w);
    bus(&w, BUS_PCI_ID, "PCI   ");
    bus(&w, BUS_ISA_ID, "ISA   ");
    uint8_t ioapic[8] = {2, ioapic_id, 0x20, 1};
    const uint32_t base = IOAPIC_BASE;
    memcpy(ioapic + 4, &base, 4);
    append(&w, ioapic, sizeof(ioapic));
    interrupts(&w, ioapic_id);

    struct mp_header h = {.length = (uint16_t)(w.at - table),
                          .revision = 4,
                          .entries = w.entries,
                          .lapic = LAPIC_BASE};
    memcpy(h.signature, "PCMP", 4);
    memcpy(h.oem, "CHRONO  ", 8);
    memcpy(h.product, "MACHINE     ", 12);
    memcpy(table, &h, sizeof(h));
    ((struct mp_header *)table)->checksum = firmware_checksum(table, h.length);
}
