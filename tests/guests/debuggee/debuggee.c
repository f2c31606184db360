// A kernel to be debugged: places that are hard to step through, and checks that it never notices a debugger.
// With "forever" on its command line it does not end; with two processors the second one works, too.
#include "tests/guests/lib/guest.h"

#define LAPIC  0xfee00000ull
#define VECTOR 0x40
#define AGAIN  0x41  // comes right after the timer's interrupt, to the same place
#define PERIOD 20000 // of the timer, in instructions
#define PAGE   4096

enum { DB = 1 };
extern uint64_t pml4[512];

volatile unsigned rounds, ticks, second_cpu_rounds, traps, result;
volatile bool fall_asleep;  // set by a debugger
static volatile bool again; // the next timer's interrupt brings another one
volatile uint64_t counter;  // for watchpoints: written in one place only, once a round
volatile unsigned guarded;  // the guest watches it itself
static char source[64] = "the quick brown fox jumps over the lazy dog", target[64];
static uint64_t other_pml4[512] __attribute__((aligned(PAGE)));
static uint8_t loaded[64] __attribute__((aligned(64)));
static uint8_t stack[8192] __attribute__((aligned(16)));

static volatile uint32_t *apic(unsigned reg) {
    return (volatile uint32_t *)(LAPIC + reg);
}

static void timer_irq(struct frame *f) {
    if (again)
        *apic(0x300) = AGAIN | 1 << 18; // to itself
    again = false;
    *apic(0xb0) = 0; // end of interrupt
    ticks++;
}

static void again_irq(struct frame *f) {
    *apic(0xb0) = 0;
}

static void debug_trap(struct frame *f) {
    traps++;
}

// ---- what is stepped through and watched ------------------------------------------------------------
__attribute__((noinline)) void count_up(void) {
    counter++;
}

__attribute__((noinline)) unsigned add(unsigned a, unsigned b) {
    unsigned sum = a + b;
    return sum;
}

__attribute__((noinline)) unsigned three_lines(unsigned a) {
    unsigned b = add(a, 1);
    b = add(b, 2);
    return b * 2;
}

// In assembly so that a test knows each instruction.
void shadows(void);
void copy(char *to, const char *from, uint64_t n);
uint64_t flags_seen(void);
__asm__(
    ".globl shadows, sti_place, sti_shadow, after_sti, mov_ss_place, after_mov_ss, copy, copy_rep, flags_seen\n"
    "shadows: cli\n"
    "sti_place: sti\n"
    "sti_shadow: nop\n"
    "after_sti: mov %ss, %eax\n"
    "mov_ss_place: mov %eax, %ss\n"
    "nop\n"
    "after_mov_ss: ret\n"
    "copy: mov %rdx, %rcx\n"
    "copy_rep: rep movsb\n"
    "ret\n"
    "flags_seen: pushfq\n"
    "pop %rax\n"
    "ret\n"
    // Position-independent, to be copied: returns 7.
    ".globl seven, seven_end\n"
    "seven: mov $7, %eax\n"
    "ret\n"
    "seven_end:\n");
extern const uint8_t seven[], seven_end[];

// The timer's interrupt is due when shadows() allows interrupts; and another one when that has returned.
static void let_the_timer_expire(void) {
    __asm__ volatile("cli");
    again = true;
    for (volatile unsigned i = 0; i < PERIOD; i++)
        ;
}

// ---- two address spaces -------------------------------------------------------------------------------
__attribute__((noinline)) void in_a_space(unsigned which) {
    __asm__ volatile("" ::"r"(which));
}

static void load_cr3(uint64_t *table) {
    __asm__ volatile("mov %0, %%cr3" ::"r"(table) : "memory");
}

static void use_two_spaces(void) {
    for (unsigned i = 0; i < 512; i++)
        other_pml4[i] = pml4[i];
    in_a_space(1);
    load_cr3(other_pml4);
    in_a_space(2);
    load_cr3(pml4);
}

// ---- what a debugger must not change --------------------------------------------------------------------
static void own_debug_registers(void) {
    unsigned before = traps;
    __asm__ volatile("mov %0, %%dr0" ::"r"(&guarded));
    __asm__ volatile("mov %0, %%dr7" ::"r"(0xd0401ull)); // DR0: 4 bytes, writes
    guarded = guarded + 1;
    uint64_t status, control = 0x400;
    __asm__ volatile("mov %%dr6, %0" : "=r"(status));
    __asm__ volatile("mov %0, %%dr7" ::"r"(control));
    __asm__ volatile("mov %0, %%dr6" ::"r"(0xffff0ff0ull));
    if (traps != before + 1 || !(status & 1))
        fail("own debug registers", "the write was not seen once");
}

// Code that comes after the debugger: as a boot loader would bring it.
__attribute__((noinline)) unsigned run_loaded_code(void) {
    for (const uint8_t *from = seven; from < seven_end; from++)
        loaded[from - seven] = *from;
    return ((unsigned (*)(void))loaded)();
}

// Breakpoints are not to be read. Code begins at 1 MB (lib/guest.ld).
static uint32_t sum_of_code(void) {
    const volatile uint8_t *from = (const volatile uint8_t *)0x100000;
    uint32_t sum = 1;
    for (unsigned i = 0; i < 256; i++)
        sum = sum * 31 + from[i];
    return sum;
}

static void check_the_world(void) {
    static uint32_t first;
    uint32_t sum = sum_of_code();
    if (!first)
        first = sum;
    if (sum != first)
        fail("code", "changed");
    if (flags_seen() & 0x100)
        fail("flags", "the trap flag is set");
    if (run_loaded_code() != 7)
        fail("loaded code", "does not return 7");
    own_debug_registers();
}

// ---- the second processor -------------------------------------------------------------------------------
__attribute__((noinline)) void second_cpu_counts(void) {
    second_cpu_rounds++;
}

static void second_cpu(void) {
    for (;;) {
        second_cpu_counts();
        for (unsigned i = 0; i < 100; i++)
            __asm__ volatile("pause");
    }
}

static void start_timer(void) {
    handlers[VECTOR] = timer_irq;
    handlers[AGAIN] = again_irq;
    handlers[DB] = debug_trap;
    outb(0x21, 0xff); // nothing from the old interrupt controllers
    outb(0xa1, 0xff);
    *apic(0xf0) = 0x1ff;             // on
    *apic(0x3e0) = 0xb;              // divide by 1
    *apic(0x320) = VECTOR | 1 << 17; // periodic
    *apic(0x380) = PERIOD;
    __asm__ volatile("sti");
}

__attribute__((noinline)) void sleep_a_tick(void) {
    for (unsigned before = ticks; ticks == before;)
        __asm__ volatile("sti; hlt");
}

// Nothing wakes it again: the timer is masked.
static void sleep_forever(void) {
    *apic(0x320) = VECTOR | 1 << 16;
    for (;;)
        __asm__ volatile("sti; hlt");
}

// The command line is where Multiboot's information says; bit 2 of its flags: there is one.
static bool is_forever(void) {
    extern uint32_t boot_info;
    static const char word[] = "forever";
    const uint32_t *info = (const uint32_t *)(uint64_t)boot_info;
    const char *line = info[0] & 4 ? (const char *)(uint64_t)info[4] : "";
    unsigned matched = 0;
    for (; *line && word[matched]; line++)
        matched = *line == word[matched] ? matched + 1 : *line == word[0];
    return !word[matched];
}

int guest_main(void) {
    bool forever = is_forever();
    if (cpuid(0xb, 1).b > 1)
        start_cpu(1, second_cpu, stack + sizeof(stack));
    start_timer();
    for (rounds = 0; forever || rounds < 50; rounds++) {
        count_up();
        result = three_lines(rounds);
        let_the_timer_expire();
        shadows();
        copy(target, source, sizeof(target));
        use_two_spaces();
        check_the_world();
        sleep_a_tick();
        if (fall_asleep)
            sleep_forever();
    }
    check("counter", counter, rounds);
    return end();
}
