// A kernel with a mistake that shows in one run of some. A timer interrupt queues work for later, a bottom
// half, and the main loop carries it out between two pieces of its own work. One of the two forgot that
// the other may come in between. The panic comes long after the damage: an exercise for a debugger that
// can go back.
#include "tests/guests/lib/guest.h"

#define LAPIC  0xfee00000ull
#define VECTOR 0x40
#define PERIOD 10000 // of the timer, in ticks of the APIC's clock
#define ROUNDS 400

struct job {
    struct job *next;
    const char *name;
    void (*run)(struct job *);
    bool queued;
    unsigned runs;
};

static struct {
    struct job *head;
    unsigned waiting;
} q;
static unsigned ticks, seconds;

static void run_tick(struct job *n);
static struct job tick = {.name = "tick", .run = run_tick};

static volatile uint32_t *apic(unsigned reg) {
    return (volatile uint32_t *)(LAPIC + reg);
}

static void timer_irq(struct frame *f) {
    struct job *n = &tick;

    *apic(0xb0) = 0; // end of interrupt
    ticks++;
    if (n->queued) // the last one waits to be carried out: one is enough
        return;

    n->next = q.head;
    q.head = n;
    n->queued = true;
    q.waiting++;
}

// The first job of the queue, or NULL.
static struct job *take(void) {
    struct job *n = q.head;
    if (!n)
        return NULL;
    n->queued = false;
    n->runs++;
    q.waiting--;
    q.head = n->next;
    return n;
}

static void run_tick(struct job *n) {
    if (n->runs % 100 == 0)
        seconds++;
}

static void panic(const char *why, const struct job *n) {
    __asm__ volatile("cli");
    print("panic: %s: job \"%s\" for the %uth time, %u ticks\n", why, n->name, n->runs, ticks);
    guest_exit(1);
}

// Carries out what the interrupts have left to do.
static void drain(void) {
    unsigned in_a_row = 0;
    for (struct job *n; (n = take()) != NULL; n->run(n))
        if (++in_a_row == 50000)
            panic("the queue does not run dry", n);
}

// The main loop's own work: a piece of it takes some time, now more, now less.
static uint32_t work(uint32_t sum) {
    sum = sum * 1664525 + 1013904223;
    for (unsigned i = sum >> 19; i; i--)
        sum = (sum << 5 | sum >> 27) ^ i;
    return sum;
}

static void start_timer(void) {
    handlers[VECTOR] = timer_irq;
    outb(0x21, 0xff); // nothing from the old interrupt controllers
    outb(0xa1, 0xff);
    *apic(0xf0) = 0x1ff;             // on
    *apic(0x3e0) = 0xb;              // divide by 1
    *apic(0x320) = VECTOR | 1 << 17; // periodic
    *apic(0x380) = PERIOD;
    __asm__ volatile("sti");
}

int guest_main(void) {
    uint32_t sum = 1;
    start_timer();
    for (unsigned round = 0; round < ROUNDS; round++) {
        drain();
        sum = work(sum);
    }
    print("ok: %u rounds, result %x\n", ROUNDS, sum);
    return 0;
}
