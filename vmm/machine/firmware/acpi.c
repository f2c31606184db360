// ACPI tables (ACPI Specification 6.4, chapter 5). The DSDT is compiled from dsdt.asl at build time.
#include <stddef.h>
#include <string.h>
#include "dsdt.hex"
#include "vmm/machine/acpi_pm.h"
#include "vmm/machine/firmware/firmware.h"
#include "vmm/machine/ioapic.h"
#include "vmm/machine/irq.h"
#include "vmm/machine/lapic.h"
#include "vmm/machine/machine.h"

#define PACKED __attribute__((packed))

struct PACKED header { // 5.2.6
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[6], oem_table[8];
    uint32_t oem_revision;
    char creator[4];
    uint32_t creator_revision;
};
struct PACKED rsdp { // 5.2.5.3
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt, length;
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
};
struct PACKED address { // 5.2.3.2
    uint8_t space, bits, offset, access;
    uint64_t address;
};
struct PACKED fadt { // 5.2.9, revision 3
    struct header h;
    uint32_t facs, dsdt;
    uint8_t reserved0, profile;
    uint16_t sci_irq;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t pm1_event_length, pm1_control_length, pm2_control_length, pm_timer_length, gpe0_length,
        gpe1_length, gpe1_base, cstate;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_flags;
    uint8_t reserved1;
    uint32_t flags;
    struct address reset;
    uint8_t reset_value;
    uint16_t arm_flags;
    uint8_t minor;
    uint64_t x_facs, x_dsdt;
    struct address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control,
        x_pm_timer, x_gpe0, x_gpe1;
};
_Static_assert(sizeof(struct fadt) == 244, "length of a FADT of revision 3");

// FADT flags, table 5.10: WBINVD works, no C1..: PROC_C1, SLP_BUTTON and PWR_BUTTON absent, TMR_VAL_EXT,
// RESET_REG_SUP.
#define FADT_FLAGS (1u << 0 | 1u << 2 | 1u << 4 | 1u << 5 | 1u << 8 | 1u << 10)
// IA-PC boot flags, table 5.11: legacy devices and an 8042 are there.
#define BOOT_FLAGS   3
#define CENTURY_CMOS 0x32

// Tables one after another from FIRMWARE_TABLES on.
struct writer {
    struct machine *m;
    uint32_t at;
};

static uint32_t append(struct writer *w, void *table, uint32_t n) {
    uint32_t at = w->at;
    memcpy(guest_memory(w->m, at, n), table, n);
    w->at = (at + n + 63) & ~63u;
    return at;
}

static uint32_t finish(struct writer *w, void *table, const char *signature, uint8_t revision,
                       uint32_t length) {
    struct header *h = table;
    memcpy(h->signature, signature, 4);
    h->length = length;
    h->revision = revision;
    memcpy(h->oem, "CHRONO", 6);
    memcpy(h->oem_table, "MACHINE ", 8);
    h->oem_revision = 1;
    memcpy(h->creator, "CHRO", 4);
    h->creator_revision = 1;
    h->checksum = 0;
    h->checksum = firmware_checksum(table, length);
    return append(w, table, length);
}

static uint32_t write_facs(struct writer *w) {
    uint8_t facs[64] = "FACS";
    facs[4] = sizeof(facs);
    facs[32] = 2; // version
    return append(w, facs, sizeof(facs));
}

static struct address io_port(uint16_t port, uint8_t bits) {
    return (struct address){.space = 1,
                            .bits = bits,
                            .access = bits == 8    ? 1
                                      : bits == 16 ? 2
                                                   : 3,
                            .address = port};
}

static uint32_t write_fadt(struct writer *w, uint32_t facs, uint32_t dsdt) {
    struct fadt f = {
        .facs = facs,
        .dsdt = dsdt,
        .x_facs = facs,
        .x_dsdt = dsdt,
        .sci_irq = IRQ_SCI,
        .pm1a_event = ACPI_PM_BASE,
        .pm1a_control = ACPI_PM_CONTROL,
        .pm_timer = ACPI_PM_TIMER,
        .pm1_event_length = 4,
        .pm1_control_length = 2,
        .pm_timer_length = 4,
        .c2_latency = 0xffff, // not supported
        .c3_latency = 0xffff,
        .century = CENTURY_CMOS,
        .boot_flags = BOOT_FLAGS,
        .flags = FADT_FLAGS,
        .reset = io_port(RESET_PORT, 8),
        .reset_value = RESET_VALUE,
        .x_pm1a_event = io_port(ACPI_PM_BASE, 32),
        .x_pm1a_control = io_port(ACPI_PM_CONTROL, 16),
        .x_pm_timer = io_port(ACPI_PM_TIMER, 32),
    };
    return finish(w, &f, "FACP", 3, sizeof(f));
}

// MADT, 5.2.12: local APICs, the IOAPIC, the ISA interrupts that are wired differently, LINT1 = NMI.
static uint32_t write_madt(struct writer *w) {
    uint8_t table[1024] = {0};
    uint32_t n = sizeof(struct header), address = LAPIC_BASE,
             flags = 1; // PCAT_COMPAT: 8259s are there
    memcpy(table + n, &address, 4);
    memcpy(table + n + 4, &flags, 4);
    n += 8;
    for (unsigned i = 0; i < w->m->cpu_count; i++) {
        const uint8_t lapic[8] = {0, 8, (uint8_t)i, (uint8_t)i, 1, 0, 0, 0};
        memcpy(table + n, lapic, 8);
        n += 8;
    }
    uint8_t ioapic[12] = {1, 12, (uint8_t)w->m->cpu_count};
    const uint32_t base = IOAPIC_BASE;
    memcpy(ioapic + 4, &base, 4);
    memcpy(table + n, ioapic, 12);
    n += 12;
    // {type 2, length, bus ISA, source, GSI, flags}: timer edge as the bus; SCI active high, level.
    const uint8_t overrides[][10] = {{2, 10, 0, 0, IOAPIC_TIMER_PIN, 0, 0, 0, 0, 0},
                                     {2, 10, 0, IRQ_SCI, IRQ_SCI, 0, 0, 0, 0x0d, 0}};
    memcpy(table + n, overrides, sizeof(overrides));
    n += sizeof(overrides);
    const uint8_t nmi[6] = {4, 6, 0xff, 0, 0, 1};
    memcpy(table + n, nmi, 6);
    n += 6;
    return finish(w, table, "APIC", 3, n);
}

static void write_rsdp(struct machine *m, uint32_t rsdt, uint32_t xsdt) {
    struct rsdp r = {.revision = 2, .rsdt = rsdt, .length = sizeof(r), .xsdt = xsdt};
    memcpy(r.signature, "RSD PTR ", 8);
    memcpy(r.oem, "CHRONO", 6);
    r.checksum = firmware_checksum(&r, 20);
    r.extended_checksum = firmware_checksum(&r, sizeof(r));
    memcpy(guest_memory(m, FIRMWARE_RSDP, sizeof(r)), &r, sizeof(r));
}

void acpi_write(struct machine *m) {
    struct writer w = {m, FIRMWARE_TABLES};
    uint32_t dsdt = append(&w, dsdt_aml_code, sizeof(dsdt_aml_code));
    uint32_t facs = write_facs(&w);
    uint32_t list[2] = {write_fadt(&w, facs, dsdt), write_madt(&w)};
    struct PACKED {
        struct header h;
        uint32_t entry[2];
    } rsdt = {.entry = {list[0], list[1]}};
    struct PACKED {
        struct header h;
        uint64_t entry[2];
    } xsdt = {.entry = {list[0], list[1]}};
    uint32_t rsdt_at = finish(&w, &rsdt, "RSDT", 1, sizeof(rsdt));
    uint32_t xsdt_at = finish(&w, &xsdt, "XSDT", 1, sizeof(xsdt));
    write_rsdp(m, rsdt_at, xsdt_at);
}
