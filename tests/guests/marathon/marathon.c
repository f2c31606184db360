// A guest to be recorded for hours: computes on its memory, is interrupted by a timer and by bytes on the serial line,
// and hashes where that was. Its command line may hold how many million instructions it runs, about.
#include "tests/guests/lib/guest.h"

#define MILLIONS   100
#define CMDLINE    4u // a flag of Multiboot
#define COM1       0x3f8
#define TIMER      0x40 // vectors
#define SERIAL     0x44
#define PIT_PERIOD 2386 // in 1/1193182 s: 2 ms
#define WORDS      (1u << 18)
#define ROUND      15 // instructions of a round of work(), as compiled

extern uint32_t boot_info;
static uint64_t *const data = (uint64_t *)0x800000; // free memory above the program
static volatile uint64_t hash = 1, timers, bytes;

static uint64_t wanted_millions(void) {
    const uint32_t *info = (const uint32_t *)(uint64_t)boot_info;
    uint64_t n = 0;
    if (!(info[0] & CMDLINE))
        return MILLIONS;
    const char *s = (const char *)(uint64_t)info[4];
    while (*s && *s != ' ') // the kernel's own name
        s++;
    for (; *s; s++)
        if (*s >= '0' && *s <= '9')
            n = n * 10 + (uint64_t)(*s - '0');
    return n ? n : MILLIONS;
}

// All that an interrupt can tell: where it came, and in the middle of what.
static void add_frame(const struct frame *f) {
    hash = (hash ^ f->rip ^ f->rflags ^ f->rax ^ f->rcx ^ f->rdx ^ f->vector) * 0x100000001b3;
}

static void timer_irq(struct frame *f) {
    timers++;
    add_frame(f);
}

static void serial_irq(struct frame *f) {
    bytes++;
    add_frame(f);
    hash ^= inb(COM1);
}

// Interrupt controllers that need no end of interrupt, a timer and a serial port without a FIFO.
static void start_interrupts(void) {
    for (unsigned port = 0x20; port <= 0xa0; port += 0x80) {
        outb(port, 0x11);
        outb(port + 1, TIMER + (port == 0xa0 ? 8 : 0));
        outb(port + 1, port == 0xa0 ? 2 : 4);
        outb(port + 1, 3); // 8086, automatic end of interrupt
    }
    handlers[TIMER] = timer_irq;
    handlers[SERIAL] = serial_irq;
    outb(0x21, 0xff & ~(1 << 0 | 1 << 4)); // timer, COM1
    outb(0xa1, 0xff);
    outb(0x43, 0x34); // counter 0, rate generator
    outb(0x40, PIT_PERIOD & 0xff);
    outb(0x40, PIT_PERIOD >> 8);
    outb(COM1 + 4, 0xb); // OUT2 lets the interrupt through
    outb(COM1 + 1, 1);   // when something was received
    __asm__ volatile("sti");
}

// Random places of memory, each changed by what another one held.
static uint64_t work(uint64_t rounds, uint64_t x) {
    uint64_t sum = 0;
    while (rounds--) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[x % WORDS] += sum ^= x;
    }
    return x;
}

int guest_main(void) {
    uint64_t millions = wanted_millions(), x = 88172645463325252;
    start_interrupts();
    for (uint64_t i = 0; i < millions; i++) {
        x = work(1000000 / ROUND, x);
        if (i % 8 == 0)
            __asm__ volatile("hlt"); // until the next interrupt
    }
    __asm__ volatile("cli");
    for (unsigned i = 0; i < WORDS; i++)
        hash = (hash ^ data[i]) * 0x100000001b3;
    print("marathon: %lu million instructions, %lu timer interrupts, %lu bytes, hash %lx\n",
          millions, timers, bytes, hash);
    return 0;
}
