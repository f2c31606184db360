// I/O APICs (cpu/ioapic.h; Intel 82093AA datasheet).
#include "acpi/acpi.h"
#include "cpu/ioapic.h"
#include "lib/log.h"
#include "mm/kstack.h"

// Register window and registers
#define SELECT          0x00
#define WINDOW          0x10
#define REG_VERSION     0x01
#define REG_REDIRECT(n) (0x10 + 2 * (n))
#define REDIRECT_MASKED 0x10000u
#define REDIRECT_LEVEL  0x8000u
#define REDIRECT_LOW    0x2000u
#define DEFAULT_ADDRESS 0xfec00000u // where it is on a PC whose firmware does not say

static struct ioapic {
    volatile uint32_t *registers;
    unsigned gsi_base, count;
} ioapics[ACPI_MAX_IOAPICS];
static unsigned ioapic_count;

static uint32_t read(const struct ioapic *io, uint32_t reg) {
    io->registers[SELECT / 4] = reg;
    return io->registers[WINDOW / 4];
}

static void write(const struct ioapic *io, uint32_t reg, uint32_t value) {
    io->registers[SELECT / 4] = reg;
    io->registers[WINDOW / 4] = value;
}

static void add(paddr_t address, unsigned gsi_base) {
    struct ioapic *io = &ioapics[ioapic_count];
    io->registers = map_device(address, PAGE_SIZE, false);
    if (!io->registers)
        return;
    uint32_t version = read(io, REG_VERSION);
    if (version == UINT32_MAX || version == 0) {
        log_warning("cpu: no IOAPIC answers at %#lx", address);
        return;
    }
    io->gsi_base = gsi_base;
    io->count = (version >> 16 & 0xff) + 1;
    for (unsigned i = 0; i < io->count; i++)
        write(io, REG_REDIRECT(i), REDIRECT_MASKED);
    ioapic_count++;
}

void ioapic_init(void) {
    for (unsigned i = 0; i < acpi_info.ioapic_count; i++)
        add(acpi_info.ioapics[i].address, acpi_info.ioapics[i].gsi_base);
    if (!acpi_info.ioapic_count)
        add(DEFAULT_ADDRESS, 0);
}

bool ioapic_route(unsigned gsi, unsigned vector, uint32_t apic_id, bool level, bool active_low) {
    for (struct ioapic *io = ioapics; io < ioapics + ioapic_count; io++) {
        if (gsi < io->gsi_base || gsi - io->gsi_base >= io->count)
            continue;
        unsigned n = gsi - io->gsi_base;
        write(io, REG_REDIRECT(n) + 1, apic_id << 24); // physical destination, 8 bits
        write(io, REG_REDIRECT(n),
              vector | (level ? REDIRECT_LEVEL : 0) | (active_low ? REDIRECT_LOW : 0));
        return true;
    }
    return false;
}
