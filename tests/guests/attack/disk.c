// Every command of the IDE controller with any registers and any transfers; bus mastering with garbage for a table.
#include "tests/guests/attack/attack.h"

#define SLOT     1 // the ISA bridge's, whose function 1 is IDE
#define FUNCTION 1

static uint32_t table[256] __attribute__((aligned(1024)));

static void taskfile(uint16_t base, uint8_t command) {
    for (unsigned i = 1; i < 6; i++)
        for (unsigned n = 1 + (unsigned)below(2); n; n--) // LBA48 looks at the one before, too
            outb((uint16_t)(base + i), (uint8_t)nasty_number());
    outb((uint16_t)(base + 6), (uint8_t)(0xa0 | below(256)));
    outb((uint16_t)(base + 7), command);
}

static void some_data(uint16_t base) {
    for (unsigned n = (unsigned)below(40); n; n--)
        switch (below(4)) {
        case 0: outw(base, (uint16_t)any_number()); break;
        case 1: inl(base); break;
        case 2: inb((uint16_t)(base + 7)); break;
        default: inw(base);
        }
}

// Regions of any length anywhere: in memory, beyond it, at devices, without an end.
static void garbage_table(void) {
    static const uint32_t places[] = {0x100000, 0x3fffff0, 0xfec00000, 0xfffffff0, 0xa0000, 0};
    for (unsigned i = 0; i < COUNT(table); i += 2) {
        table[i] = places[below(COUNT(places))] + (uint32_t)below(64);
        if (table[i] < 0x1000000 && table[i] >= 0x100000)
            table[i] = (uint32_t)(uint64_t)table; // not into this program
        table[i + 1] = (uint32_t)any_number() & (below(8) ? 0x7fffffff : 0xffffffff);
    }
}

static void bus_master(uint16_t base, uint8_t command) {
    garbage_table();
    outl((uint16_t)(base + 4), below(4) ? (uint32_t)(uint64_t)table : (uint32_t)nasty_number());
    outb((uint16_t)(base + 2), 6);
    taskfile(base & 8 ? 0x170 : 0x1f0, command);
    outb(base, (uint8_t)(1 | below(2) << 3));
    for (unsigned n = 0; n < 10; n++)
        inb((uint16_t)(base + 2));
    outb(base, (uint8_t)below(256));
}

void attack_ide(void) {
    static const uint8_t dma[] = {0xc8, 0xca, 0x25, 0x35};
    pci_write(SLOT, FUNCTION, 4, 7);
    uint16_t base = pci_read(SLOT, FUNCTION, 0x20) & 0xfff0;
    for (unsigned command = 0; command < 256; command++) {
        uint16_t channel = command & 1 ? 0x170 : 0x1f0;
        taskfile(channel, (uint8_t)command);
        some_data(channel);
        if (below(8) == 0)
            outb(channel | 0x206, 4), outb(channel | 0x206, 0); // reset in the middle of it
    }
    for (unsigned i = 0; base && i < 60; i++)
        bus_master(base + (i % 2 ? 8 : 0), dma[below(4)]);
    pass("IDE: every command, any transfer");
}
