// A program that only computes, for measuring what recording costs: sorts and hashes 4 MB again and again, with
// a timer interrupt every millisecond, as a kernel would have.
#include "tests/guests/lib/guest.h"

#define WORDS  (1u << 19) // of 8 bytes
#define ROUNDS 3
#define LAPIC  0xfee00000ull
#define VECTOR 0x40

static uint64_t *const data = (uint64_t *)0x800000; // free memory above the program
static volatile unsigned ticks;

static volatile uint32_t *apic(unsigned reg) {
    return (volatile uint32_t *)(LAPIC + reg);
}

static void timer_irq(struct frame *f) {
    ticks++;
    *apic(0xb0) = 0; // end of interrupt
}

static void start_timer(void) {
    struct cpuid frequency = cpuid(0x15, 0);
    handlers[VECTOR] = timer_irq;
    outb(0x21, 0xff); // nothing from the old interrupt controllers
    outb(0xa1, 0xff);
    *apic(0xf0) = 0x1ff;              // on
    *apic(0x3e0) = 11;                // divide by 1
    *apic(0x320) = VECTOR | 1u << 17; // periodic
    *apic(0x380) = frequency.a ? frequency.c / 1000 * (frequency.b / frequency.a) : 100000;
}

static uint64_t next(uint64_t x) { // xorshift
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

// Shell sort: in place, and it walks over all of memory.
static void sort(void) {
    for (unsigned gap = WORDS / 2; gap > 2048; gap = gap * 5 / 11)
        for (unsigned i = gap; i < WORDS; i++) {
            uint64_t value = data[i];
            unsigned j = i;
            for (; j >= gap && data[j - gap] > value; j -= gap)
                data[j] = data[j - gap];
            data[j] = value;
        }
}

int guest_main(void) {
    uint64_t seed = 88172645463325252ull, sum = 0;
    start_timer();
    __asm__ volatile("sti");
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < WORDS; i++)
            data[i] = seed = next(seed);
        sort();
        for (unsigned i = 0; i < WORDS; i++)
            sum = (sum ^ data[i]) * 0x100000001b3ull;
    }
    __asm__ volatile("cli");
    print("computed %lx\n", sum);
    return 0;
}
