// Processors and interrupt controllers (ACPI 6.5, 5.2.12 "Multiple APIC description table").
#include "acpi/madt.h"
#include "lib/string.h"

enum {
    ENTRY_LAPIC = 0,
    ENTRY_IOAPIC = 1,
    ENTRY_OVERRIDE = 2,
    ENTRY_LAPIC_NMI = 4,
    ENTRY_LAPIC_ADDRESS = 5,
    ENTRY_X2APIC = 9,
    ENTRY_X2APIC_NMI = 10,
};

// Each entry starts with type and length, one byte each.
struct lapic_entry {
    uint8_t type, length, uid, apic_id;
    uint32_t flags;
} packed;
struct ioapic_entry {
    uint8_t type, length, id, reserved;
    uint32_t address, gsi_base;
} packed;
struct override_entry {
    uint8_t type, length, bus, source;
    uint32_t gsi;
    uint16_t flags;
} packed;
struct lapic_nmi_entry {
    uint8_t type, length, uid;
    uint16_t flags;
    uint8_t lint;
} packed;
struct lapic_address_entry {
    uint8_t type, length;
    uint16_t reserved;
    uint64_t address;
} packed;
struct x2apic_entry {
    uint8_t type, length;
    uint16_t reserved;
    uint32_t apic_id, flags, uid;
} packed;
struct x2apic_nmi_entry {
    uint8_t type, length;
    uint16_t flags;
    uint32_t uid;
    uint8_t lint, reserved[3];
} packed;

#define PROCESSOR_ENABLED 1u
// Table 5.26, MPS INTI flags
#define POLARITY(flags)     ((flags)&3)
#define POLARITY_ACTIVE_LOW 3
#define TRIGGER(flags)      ((flags) >> 2 & 3)
#define TRIGGER_LEVEL       3

static void add_processor(struct acpi_info *info, uint32_t apic_id, uint32_t flags) {
    if (!(flags & PROCESSOR_ENABLED))
        return;
    for (unsigned i = 0; i < info->processor_count; i++)
        if (info->processors[i] == apic_id)
            return; // listed both as LAPIC and as x2APIC
    if (info->processor_count < ACPI_MAX_PROCESSORS)
        info->processors[info->processor_count++] = apic_id;
    else
        info->processors_ignored++;
}

static void add_override(struct acpi_info *info, const struct override_entry *e) {
    if (e->source >= ACPI_ISA_LINES)
        return;
    info->isa[e->source] = (struct acpi_isa_line){
        .gsi = e->gsi,
        .level = TRIGGER(e->flags) == TRIGGER_LEVEL,
        .active_low = POLARITY(e->flags) == POLARITY_ACTIVE_LOW,
    };
}

// An entry as it should be, or cut: then it is ignored.
union entry {
    uint8_t type;
    struct lapic_entry lapic;
    struct ioapic_entry ioapic;
    struct override_entry override;
    struct lapic_nmi_entry lapic_nmi;
    struct lapic_address_entry lapic_address;
    struct x2apic_entry x2apic;
    struct x2apic_nmi_entry x2apic_nmi;
};

static void parse_entry(const union entry *e, unsigned length, struct acpi_info *info) {
    switch (e->type) {
    case ENTRY_LAPIC:
        if (length >= sizeof(e->lapic))
            add_processor(info, e->lapic.apic_id, e->lapic.flags);
        break;
    case ENTRY_X2APIC:
        if (length >= sizeof(e->x2apic))
            add_processor(info, e->x2apic.apic_id, e->x2apic.flags);
        break;
    case ENTRY_IOAPIC:
        if (length >= sizeof(e->ioapic) && info->ioapic_count < ACPI_MAX_IOAPICS)
            info->ioapics[info->ioapic_count++] = (struct acpi_ioapic){e->ioapic.address,
                                                                       e->ioapic.gsi_base};
        break;
    case ENTRY_OVERRIDE:
        if (length >= sizeof(e->override))
            add_override(info, &e->override);
        break;
    case ENTRY_LAPIC_NMI:
        if (length >= sizeof(e->lapic_nmi))
            info->nmi_lint = e->lapic_nmi.lint & 1;
        break;
    case ENTRY_X2APIC_NMI:
        if (length >= sizeof(e->x2apic_nmi))
            info->nmi_lint = e->x2apic_nmi.lint & 1;
        break;
    case ENTRY_LAPIC_ADDRESS:
        if (length >= sizeof(e->lapic_address))
            info->lapic_address = e->lapic_address.address;
        break;
    }
}

void madt_parse(const void *table, uint32_t size, struct acpi_info *info) {
    const uint8_t *p = table;
    uint32_t at = sizeof(struct acpi_header) + 8; // then the entries
    if (size < at)
        return;
    uint32_t lapic;
    memcpy(&lapic, p + sizeof(struct acpi_header), sizeof(lapic));
    info->lapic_address = lapic;
    while (size - at >= 2) {
        unsigned length = p[at + 1];
        if (length < 2 || length > size - at)
            return;
        union entry e;
        memcpy(&e, p + at, MIN(length, (unsigned)sizeof(e)));
        parse_entry(&e, length, info);
        at += length;
    }
}
