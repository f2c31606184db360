#include "vmm/machine/ioapic.h"
#include <stdlib.h>
#include "vmm/machine/lapic.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/pit.h"

#define REG_SELECT 0x00
#define REG_WINDOW 0x10
#define REG_EOI    0x40

#define INDEX_ID          0
#define INDEX_VERSION     1
#define INDEX_ARBITRATION 2
#define INDEX_TABLE       0x10

// Redirection table entries.
#define ENTRY_VECTOR(e)   ((uint8_t)(e))
#define ENTRY_DELIVERY(e) ((e) >> 8 & 7)
#define ENTRY_LOGICAL     (1ull << 11)
#define ENTRY_STATUS      (1ull << 12) // delivery status: sent at once, so always 0
#define ENTRY_REMOTE_IRR  (1ull << 14)
#define ENTRY_LEVEL       (1ull << 15)
#define ENTRY_MASKED      (1ull << 16)
#define ENTRY_WRITABLE    (0xff0000000001ffffull & ~(ENTRY_STATUS | ENTRY_REMOTE_IRR))

struct ioapic {
    struct device device;
    uint8_t select;
    uint8_t id;     // of 8 bits, as those of the local APICs, since it is the number behind theirs
    uint32_t lines; // levels of the inputs: 1 means asserted, whatever the polarity of the wire
    uint64_t entries[IOAPIC_PINS];
    struct bus_range range;
};

static struct apic_message message_of(uint64_t entry) {
    return (struct apic_message){
        .destination = entry >> 56,
        .logical = entry & ENTRY_LOGICAL,
        .delivery = ENTRY_DELIVERY(entry),
        .vector = ENTRY_VECTOR(entry),
        .level = true,
        .level_triggered = entry & ENTRY_LEVEL,
    };
}

static void send(struct ioapic *io, unsigned pin) {
    uint64_t *entry = &io->entries[pin];
    if (ENTRY_DELIVERY(*entry) == APIC_EXTINT) // handled by whoever asks ioapic_accepts_extint()
        return;
    struct apic_message message = message_of(*entry);
    // Only fixed and lowest-priority interrupts are ended by an EOI.
    bool ended = message.delivery == APIC_FIXED || message.delivery == APIC_LOWEST;
    if (lapic_send(io->device.machine, &message) && (*entry & ENTRY_LEVEL) && ended)
        *entry |= ENTRY_REMOTE_IRR;
}

// A level-triggered entry sends when its input is asserted and nothing of it is in service.
static void serve_level(struct ioapic *io, unsigned pin) {
    uint64_t entry = io->entries[pin];
    if ((entry & ENTRY_LEVEL) && !(entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)) &&
        (io->lines & 1u << pin))
        send(io, pin);
}

void ioapic_set(struct ioapic *io, unsigned pin, bool level) {
    uint32_t bit = 1u << pin;
    bool rises = level && !(io->lines & bit);
    io->lines = level ? io->lines | bit : io->lines & ~bit;
    uint64_t entry = io->entries[pin];
    if (entry & ENTRY_LEVEL)
        serve_level(io, pin);
    else if (rises &&
             !(entry & ENTRY_MASKED)) // an edge at a masked input is lost (data sheet, 3.2.4)
        send(io, pin);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector) {
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *entry = &io->entries[pin];
        if (ENTRY_VECTOR(*entry) == vector && (*entry & ENTRY_REMOTE_IRR)) {
            *entry &= ~ENTRY_REMOTE_IRR;
            serve_level(io, pin);
        }
    }
}

void ioapic_retry(struct ioapic *io) {
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        serve_level(io, pin);
}

bool ioapic_accepts_extint(const struct ioapic *io, uint32_t apic_id) {
    uint64_t entry = io->entries[0];
    return !(entry & (ENTRY_MASKED | ENTRY_LOGICAL)) && ENTRY_DELIVERY(entry) == APIC_EXTINT &&
           entry >> 56 == apic_id;
}

// ---- registers ---------------------------------------------------------------------------------
static void write_entry(struct ioapic *io, unsigned index, uint32_t value) {
    unsigned pin = (index - INDEX_TABLE) / 2;
    if (pin >= IOAPIC_PINS)
        return;
    uint64_t *entry = &io->entries[pin];
    uint64_t written = index & 1 ? (uint64_t)value << 32 | (uint32_t)*entry
                                 : (*entry & ~0xffffffffull) | value;
    *entry = (written & ENTRY_WRITABLE) | (*entry & ENTRY_REMOTE_IRR);
    if (!(*entry & ENTRY_LEVEL))
        *entry &= ~ENTRY_REMOTE_IRR; // how drivers clear it without an EOI register
    serve_level(io, pin);
    if (pin == IOAPIC_TIMER_PIN && !(*entry & ENTRY_MASKED))
        pit_interrupt_wanted(io->device.machine);
}

static uint32_t read_entry(struct ioapic *io, unsigned index) {
    unsigned pin = (index - INDEX_TABLE) / 2;
    if (pin >= IOAPIC_PINS)
        return 0xffffffff;
    return index & 1 ? io->entries[pin] >> 32 : (uint32_t)io->entries[pin];
}

static uint64_t mmio_read(void *o, uint64_t offset, unsigned width) {
    struct ioapic *io = o;
    if (offset == REG_SELECT)
        return io->select;
    if (offset != REG_WINDOW)
        return 0;
    switch (io->select) {
    case INDEX_ID:
    case INDEX_ARBITRATION: return (uint32_t)io->id << 24;
    case INDEX_VERSION: return (IOAPIC_PINS - 1) << 16 | 0x20;
    }
    return io->select >= INDEX_TABLE ? read_entry(io, io->select) : 0;
}

static void mmio_write(void *o, uint64_t offset, unsigned width, uint64_t value) {
    struct ioapic *io = o;
    if (offset == REG_SELECT)
        io->select = value;
    else if (offset == REG_EOI)
        ioapic_eoi(io, value);
    else if (offset == REG_WINDOW && io->select == INDEX_ID)
        io->id = value >> 24;
    else if (offset == REG_WINDOW && io->select >= INDEX_TABLE)
        write_entry(io, io->select, value);
}

// ---- device ------------------------------------------------------------------------------------
static void reset(struct device *d) {
    struct ioapic *io = (struct ioapic *)d;
    io->select = 0;
    io->id = d->machine->cpu_count; // as the firmware tables say
    io->lines = 0;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        io->entries[pin] = ENTRY_MASKED;
}

static void state(struct device *d, struct state_visitor *v) {
    struct ioapic *io = (struct ioapic *)d;
    STATE(v, io, select);
    STATE(v, io, id);
    STATE(v, io, lines);
    STATE(v, io, entries);
}

static const struct device_ops ops = {
    .name = "ioapic",
    .reset = reset,
    .state = state,
    .nondeterminism = "none: its inputs are other devices'",
};

void ioapic_create(struct machine *m) {
    struct ioapic *io = calloc(1, sizeof(*io));
    m->ioapic = io;
    device_register(m, &io->device, &ops);
    io->range = (struct bus_range){.space = BUS_MEMORY,
                                   .base = IOAPIC_BASE,
                                   .size = 0x1000,
                                   .name = "ioapic",
                                   .max_width = 4,
                                   .read = mmio_read,
                                   .write = mmio_write,
                                   .opaque = io};
    bus_add(m, &io->range);
}
