// The other processors: starting them, talking to them, stopping them (cpu/smp.h).
#include "acpi/acpi.h"
#include "boot/boot_info.h"
#include "boot/main.h"
#include "cpu/apic.h"
#include "cpu/clock.h"
#include "cpu/clock_cpu.h"
#include "cpu/irq.h"
#include "cpu/local.h"
#include "cpu/smp.h"
#include "cpu/trap.h"
#include "cpu/x86.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/kernel_map.h"
#include "mm/kstack.h"

// Laid out in cpu/trampoline.S
struct trampoline_parameters {
    uint64_t boot_cr3, kernel_cr3, stack;
    struct cpu *cpu;
    uint64_t high;
    uint32_t far_offset;
    uint16_t far_selector, gdt_limit;
    uint32_t gdt_base;
} packed;
extern char trampoline_start[], trampoline_64[], trampoline_parameters[], trampoline_gdt[],
    trampoline_end[], trampoline_high[], boot_pml4[];

void smp_secondary_main(struct cpu *c);

static uint64_t secondary_tsc; // what the processor being started read

// A processor's life begins here, on its own stack and the kernel's page tables.
void smp_secondary_main(struct cpu *c) {
    const struct cpu_arch *arch = c->arch;
    uint64_t ist[IST_COUNT]; // start_one() left their tops there
    memcpy(ist, arch->tss.ist, sizeof(ist));
    cpu_init_local(c, ist);
    apic_init_cpu();
    clock_init_cpu();
    WRITE_ONCE(secondary_tsc, rdtsc());
    if (READ_ONCE(cpus[c->id]) != c) // smp_init() has given up on us
        for (;;)
            __asm__ volatile("cli; hlt");
    sched_run_secondary(); // sets c->online
}

#define TRAMPOLINE_LOWEST 0x1000u
#define TRAMPOLINE_END    0xa0000u

// A usable page below 640 KB. mm/ keeps the first MB for such things.
static paddr_t find_trampoline_page(void) {
    for (paddr_t page = TRAMPOLINE_END - PAGE_SIZE; page >= TRAMPOLINE_LOWEST; page -= PAGE_SIZE) {
        paddr_t end = page + PAGE_SIZE;
        if (page < boot_info.initrd_end && end > boot_info.initrd_start)
            continue;
        for (unsigned i = 0; i < boot_info.memory_count; i++) {
            const struct memory_range *m = &boot_info.memory[i];
            if (m->usable && page >= m->start && end <= m->end)
                return page;
        }
    }
    return 0;
}

// Copies the trampoline to `page` and fills in what is equal for all processors.
static struct trampoline_parameters *place_trampoline(paddr_t page) {
    char *copy = phys_to_virt(page);
    memcpy(copy, trampoline_start, trampoline_end - trampoline_start);
    struct trampoline_parameters *p = (void *)(copy + (trampoline_parameters - trampoline_start));
    p->boot_cr3 = (uint64_t)boot_pml4 - KERNEL_BASE;
    p->kernel_cr3 = kernel_root;
    p->high = (uint64_t)trampoline_high;
    p->far_offset = page + (trampoline_64 - trampoline_start);
    p->gdt_base = page + (trampoline_gdt - trampoline_start);
    return p;
}

// State of a processor that does not run yet. NULL: no memory (the machine is not usable then anyway,
// so nothing is taken back).
static struct cpu *create_cpu(unsigned id, uint32_t apic) {
    struct cpu *c = kzalloc(sizeof(*c));
    struct cpu_arch *arch = kzalloc(sizeof(*arch));
    if (!c || !arch)
        return NULL;
    c->id = id;
    c->apic_id = apic;
    c->arch = arch;
    for (unsigned i = 0; i < IST_COUNT; i++) {
        char *stack = kstack_alloc();
        if (!stack)
            return NULL;
        arch->tss.ist[i] = (uint64_t)stack + KSTACK_SIZE;
    }
    return c;
}

#define MS 1000000ull // in ns

static bool wait_online(const struct cpu *c, uint64_t ns) {
    for (uint64_t end = clock_monotonic() + ns; clock_monotonic() < end; cpu_relax())
        if (__atomic_load_n(&c->online, __ATOMIC_ACQUIRE))
            return true;
    return false;
}

// INIT, then STARTUP once or twice (Intel SDM vol. 3, 9.4.4.1).
static bool wake(const struct cpu *c, paddr_t page) {
    apic_send(c->apic_id, ICR_INIT | ICR_ASSERT);
    clock_delay(10 * MS);
    apic_send(c->apic_id, ICR_STARTUP | ICR_ASSERT | page >> PAGE_SHIFT);
    if (wait_online(c, 10 * MS))
        return true;
    apic_send(c->apic_id, ICR_STARTUP | ICR_ASSERT | page >> PAGE_SHIFT);
    return wait_online(c, 2000 * MS);
}

static void check_tsc(const struct cpu *c, uint64_t before, uint64_t after) {
    uint64_t t = READ_ONCE(secondary_tsc);
    if (t < before || t > after)
        log_warning(
            "cpu: the TSC of processor %u differs (%#lx, not in %#lx-%#lx): times will jump", c->id,
            t, before, after);
}

// Starts one processor. One that does not come up keeps its memory: it may still wake.
static void start_one(uint32_t apic, paddr_t page, struct trampoline_parameters *p) {
    struct cpu *c = create_cpu(cpu_count, apic);
    char *stack = c ? kstack_alloc() : NULL;
    if (!stack) {
        log_warning("cpu: no memory for the processor with APIC ID %u", apic);
        return;
    }
    p->cpu = c;
    p->stack = (uint64_t)stack + KSTACK_SIZE;
    cpus[c->id] = c;
    uint64_t before = rdtsc();
    if (!wake(c, page)) {
        cpus[c->id] = NULL;
        log_warning("cpu: the processor with APIC ID %u does not start", apic);
        return;
    }
    check_tsc(c, before, rdtsc());
    __atomic_store_n(&cpu_count, cpu_count + 1, __ATOMIC_RELEASE);
}

static void start_others(void) {
    paddr_t page = find_trampoline_page();
    if (!page) {
        log_warning("cpu: no memory below 640 KB to start other processors from");
        return;
    }
    struct trampoline_parameters *p = place_trampoline(page);
    for (unsigned i = 0; i < acpi_info.processor_count && cpu_count < MAX_CPUS; i++)
        if (acpi_info.processors[i] != cpus[0]->apic_id)
            start_one(acpi_info.processors[i], page, p);
}

// Calls: one at a time. The caller's request is on its stack; each processor counts itself off.
struct call {
    void (*fn)(void *arg);
    void *arg;
    uint32_t waiting;
};
static struct call *current_call;
static bool call_busy;

static void run_call(void *arg) {
    struct call *call = __atomic_load_n(&current_call, __ATOMIC_ACQUIRE);
    call->fn(call->arg);
    __atomic_fetch_sub(&call->waiting, 1, __ATOMIC_RELEASE);
}

void smp_call_others(void (*fn)(void *arg), void *arg) {
    ASSERT(irq_enabled() && !this_cpu()->lock_depth);
    // Waiting with interrupts on: the one who is ahead needs our answer to its call.
    while (__atomic_test_and_set(&call_busy, __ATOMIC_ACQUIRE))
        cpu_relax();
    struct call call = {fn, arg, cpu_count - 1};
    __atomic_store_n(&current_call, &call, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < cpu_count; i++)
        if (cpus[i] != this_cpu())
            smp_send(i, VECTOR_CALL);
    while (__atomic_load_n(&call.waiting, __ATOMIC_ACQUIRE))
        cpu_relax();
    __atomic_clear(&call_busy, __ATOMIC_RELEASE);
}

void smp_send(unsigned cpu, unsigned vector) {
    apic_send(cpus[cpu]->apic_id, ICR_FIXED | ICR_ASSERT | vector);
}

void smp_reschedule(unsigned cpu) {
    WRITE_ONCE(cpus[cpu]->need_resched, 1);
    if (cpus[cpu] != this_cpu())
        smp_send(cpu, VECTOR_RESCHEDULE);
}

void smp_init(void) {
    irq_set_vector(VECTOR_CALL, "call", run_call, NULL);
    start_others();
    log_info("cpu: %u processor%s", cpu_count, cpu_count == 1 ? "" : "s");
}

// Stopping for a panic.
static bool stopping;
static uint64_t stopped_at[MAX_CPUS];

bool smp_handle_nmi(const struct trap_frame *f) {
    if (!READ_ONCE(stopping))
        return false;
    __atomic_store_n(&stopped_at[this_cpu()->id], f->rip, __ATOMIC_RELEASE);
    for (;;)
        __asm__ volatile("cli; hlt");
}

uint64_t smp_stopped_at(unsigned cpu) {
    return stopped_at[cpu];
}

#define STOP_PATIENCE 10000000u // polls

void smp_stop_others(void) {
    WRITE_ONCE(stopping, true);
    struct cpu *self = cpu_count > 1 ? this_cpu() : NULL;
    for (unsigned i = 0; i < cpu_count && self; i++) {
        if (cpus[i] == self)
            continue;
        apic_send(cpus[i]->apic_id, ICR_NMI | ICR_ASSERT);
        for (unsigned n = 0; n < STOP_PATIENCE; n++) {
            if (__atomic_load_n(&stopped_at[i], __ATOMIC_ACQUIRE))
                break;
            cpu_relax();
        }
    }
}
