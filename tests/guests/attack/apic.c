// Local APIC in both modes and IOAPIC: every register, in every width. Interrupts stay disabled; NMIs come or not.
#include "tests/guests/attack/attack.h"

#define LAPIC      0xfee00000ull
#define IOAPIC     0xfec00000ull
#define APIC_BASE  0x1b
#define X2APIC     (1u << 10)
#define X2APIC_ICR 0x830
#define SELF_IPI   0x83f
#define MODES      0x700u // of delivery: an INIT or start-up would stop this processor for good

static void ignore(struct frame *f) {
    (void)f;
}

static void store(uint64_t at, unsigned width, uint64_t value) {
    switch (width) {
    case 0: *(volatile uint8_t *)at = (uint8_t)value; break;
    case 1: *(volatile uint16_t *)at = (uint16_t)value; break;
    case 2: *(volatile uint32_t *)at = (uint32_t)value; break;
    default: *(volatile uint64_t *)at = value;
    }
}

static void attack_memory(uint64_t base, unsigned size) {
    for (unsigned i = 0; i < 1500; i++) {
        uint64_t at = base + below(size);
        unsigned width = (unsigned)below(4);
        bool command = base == LAPIC && (at & 0xfe0) == 0x300;
        if (below(2))
            (void)*(volatile uint64_t *)at;
        else if (width == 2 || !command)
            store(width == 2 ? at & ~3ull : at, width, nasty_number() & ~(uint64_t)MODES);
    }
}

static void attack_ioapic(void) {
    volatile uint32_t *select = (volatile uint32_t *)IOAPIC, *window = select + 4;
    for (unsigned i = 0; i < 1000; i++) {
        *select = (uint32_t)(below(8) ? below(64) : any_number());
        if (below(2))
            *window = (uint32_t)nasty_number() & ~MODES;
        else
            (void)*window;
    }
}

// True: it was accepted.
static bool try_write(uint32_t msr, uint64_t value) {
    trapped = -1;
    __asm__ volatile("lea 1f(%%rip), %%r8; mov %%r8, %0; wrmsr; 1: movq $0, %0"
                     : "+m"(trap_resume)
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "r8", "memory");
    return trapped < 0;
}
static void try_read(uint32_t msr) {
    uint64_t low = 0, high = 0;
    trapped = -1;
    __asm__ volatile("lea 1f(%%rip), %%r8; mov %%r8, %0; rdmsr; 1: movq $0, %0"
                     : "+m"(trap_resume), "+a"(low), "+d"(high)
                     : "c"(msr)
                     : "r8", "memory");
}

static void attack_x2apic(void) {
    uint64_t base = rdmsr(APIC_BASE);
    check("x2APIC mode", try_write(APIC_BASE, base | X2APIC), 1);
    for (unsigned i = 0; i < 1500; i++) {
        uint32_t msr = 0x800 + (uint32_t)below(0x100);
        if (below(2))
            try_read(msr);
        else if (msr != X2APIC_ICR && msr != SELF_IPI)
            try_write(msr, nasty_number() & ~(uint64_t)MODES);
    }
    for (unsigned i = 0; i < 200; i++) // messages to anybody, of the modes that do not stop anybody
        try_write(X2APIC_ICR, nasty_number() & ~(uint64_t)(MODES | 0x1000));
    check("back to xAPIC is refused", try_write(APIC_BASE, base), 0);
    check("invalid APIC bases are refused", try_write(APIC_BASE, 0xffffffffffffffff), 0);
}

void attack_apic(void) {
    handlers[2] = ignore;
    attack_ioapic();
    attack_memory(IOAPIC, 0x1000);
    attack_memory(LAPIC, 0x1000);
    attack_x2apic();
    pass("garbage in every register of both APICs");
}
