// Time (cpu/clock.h): the TSC, measured once against a timer of known frequency, and each processor's
// APIC timer.
#include "acpi/acpi.h"
#include "boot/main.h"
#include "cpu/apic.h"
#include "cpu/clock.h"
#include "cpu/clock_cpu.h"
#include "cpu/features.h"
#include "cpu/irq.h"
#include "cpu/msr.h"
#include "cpu/x86.h"
#include "lib/assert.h"
#include "lib/log.h"

#define PM_TIMER_HZ    3579545u // ACPI 6.5, 4.8.3.3
#define PIT_HZ         1193182u
#define PIT_CHANNEL2   0x42
#define PIT_COMMAND    0x43
#define PIT_GATE       0x61 // bit 0: gate of channel 2, bit 1: speaker, bit 5: its output
#define CALIBRATION_MS 20

// Written once by clock_init(). ns = ticks * ns_per_tick / 2^32, and back.
static uint64_t tsc_hz, tsc_base;
static uint64_t ns_per_tick, ticks_per_ns; // 32.32 fixed point
static uint64_t apic_per_tick;             // APIC timer counts per TSC tick; 0: TSC-deadline mode
static uint64_t realtime_offset;           // atomic

static uint64_t scale(uint64_t value, uint64_t factor) {
    return (uint64_t)((unsigned __int128)value * factor >> 32);
}

// a * 2^32 / b; a / 2^32 must be less than b. (In C this would call the compiler's 128-bit division.)
static uint64_t ratio(uint64_t a, uint64_t b) {
    uint64_t quotient, rest;
    __asm__("divq %4" : "=a"(quotient), "=d"(rest) : "a"(a << 32), "d"(a >> 32), "rm"(b) : "cc");
    return quotient;
}

uint64_t clock_tsc_hz(void) {
    return tsc_hz;
}
uint64_t clock_tsc_to_ns(uint64_t ticks) {
    return scale(ticks, ns_per_tick);
}
uint64_t clock_ns_to_tsc(uint64_t ns) {
    return scale(ns, ticks_per_ns);
}
uint64_t clock_monotonic(void) {
    return scale(rdtsc() - tsc_base, ns_per_tick);
}

uint64_t clock_realtime(void) {
    return clock_monotonic() + __atomic_load_n(&realtime_offset, __ATOMIC_RELAXED);
}

void clock_set_realtime(uint64_t ns) {
    __atomic_store_n(&realtime_offset, ns - clock_monotonic(), __ATOMIC_RELAXED);
}

void clock_delay(uint64_t ns) {
    uint64_t start = rdtsc(), ticks = clock_ns_to_tsc(ns);
    while (rdtsc() - start < ticks)
        cpu_relax();
}

// A reading of the PM timer and the TSC at the same moment: of several the one that took least.
static void read_both(uint32_t *pm, uint64_t *tsc) {
    uint64_t best = UINT64_MAX;
    *pm = 0;
    *tsc = 0;
    for (int i = 0; i < 5; i++) {
        uint64_t before = rdtsc();
        uint32_t value = inl(acpi_info.pm_timer);
        uint64_t after = rdtsc();
        if (after - before < best) {
            best = after - before;
            *pm = value;
            *tsc = before + best / 2;
        }
    }
}

// TSC ticks per second by the ACPI PM timer; 0: it does not count.
static uint64_t measure_by_pm_timer(void) {
    uint32_t mask = acpi_info.pm_timer_32 ? UINT32_MAX : 0xffffff;
    uint32_t start, now, polls = 0;
    uint64_t tsc_start, tsc_end;
    read_both(&start, &tsc_start);
    do
        now = inl(acpi_info.pm_timer);
    while (((now - start) & mask) < PM_TIMER_HZ / 1000 * CALIBRATION_MS && ++polls < 10000000);
    read_both(&now, &tsc_end);
    uint32_t counts = (now - start) & mask;
    if (counts < PM_TIMER_HZ / 1000 * CALIBRATION_MS)
        return 0;
    return (tsc_end - tsc_start) * PM_TIMER_HZ / counts;
}

// The same by channel 2 of the 8254: mode 0, its output rises when the count ends.
static uint64_t measure_by_pit(void) {
    uint32_t counts = PIT_HZ / 1000 * CALIBRATION_MS;
    uint8_t gate = inb(PIT_GATE) & ~3u;
    outb(PIT_GATE, gate | 1);
    outb(PIT_COMMAND, 0xb0); // channel 2, low then high byte, mode 0
    outb(PIT_CHANNEL2, counts & 0xff);
    outb(PIT_CHANNEL2, counts >> 8);
    uint64_t start = rdtsc();
    for (uint32_t polls = 0; !(inb(PIT_GATE) & 0x20); polls++)
        if (polls == 10000000)
            panic("cpu: no timer counts: neither the ACPI PM timer nor the 8254");
    uint64_t end = rdtsc();
    outb(PIT_GATE, gate);
    return (end - start) * PIT_HZ / counts;
}

// What the processor says about its TSC (CPUID 15h), exact; 0: nothing.
static uint64_t nominal_hz(void) {
    if (cpuid(0, 0).eax < 0x15)
        return 0;
    struct cpuid_result r = cpuid(0x15, 0);
    return r.eax && r.ebx && r.ecx ? (uint64_t)r.ecx * r.ebx / r.eax : 0;
}

static const char *measure_tsc(void) {
    const char *how = "the ACPI PM timer";
    tsc_hz = acpi_info.pm_timer ? measure_by_pm_timer() : 0;
    if (!tsc_hz) {
        how = "the 8254";
        tsc_hz = measure_by_pit();
    }
    if (!tsc_hz)
        panic("cpu: the TSC does not count");
    // Believed only when the measurement agrees: emulators claim the frequency of the model.
    uint64_t nominal = nominal_hz();
    uint64_t difference = nominal > tsc_hz ? nominal - tsc_hz : tsc_hz - nominal;
    if (nominal && difference < tsc_hz / 200) {
        tsc_hz = nominal;
        how = "CPUID";
    }
    ns_per_tick = ratio(NSEC_PER_SEC, tsc_hz);
    ticks_per_ns = ratio(tsc_hz, NSEC_PER_SEC);
    return how;
}

#define APIC_DIVIDE_1 0xb

static void measure_apic_timer(void) {
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_1);
    apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
    uint64_t start = rdtsc();
    clock_delay(CALIBRATION_MS * 1000000ull);
    uint32_t counts = UINT32_MAX - apic_read(APIC_TIMER_CURRENT);
    uint64_t ticks = rdtsc() - start;
    apic_write(APIC_TIMER_INITIAL, 0);
    apic_per_tick = ratio(counts, ticks);
    if (!apic_per_tick)
        panic("cpu: the timer of the local APIC does not count");
}

void clock_init_cpu(void) {
    if (apic_per_tick) {
        apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_1);
        apic_write(APIC_LVT_TIMER, VECTOR_TIMER);
        return;
    }
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER | LVT_TSC_DEADLINE);
    // In xAPIC mode the store above must be done before the first deadline (SDM vol. 3, 11.5.4.1).
    __asm__ volatile("mfence" ::: "memory");
}

#define NEVER_NS BIT(60) // 36 years: beyond, ticks might not fit into 64 bits

void clock_arm(uint64_t monotonic_ns) {
    bool off = monotonic_ns >= NEVER_NS;
    uint64_t deadline = off ? 0 : tsc_base + scale(monotonic_ns, ticks_per_ns) + 1;
    if (!apic_per_tick) {
        wrmsr(MSR_TSC_DEADLINE, deadline); // 0 disarms; one in the past fires at once
        return;
    }
    uint64_t now = rdtsc(), counts = 0;
    if (!off) {
        counts = deadline > now ? scale(deadline - now, apic_per_tick) : 0;
        if (counts == 0)
            counts = 1; // 0 would mean off
        if (counts > UINT32_MAX)
            counts = UINT32_MAX; // fires early, and whoever asked arms again
    }
    apic_write(APIC_TIMER_INITIAL, counts);
}

void clock_init(void) {
    tsc_base = rdtsc();
    const char *how = measure_tsc();
    log_set_clock(clock_monotonic);
    if (!cpu_has(FEATURE_TSC_DEADLINE))
        measure_apic_timer();
    clock_init_cpu();
    log_info("cpu: %s; TSC %lu.%03lu MHz by %s%s; timer: %s", apic_mode(), tsc_hz / 1000000,
             tsc_hz / 1000 % 1000, how,
             cpu_has(FEATURE_INVARIANT_TSC) ? "" : " (not said to be invariant)",
             apic_per_tick ? "APIC one-shot" : "TSC deadline");
}
