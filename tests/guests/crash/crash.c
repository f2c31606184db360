// Ends its VM in the way that the command line names, in none of which anything outside of it may notice. What each
// must lead to is in docs/exits.md: a triple fault, or an exit that only a report can answer.
#include "tests/guests/lib/guest.h"

#define DEVICE 0xfec00000ull // the IOAPIC

extern uint32_t boot_info; // lib/start.S: of the Multiboot loader

struct multiboot_info {
    uint32_t flags, memory[2], boot_device, command_line;
};

struct __attribute__((packed)) table_register {
    uint16_t limit;
    uint64_t base;
};

// No fault has a handler any more, not even the double fault.
static void triple_fault(void) {
    struct table_register none = {0};
    __asm__ volatile("lidt %0\n"
                     ".globl triple_fault_here\n"
                     "triple_fault_here: ud2" ::"m"(none));
}

// The processor's next instruction is in a device.
static void run_in_device(void) {
    __asm__ volatile("jmp *%0" ::"r"(DEVICE));
}

// Its page tables are.
static void tables_in_device(void) {
    __asm__ volatile("mov %0, %%cr3" ::"r"(DEVICE));
}

// The stack of a fault is.
static void stack_in_device(void) {
    __asm__ volatile("mov %0, %%rsp; ud2" ::"r"(DEVICE + 0x800));
}

// An instruction that no driver uses on one.
static void save_to_device(void) {
    __asm__ volatile("fxsave (%0)" ::"r"(DEVICE) : "memory");
}

static void halt_for_ever(void) {
    for (;;)
        __asm__ volatile("cli; hlt");
}

static bool same(const char *a, const char *b) {
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

int guest_main(void) {
    static const struct {
        const char *name;
        void (*run)(void);
    } ways[] = {{"triple", triple_fault},     {"fetch", run_in_device},
                {"tables", tables_in_device}, {"stack", stack_in_device},
                {"fxsave", save_to_device},   {"halt", halt_for_ever}};
    const char *way =
        (const char *)(uint64_t)((struct multiboot_info *)(uint64_t)boot_info)->command_line;
    while (*way && *way != ' ') // the kernel's own name is first
        way++;
    way += *way == ' ';
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        if (same(way, ways[i].name)) {
            print("going: %s\n", way);
            ways[i].run();
        }
    fail("the command line names a way to end", way);
    return end();
}
