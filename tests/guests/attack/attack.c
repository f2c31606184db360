// A hostile guest: touches everything in the wildest way it can. The VM may stop with a report; what
// must not happen is that anything outside of it notices. The last line says that it got through.
#include "tests/guests/attack/attack.h"

static uint64_t state = 88172645463325252ull;

uint64_t any_number(void) { // xorshift64
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

uint64_t nasty_number(void) {
    static const uint64_t numbers[] = {0,          1,           0x7f,       0x80,       0xff,
                                       0x7fff,     0x8000,      0xffff,     0x7fffffff, 0x80000000,
                                       0xffffffff, 0x100000000, 1ull << 63, UINT64_MAX};
    return below(3) ? any_number() : numbers[below(COUNT(numbers))];
}

uint32_t pci_read(unsigned slot, unsigned function, unsigned offset) {
    outl(0xcf8, 0x80000000u | slot << 11 | function << 8 | (offset & 0xfc));
    return inl(0xcfc);
}

void pci_write(unsigned slot, unsigned function, unsigned offset, uint32_t value) {
    outl(0xcf8, 0x80000000u | slot << 11 | function << 8 | (offset & 0xfc));
    outl(0xcfc, value);
}

// Ports that would end the run or garble its output.
static bool spared(uint16_t port) {
    return (port >= 0x3f8 && port < 0x400) || (port >= 0x501 && port < 0x505) ||
           (port >= 0x600 && port < 0x610) || port == 0xcf9 || port == 0x92 || port == 0x64 ||
           port == 0x8900;
}

static void storm_of_ports(void) {
    for (unsigned i = 0; i < 5000; i++) {
        uint16_t port = (uint16_t)any_number();
        if (spared(port) || spared(port + 1) || spared(port + 2) || spared(port + 3))
            continue;
        switch (any_number() % 6) {
        case 0: outb(port, (uint8_t)any_number()); break;
        case 1: outw(port, (uint16_t)any_number()); break;
        case 2: outl(port, (uint32_t)any_number()); break;
        case 3: inb(port); break;
        case 4: inw(port); break;
        default: inl(port);
        }
    }
    pass("port storm");
}

static void storm_of_pci(void) {
    for (unsigned i = 0; i < 5000; i++) {
        outl(0xcf8, 0x80000000u | (any_number() % 8) << 11 | (uint32_t)(any_number() & 0x7fc));
        if (any_number() % 2)
            outl(0xcfc, (uint32_t)any_number());
        else
            inl(0xcfc + any_number() % 4);
    }
    pass("PCI configuration storm");
}

static void storm_of_mmio(void) {
    static const uint64_t places[] = {0xfec00000, 0xfee00000, 0xb8000,    0xa0000,
                                      0xc0000000, 0xd0000000, 0xfebf0000, 0xfffff000};
    for (unsigned i = 0; i < 5000; i++) {
        uint64_t at = places[any_number() % 8] + (any_number() & 0xff0);
        if (at >= 0xfee00300 && at < 0xfee00320) // an INIT to myself would end the run
            continue;
        if (any_number() % 2)
            *(volatile uint32_t *)at = (uint32_t)any_number() &
                                       ~0x700u; // no NMI, INIT, start-up as a delivery mode
        else
            (void)*(volatile uint64_t *)at;
    }
    pass("MMIO storm");
}

static void storm_of_msrs(void) {
    for (unsigned i = 0; i < 5000; i++) {
        static uint32_t msr;
        static uint32_t low, high;
        msr = any_number() % 3 ? (uint32_t)any_number() % 0x2000
                               : 0xc0000000u + (uint32_t)any_number() % 0x2000;
        low = (uint32_t)any_number();
        high = (uint32_t)any_number() & 0xff;
        // EFER, FS and GS bases, APIC base and the x2APIC's ICR would end the run or this program.
        if (msr == 0x1b || msr == 0xc0000080 || msr == 0x830 || msr == 0x83f)
            continue;
        trapped = -1;
        if (any_number() % 2)
            __asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; rdmsr; 1: movq $0, %0"
                             : "+m"(trap_resume)
                             : "c"(msr)
                             : "rax", "rdx");
        else
            __asm__ volatile("lea 1f(%%rip), %%r8; mov %%r8, %0; wrmsr; 1: movq $0, %0"
                             : "+m"(trap_resume)
                             : "c"(msr), "a"(low), "d"(high)
                             : "r8");
    }
    pass("MSR storm");
}

int guest_main(void) {
    attack_virtio(); // while PCI functions are where they should be
    attack_ide();
    attack_ports();
    storm_of_ports();
    storm_of_pci();
    storm_of_mmio();
    storm_of_msrs();
    attack_apic();
    return end();
}
