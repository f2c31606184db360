// Finding and reading the tables (acpi/tables.h).
#include "acpi/madt.h"
#include "acpi/tables.h"
#include "lib/string.h"

struct rsdp { // 5.2.5.3
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length; // from here on: revision 2 and later
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
} packed;
#define RSDP_SIZE_1 20

struct generic_address { // 5.2.3.2
    uint8_t space, bits, offset, access;
    uint64_t address;
} packed;
#define SPACE_IO 1

struct fadt { // 5.2.9
    struct acpi_header header;
    uint32_t firmware_control, dsdt;
    uint8_t reserved0, profile;
    uint16_t sci_interrupt;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios_request, pstate_control;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t lengths_and_latencies[23];
    uint8_t reserved1;
    uint32_t flags;
    struct generic_address reset;
    uint8_t reset_value;
    uint16_t arm_flags;
    uint8_t minor_version;
    uint64_t x_firmware_control, x_dsdt;
} packed;
#define FADT_SIZE_1        116 // ACPI 1.0 ends before `reset`
#define FADT_TIMER_32      (1u << 8)
#define FADT_RESET_PRESENT (1u << 10)

#define MAX_TABLE_SIZE (4u * MIB)

static bool sums_to_zero(const void *data, size_t n) {
    uint8_t sum = 0;
    for (const uint8_t *p = data; n; n--)
        sum += *p++;
    return sum == 0;
}

static bool rsdp_valid(const void *p) {
    return !memcmp(p, "RSD PTR ", 8) && sums_to_zero(p, RSDP_SIZE_1);
}

static paddr_t search(const struct acpi_memory *m, paddr_t start, size_t size) {
    const char *p = m->map(m, start, size);
    for (size_t at = 0; p && at + RSDP_SIZE_1 <= size; at += 16)
        if (rsdp_valid(p + at))
            return start + at;
    return 0;
}

paddr_t acpi_find_rsdp(const struct acpi_memory *m) {
    paddr_t found = 0;
    const uint8_t *ebda = m->map(m, 0x40e, 2); // BIOS data area: segment of the extended one
    if (ebda) {
        paddr_t start = (paddr_t)(ebda[0] | ebda[1] << 8) << 4;
        if (start >= 0x80000 && start <= 0xa0000 - KIB)
            found = search(m, start, KIB);
    }
    return found ? found : search(m, 0xe0000, 0x20000);
}

// The whole table at `addr` with its length in *size, checksum verified, or NULL.
static const void *map_table(const struct acpi_memory *m, paddr_t addr, uint32_t *size) {
    const struct acpi_header *h = addr ? m->map(m, addr, sizeof(*h)) : NULL;
    if (!h)
        return NULL;
    memcpy(size, &h->length, sizeof(*size));
    if (*size < sizeof(*h) || *size > MAX_TABLE_SIZE)
        return NULL;
    const void *table = m->map(m, addr, *size);
    return table && sums_to_zero(table, *size) ? table : NULL;
}

// The root table: a list of addresses, 4 bytes each in the RSDT, 8 in the XSDT.
struct root {
    const uint8_t *entries;
    unsigned count, entry_size;
};

static bool open_root(const struct acpi_memory *m, paddr_t rsdp, struct root *root) {
    const struct rsdp *r = m->map(m, rsdp, RSDP_SIZE_1);
    if (!r || !rsdp_valid(r))
        return false;
    struct rsdp copy = {0};
    memcpy(&copy, r, RSDP_SIZE_1);
    uint32_t size;
    const char *table = NULL;
    if (copy.revision >= 2 && (r = m->map(m, rsdp, sizeof(*r))) && sums_to_zero(r, sizeof(*r))) {
        memcpy(&copy, r, sizeof(copy));
        table = map_table(m, copy.xsdt, &size);
        root->entry_size = 8;
    }
    if (!table) {
        table = map_table(m, copy.rsdt, &size);
        root->entry_size = 4;
    }
    if (!table)
        return false;
    root->entries = (const uint8_t *)table + sizeof(struct acpi_header);
    root->count = (size - sizeof(struct acpi_header)) / root->entry_size;
    return true;
}

// The first table with that signature, or NULL.
static const void *find_table(const struct acpi_memory *m, const struct root *root,
                              const char *signature, uint32_t *size) {
    for (unsigned i = 0; i < root->count; i++) {
        uint64_t addr = 0;
        memcpy(&addr, root->entries + (size_t)i * root->entry_size, root->entry_size);
        const struct acpi_header *h = addr ? m->map(m, addr, sizeof(*h)) : NULL;
        if (!h || memcmp(h->signature, signature, 4))
            continue;
        const void *table = map_table(m, addr, size);
        if (table)
            return table;
    }
    return NULL;
}

// One integer of a package: 20.2.3 "Data objects encoding". Returns its bytes, 0: not an integer.
static unsigned aml_integer(const uint8_t *p, const uint8_t *end, uint8_t *value) {
    enum {
        ZERO_OP = 0x00,
        ONE_OP = 0x01,
        BYTE_PREFIX = 0x0a,
        WORD_PREFIX = 0x0b,
        DWORD_PREFIX = 0x0c
    };
    if (p >= end)
        return 0;
    unsigned size;
    switch (*p) {
    case ZERO_OP:
    case ONE_OP: *value = *p; return 1;
    case BYTE_PREFIX: size = 2; break;
    case WORD_PREFIX: size = 3; break;
    case DWORD_PREFIX: size = 5; break;
    default: return 0;
    }
    if ((size_t)(end - p) < size)
        return 0;
    *value = p[1];
    return size;
}

// Name (_S5_, Package () {SLP_TYPa, SLP_TYPb, ...}), found by its bytes (7.4.2.6).
static void parse_s5(const uint8_t *p, const uint8_t *end, struct acpi_info *info) {
    enum { PACKAGE_OP = 0x12 };
    for (; end - p >= 8; p++) {
        if (memcmp(p, "_S5_", 4) || p[4] != PACKAGE_OP)
            continue;
        const uint8_t *q = p + 5;
        q += 1 + (*q >> 6); // PkgLength: the top bits of the first byte count the further ones
        q++;                // number of elements
        unsigned n = aml_integer(q, end, &info->s5_a);
        if (!n)
            continue;
        info->s5_b = info->s5_a;
        aml_integer(q + n, end, &info->s5_b);
        info->s5_valid = true;
        return;
    }
}

static void parse_dsdt(const struct acpi_memory *m, const struct fadt *f, uint32_t fadt_size,
                       struct acpi_info *info) {
    uint32_t size;
    const uint8_t *table = NULL;
    if (fadt_size >= offsetof(struct fadt, x_dsdt) + 8 && f->x_dsdt)
        table = map_table(m, f->x_dsdt, &size);
    if (!table)
        table = map_table(m, f->dsdt, &size);
    if (table)
        parse_s5(table + sizeof(struct acpi_header), table + size, info);
}

static void parse_fadt(const struct acpi_memory *m, const void *table, uint32_t size,
                       struct acpi_info *info) {
    if (size < FADT_SIZE_1)
        return;
    struct fadt f = {0};
    memcpy(&f, table, MIN(size, (uint32_t)sizeof(f)));
    info->pm_timer = f.pm_timer;
    info->pm_timer_32 = f.flags & FADT_TIMER_32;
    info->pm1a_control = f.pm1a_control;
    info->pm1b_control = f.pm1b_control;
    info->smi_command = f.smi_command;
    info->acpi_enable = f.acpi_enable;
    if (size > offsetof(struct fadt, reset_value) && (f.flags & FADT_RESET_PRESENT) &&
        f.reset.space == SPACE_IO && f.reset.address <= UINT16_MAX) {
        info->reset_port = f.reset.address;
        info->reset_value = f.reset_value;
    }
    parse_dsdt(m, &f, size, info);
}

const char *acpi_parse(const struct acpi_memory *m, paddr_t rsdp, struct acpi_info *info) {
    memset(info, 0, sizeof(*info));
    info->nmi_lint = -1;
    for (unsigned i = 0; i < ACPI_ISA_LINES; i++)
        info->isa[i].gsi = i;
    if (!rsdp)
        return "there are no ACPI tables";
    struct root root;
    if (!open_root(m, rsdp, &root))
        return "the root table is missing or damaged";
    uint32_t size;
    const void *fadt = find_table(m, &root, "FACP", &size);
    if (fadt)
        parse_fadt(m, fadt, size, info);
    const void *madt = find_table(m, &root, "APIC", &size);
    if (!madt)
        return "there is no table of processors and interrupt controllers (MADT)";
    madt_parse(madt, size, info);
    return NULL;
}
