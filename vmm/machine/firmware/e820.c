// The memory map and the BIOS data area.
#include <string.h>
#include "vmm/machine/config.h"
#include "vmm/machine/firmware/firmware.h"
#include "vmm/machine/machine.h"

#define FOUR_GB (1ull << 32)

unsigned e820_build(const struct machine *m, struct e820_entry map[E820_MAX]) {
    unsigned n = 0;
    map[n++] = (struct e820_entry){0, EBDA_START, E820_USABLE};
    map[n++] = (struct e820_entry){EBDA_START, 0xa0000 - EBDA_START, E820_RESERVED};
    map[n++] = (struct e820_entry){FIRMWARE_START, 0x100000 - FIRMWARE_START, E820_RESERVED};
    map[n++] = (struct e820_entry){0x100000, m->low_size - 0x100000, E820_USABLE};
    map[n++] = (struct e820_entry){IOAPIC_BASE, 0x1000, E820_RESERVED};
    map[n++] = (struct e820_entry){LAPIC_BASE, 0x1000, E820_RESERVED};
    if (m->ram_size > m->low_size)
        map[n++] = (struct e820_entry){FOUR_GB, m->ram_size - m->low_size, E820_USABLE};
    return n;
}

// What kernels read in the BIOS data area: serial ports, the EBDA, the size of base memory, the text mode.
static void bios_data_area(struct machine *m) {
    uint8_t *p = guest_memory(m, 0x400, 256);
    memset(p, 0, 256);
    const uint16_t com1 = 0x3f8, com2 = 0x2f8, ebda = EBDA_START >> 4, base_kb = EBDA_START >> 10,
                   columns = 80;
    memcpy(p + 0x00, &com1, 2);
    memcpy(p + 0x02, &com2, 2);
    memcpy(p + 0x0e, &ebda, 2);
    memcpy(p + 0x13, &base_kb, 2);
    p[0x49] = 3; // video mode
    memcpy(p + 0x4a, &columns, 2);
    p[0x84] = 24; // rows - 1
    p[0x75] = 1;  // hard disks
}

uint8_t firmware_checksum(const void *table, size_t n) {
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((const uint8_t *)table)[i];
    return (uint8_t)-sum;
}

void firmware_write(struct machine *m) {
    bios_data_area(m);
    memset(guest_memory(m, EBDA_START, 0xa0000 - EBDA_START), 0, 0xa0000 - EBDA_START);
    *(uint8_t *)guest_memory(m, EBDA_START, 1) = 1; // its size in KB
    memset(guest_memory(m, FIRMWARE_START, 0x20000), 0, 0x20000);
    if (m->config->acpi)
        acpi_write(m);
    mptable_write(m);
}
