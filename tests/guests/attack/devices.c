// Garbage in every register of the devices behind ports, in all widths, singly and by strings.
#include "tests/guests/attack/attack.h"

// Where to write what would end the run, which would be too easy, is left out.
static const struct range {
    const char *name;
    uint16_t first, last;
} ranges[] = {{"8259, first", 0x20, 0x21},
              {"8259, second", 0xa0, 0xa1},
              {"8259, edge or level", 0x4d0, 0x4d1},
              {"8254", 0x40, 0x43},
              {"port 61", 0x61, 0x61},
              {"keyboard, data", 0x60, 0x60},
              {"keyboard, command", 0x64, 0x64},
              {"RTC", 0x70, 0x73},
              {"port 80", 0x80, 0x8f},
              {"port 92", 0x92, 0x92},
              {"VGA", 0x3b0, 0x3df},
              {"second serial port", 0x2f8, 0x2ff},
              {"debug ports", 0xe9, 0xe9},
              {"debug ports", 0x402, 0x402},
              {"IDE", 0x1f0, 0x1f7},
              {"IDE, second", 0x170, 0x177},
              {"IDE, control", 0x3f6, 0x3f7},
              {"IDE, second control", 0x376, 0x377},
              {"ACPI timer", 0x608, 0x60b}, // 60Ch ends the run
              {"ACPI events", 0x600, 0x603},
              {"PCI", 0xcf8, 0xcf8},
              {"PCI data", 0xcfc, 0xcff}};

static uint8_t buffer[8192] __attribute__((aligned(4096)));

// What would reset the machine: pulses of the keyboard controller's outputs, bit 0 of port 92.
static uint32_t harmless(uint16_t port, uint32_t value) {
    if (port == 0x64 && ((value & 0xf0) == 0xf0 || (value & 0xff) == 0xd1))
        return 0x20;
    return port == 0x92 ? value & ~1u : value;
}

static void one_access(uint16_t port, unsigned width) {
    uint32_t value = harmless(port, (uint32_t)nasty_number());
    switch (width) {
    case 0: below(2) ? outb(port, (uint8_t)value) : (void)inb(port); break;
    case 1: below(2) ? outw(port, (uint16_t)value) : (void)inw(port); break;
    default: below(2) ? outl(port, value) : (void)inl(port);
    }
}

// Into memory and out of it, across its end of page; and with a device in the place of memory.
static void by_string(uint16_t port, bool writes) {
    void *at = below(8) ? buffer + 4000 + below(128) : (void *)0xfec00000ull;
    uint64_t n = 1 + below(200);
    if (!writes)
        __asm__ volatile("rep insb" : "+D"(at), "+c"(n) : "d"(port) : "memory");
    else
        __asm__ volatile("rep outsb" : "+S"(at), "+c"(n) : "d"(port) : "memory");
}

static bool alone(uint16_t port) { // wider accesses would reach a port that ends the run
    return port == 0x92 || port == 0x60 || port == 0x64 || port == 0x61 || port == 0x600 ||
           port == 0x602;
}

void attack_ports(void) {
    for (unsigned i = 0; i < COUNT(ranges); i++) {
        const struct range *r = &ranges[i];
        for (unsigned n = 0; n < 120u + 20u * (unsigned)(r->last - r->first); n++) {
            uint16_t port = (uint16_t)(r->first + below(r->last - r->first + 1u));
            unsigned room = r->last - port + 1u;
            one_access(port, alone(port) || room < 2 ? 0 : (unsigned)below(room < 4 ? 2 : 3));
        }
        by_string(r->first, r->first != 0x64 && r->first != 0x60 && r->first != 0x92);
        by_string(r->last, false);
    }
    pass("garbage in every port of every device");
}
