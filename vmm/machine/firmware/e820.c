// The memory map, the BIOS data area, and the interrupts of real mode.
#include <string.h>
#include "vmm/machine/config.h"
#include "vmm/machine/firmware/firmware.h"
#include "vmm/machine/ioapic.h"
#include "vmm/machine/lapic.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/ports.h"

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

// Two serial ports, a PS/2 mouse, an 80x25 colour display, a coprocessor.
#define EQUIPMENT (2u << 9 | 2u << 4 | 1u << 2 | 1u << 1)

// What kernels read in the BIOS data area. A byte is the low half of a word, whose high half the next one writes over or
// nobody reads.
static void bios_data_area(struct machine *m) {
    const struct {
        uint8_t at;
        uint16_t value;
    } words[] = {
        {0x00, 0x3f8}, // serial ports
        {0x02, 0x2f8},
        {0x0e, EBDA_START >> 4}, // segment
        {0x10, EQUIPMENT},
        {0x13, EBDA_START >> 10}, // KB of base memory
        {0x49, 3},                // video mode
        {0x4a, 80},               // columns
        {0x4c, 0x1000},           // bytes of a screen
        {0x60, 0x0d0e},           // lines of the cursor
        {0x63, 0x3d4},            // the display's CRTC
        {0x75, (uint16_t)m->config->disk_count},
        {0x84, 24}, // rows - 1
        {0x85, 16}, // lines of a character
    };
    uint8_t *p = guest_memory(m, 0x400, 256);
    memset(p, 0, 256);
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        memcpy(p + words[i].at, &words[i].value, 2);
}

// Each interrupt of real mode says which it is and stops: a boot sector that calls the BIOS would otherwise execute the
// interrupt table.
static void real_mode_vectors(struct machine *m) {
    // clang-format off
    uint8_t code[] = {
        0xb0, 0,                                // mov vector, %al
        0xba, BIOS_PORT & 0xff, BIOS_PORT >> 8, // mov $BIOS_PORT, %dx
        0xee,                                   // out %al, %dx
        0xf4, 0xeb, 0xfd                        // hlt, again
    };
    // clang-format on
    uint32_t *table = guest_memory(m, 0, 1024);
    for (unsigned i = 0; i < 256; i++) {
        uint32_t at = FIRMWARE_VECTORS + 16 * i;
        code[1] = (uint8_t)i;
        memcpy(guest_memory(m, at, sizeof(code)), code, sizeof(code));
        table[i] = 0xf000u << 16 | (at & 0xffff);
    }
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
    real_mode_vectors(m);
    if (m->config->acpi)
        acpi_write(m);
    mptable_write(m);
}
