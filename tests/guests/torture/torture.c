// The torture guest as a kernel: loads itself into low memory, has the timer and the serial port interrupt it, and
// prints the hash of all that it saw. Its command line may hold the number of rounds.
#include "tests/guests/lib/guest.h"
#include "tests/guests/torture/layout.h"

#define ROUNDS  20000
#define SCREEN  0xb8000 // device memory that answers
#define PERIOD  60      // of the PIT, in 1/1193182 s: some 5,000 instructions
#define COM1    0x3f8
#define CMDLINE 4u // a flag of Multiboot

extern uint32_t boot_info;
extern char torture_turn[], torture_turn_end[]; // turn.S
typedef uint64_t (*turn_function)(uint64_t rounds, uint64_t seed);

// Low memory, address 0 of it too, which C does not like to point to.
static uint8_t *low_memory(void) {
    uint8_t *p;
    __asm__("xor %k0, %k0" : "=r"(p));
    return p;
}

static uint64_t wanted_rounds(void) {
    const uint32_t *info = (const uint32_t *)(uint64_t)boot_info;
    if (!(info[0] & CMDLINE))
        return ROUNDS;
    const char *s = (const char *)(uint64_t)info[4];
    while (*s && *s != ' ') // the kernel's own name
        s++;
    uint64_t n = 0;
    for (; *s; s++)
        if (*s >= '0' && *s <= '9')
            n = n * 10 + (uint64_t)(*s - '0');
    return n ? n : ROUNDS;
}

// Vectors from VECTOR_FIRST on, without an end of interrupt, which the guest's handlers do not know.
static void start_interrupts(void) {
    for (unsigned port = 0x20; port <= 0xa0; port += 0x80) {
        outb(port, 0x11);
        outb(port + 1, VECTOR_FIRST + (port == 0xa0 ? 8 : 0));
        outb(port + 1, port == 0xa0 ? 2 : 4);
        outb(port + 1, 3); // 8086, automatic end of interrupt
    }
    outb(0x21, 0xff & ~(1 << 0 | 1 << 4)); // timer, COM1
    outb(0xa1, 0xff);
    outb(0x43, 0x34); // counter 0, rate generator
    outb(0x40, PERIOD);
    outb(0x40, 0);
    outb(COM1 + 4, 0xb); // OUT2 lets the interrupt through
    outb(COM1 + 1, 1);   // when something was received
}

static void stop_interrupts(void) {
    outb(0x21, 0xff);
    outb(COM1 + 1, 0);
}

int guest_main(void) {
    uint64_t rounds = wanted_rounds();
    uint8_t *memory = low_memory();
    __builtin_memset(memory, 0, RAM_SIZE / 2); // up to FRAMES and beyond
    torture_copy(memory);
    torture_page_tables(memory, SCREEN);
    torture_tables(memory, 0);
    __builtin_memcpy(memory + TURN, torture_turn, (size_t)(torture_turn_end - torture_turn));
    start_interrupts();
    uint64_t hash = ((turn_function)TURN)(rounds, TORTURE_SEED);
    stop_interrupts();
    uint64_t interrupts = *(volatile uint64_t *)(memory + INTERRUPTS);
    print("torture: %lu rounds, %lu interrupts, hash %lx\n", rounds, interrupts, hash);
    return 0;
}
