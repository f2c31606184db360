// The local APIC (cpu/apic.h; Intel SDM vol. 3, chapter 11).
#include "acpi/acpi.h"
#include "cpu/apic.h"
#include "cpu/features.h"
#include "cpu/irq.h"
#include "cpu/msr.h"
#include "cpu/percpu.h"
#include "cpu/x86.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "mm/kstack.h"

#define APIC_BASE_ENABLE  BIT(11)
#define APIC_BASE_X2APIC  BIT(10)
#define APIC_DEFAULT_BASE 0xfee00000u
#define SPURIOUS_ENABLE   0x100u

static bool x2apic;
static volatile uint32_t *registers; // xAPIC mode

uint32_t apic_read(enum apic_register r) {
    if (x2apic)
        return (uint32_t)rdmsr(MSR_X2APIC + r / 16);
    return registers[r / 4];
}

void apic_write(enum apic_register r, uint32_t value) {
    if (x2apic)
        wrmsr(MSR_X2APIC + r / 16, value);
    else
        registers[r / 4] = value;
}

uint32_t apic_id(void) {
    return x2apic ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}
void apic_eoi(void) {
    apic_write(APIC_EOI, 0);
}
const char *apic_mode(void) {
    return x2apic ? "x2APIC" : "xAPIC";
}

void apic_send(uint32_t id, uint32_t command) {
    if (x2apic) {
        // WRMSR to x2APIC registers does not wait for earlier stores (11.12.3): the receiver must
        // see what we wrote before.
        __asm__ volatile("mfence; lfence" ::: "memory");
        wrmsr(MSR_X2APIC + APIC_ICR / 16, (uint64_t)id << 32 | command);
        return;
    }
    // Two writes: an interrupt in between that also sends would tear them apart.
    bool on = irq_enabled();
    irq_disable();
    registers[APIC_ICR_HIGH / 4] = id << 24;
    registers[APIC_ICR / 4] = command;
    while (registers[APIC_ICR / 4] & ICR_PENDING)
        cpu_relax();
    if (on)
        irq_enable();
}

static void spurious(void *arg) {
    (void)arg;
}

static void error(void *arg) {
    apic_write(APIC_ESR, 0); // latches
    log_error("cpu: local APIC error, status %#x", apic_read(APIC_ESR));
}

void apic_init(void) {
    uint64_t base = rdmsr(MSR_APIC_BASE);
    if (!(base & APIC_BASE_ENABLE))
        panic("cpu: the local APIC is switched off by the firmware; switch it on in its setup");
    x2apic = cpu_has(FEATURE_X2APIC);
    if (!x2apic) {
        paddr_t address = acpi_info.lapic_address ? acpi_info.lapic_address : APIC_DEFAULT_BASE;
        registers = map_device(address, PAGE_SIZE, false);
        if (!registers)
            panic("cpu: the local APIC at %#lx cannot be mapped", address);
    }
    irq_set_vector(VECTOR_SPURIOUS, "spurious", spurious, NULL);
    irq_set_vector(VECTOR_APIC_ERROR, "APIC error", error, NULL);
}

void apic_init_cpu(void) {
    if (x2apic)
        wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
    unsigned max_lvt = apic_read(APIC_VERSION) >> 16 & 0xff;
    apic_write(APIC_TPR, 0);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    if (max_lvt >= 4)
        apic_write(APIC_LVT_PERFORMANCE, LVT_MASKED);
    apic_write(APIC_LVT_LINT0, acpi_info.nmi_lint == 0 ? LVT_NMI : LVT_MASKED);
    apic_write(APIC_LVT_LINT1, acpi_info.nmi_lint == 1 ? LVT_NMI : LVT_MASKED);
    apic_write(APIC_LVT_ERROR, VECTOR_APIC_ERROR);
    apic_write(APIC_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
    apic_eoi(); // nothing that the firmware left in service may block us
}
