// Per-processor data, and what each processor does to itself when it starts.
#include "boot/main.h"
#include "cpu/features.h"
#include "cpu/fpu.h"
#include "cpu/idt.h"
#include "cpu/local.h"
#include "cpu/x86.h"
#include "lib/assert.h"
#include "syscall/dispatch.h"

// Offsets that cpu/entry.S, syscall/entry.S and this_cpu() use.
_Static_assert(offsetof(struct cpu, self) == 0x00, "entry.S");
_Static_assert(offsetof(struct cpu, world) == 0x08, "entry.S");
_Static_assert(offsetof(struct cpu, kernel_rsp) == 0x10, "entry.S");
_Static_assert(offsetof(struct cpu, user_rsp) == 0x18, "entry.S");
_Static_assert(offsetof(struct cpu, need_resched) == 0x20, "entry.S");

struct cpu *cpus[MAX_CPUS];
unsigned cpu_count;

#define IST_STACK_SIZE 8192

static struct cpu boot_cpu;
static struct cpu_arch boot_arch;
static char boot_ist[IST_COUNT][IST_STACK_SIZE] aligned_to(16);

void cpu_init_local(struct cpu *c, const uint64_t ist[IST_COUNT]) {
    c->self = c;
    gdt_load(c, ist);
    idt_load();
    features_enable();
    fpu_init_cpu();
    syscall_init_cpu();
}

void cpu_init_boot(void) {
    features_detect();
    idt_init();
    uint64_t ist[IST_COUNT];
    for (unsigned i = 0; i < IST_COUNT; i++)
        ist[i] = (uint64_t)boot_ist[i] + IST_STACK_SIZE;
    boot_cpu.arch = &boot_arch;
    boot_cpu.apic_id = cpuid(1, 0).ebx >> 24; // its 32-bit x2APIC ID, if any: interrupts_init()
    cpus[0] = &boot_cpu;
    cpu_count = 1;
    cpu_init_local(&boot_cpu, ist);
    boot_cpu.online = true;
}
