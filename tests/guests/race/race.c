// Processors that add to one counter without a lock: what is lost depends on where they take turns, so the
// result differs from run to run. And two things that do not depend on it: a lock keeps every addition, and so
// does a lock without fences as long as processors take turns (docs/recording.md, "Several processors").
#include "tests/guests/lib/guest.h"

#define CPUS  4 // at most
#define ADDS  100000u
#define LOCKS 2000u
#define STACK 8192

static volatile unsigned ready, go, done, plain, locked, unfenced;
static volatile bool taken;
static volatile unsigned wants[2], turn; // Peterson's lock
static uint8_t stacks[CPUS][STACK] __attribute__((aligned(16)));

static void relax(void) {
    __asm__ volatile("pause");
}

static unsigned count_up(volatile unsigned *counter) {
    return __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
}

static void add(void) {
    for (unsigned i = 0; i < ADDS; i++)
        plain = plain + 1; // load, add, store: the mistake
}

static void add_locked(void) {
    for (unsigned i = 0; i < LOCKS; i++) {
        while (__atomic_test_and_set(&taken, __ATOMIC_ACQUIRE))
            relax();
        locked = locked + 1;
        __atomic_clear(&taken, __ATOMIC_RELEASE);
    }
}

// Peterson's lock for two: right where stores are seen in order. On hardware the load of the other's wish may pass
// the store of one's own.
static void add_unfenced(unsigned me) {
    for (unsigned i = 0; i < LOCKS; i++) {
        wants[me] = 1;
        turn = !me;
        while (wants[!me] && turn == !me)
            relax();
        unfenced = unfenced + 1;
        wants[me] = 0;
    }
}

static void work(unsigned me) {
    add();
    add_locked();
    if (me < 2)
        add_unfenced(me);
    count_up(&done);
}

static void other_cpu(void) {
    unsigned me = count_up(&ready);
    while (!go)
        relax();
    work(me);
    for (;;)
        __asm__ volatile("cli; hlt");
}

static unsigned start_others(void) {
    unsigned n = cpuid(0xb, 1).b; // the logical processors of the package
    if (n > CPUS)
        n = CPUS;
    for (unsigned i = 1; i < n; i++) {
        start_cpu(i, other_cpu, stacks[i] + STACK);
        while (ready < i)
            relax();
    }
    return n;
}

int guest_main(void) {
    unsigned cpus = start_others();
    go = 1;
    work(0);
    while (done < cpus)
        relax();
    print("race: %u processors, %u of %u additions\n", cpus, plain, cpus * ADDS);
    check("lock", locked, cpus * LOCKS);
    check("lock without fences", unfenced, (cpus > 1 ? 2 : 1) * LOCKS);
    return end();
}
