// The performance counter behind the pmc clock: found, programmed, put to the test (vmm/intel/pmc.h).
// SDM vol. 3, "Architectural Performance Monitoring Version 2".
#include "vmm/intel/pmc.h"
#include "cpu/apic.h"
#include "cpu/smp.h"
#include "cpu/trap.h"
#include "cpu/x86.h"
#include "vmm/clock.h"
#include "vmm/intel/vmx.h"
#include "vmm/probe_guest.h"

#define MSR_PMC0               0x0c1
#define MSR_PERFEVTSEL0        0x186
#define MSR_PERF_GLOBAL_STATUS 0x38e
#define MSR_PERF_GLOBAL_CTRL   0x38f
#define MSR_PERF_GLOBAL_CLEAR  0x390                                   // IA32_PERF_GLOBAL_OVF_CTRL
#define SELECT_COUNTING        (BIT(16) | BIT(17) | BIT(20) | BIT(22)) // user, kernel, interrupt, enable
#define COUNTER_0              BIT(0)
// A write to IA32_PMC0 extends the sign of the lower half: the counter is used with 32 bits.
#define WIDTH 32

bool vmx_pmc_on;
static uint64_t selected; // IA32_PERFEVTSEL0

bool vmx_pmc_arm(struct vcpu *v, uint64_t branches) {
    struct pmc_plan *plan = &vmx_of(v)->pmc_plan;
    *plan = pmc_plan(branches, WIDTH);
    wrmsr(MSR_PMC0, plan->start);
    v->costs.msr_accesses++;
    return plan->step;
}

uint64_t vmx_pmc_collect(struct vcpu *v) {
    v->costs.msr_accesses++;
    return pmc_passed(&vmx_of(v)->pmc_plan, rdmsr(MSR_PMC0), WIDTH);
}

// An overflow is an NMI: it must end a slice in which interrupts are masked. It may come after the exit.
static bool overflow_nmi(void) {
    if (!(rdmsr(MSR_PERF_GLOBAL_STATUS) & COUNTER_0))
        return false;
    wrmsr(MSR_PERF_GLOBAL_CLEAR, COUNTER_0);
    apic_write(APIC_LVT_PERFORMANCE, LVT_NMI); // its delivery has masked it
    return true;
}

static void program_here(void *ok) {
    bool good = msr_write_safe(MSR_PERF_GLOBAL_CTRL, 0) && msr_write_safe(MSR_PMC0, 0) &&
                msr_write_safe(MSR_PERFEVTSEL0, selected) &&
                msr_write_safe(MSR_PERF_GLOBAL_CLEAR, COUNTER_0);
    if (good)
        apic_write(APIC_LVT_PERFORMANCE, selected ? LVT_NMI : LVT_MASKED);
    else
        __atomic_store_n((bool *)ok, false, __ATOMIC_RELAXED);
}

static bool program(uint64_t select) {
    bool ok = true;
    selected = select;
    irq_disable();
    program_here(&ok);
    irq_enable();
    smp_call_others(program_here, &ok);
    return ok;
}

// A loop of known length, run through, and stopped half-way by the counter and single steps.
static const char *try_known_program(struct probe_guest *g) {
    for (uint64_t n = 1; n < 100000; n = n * 3 + 1) {
        probe_guest_start(g, probe_branches, n);
        if (probe_guest_run(g, UINT32_MAX) != EXIT_HLT || g->v->count == 0)
            return "a counter is announced but does not count";
        if (g->v->count != n)
            return "the counter does not count conditional branches exactly";
        if (!vmm_clock.step_works)
            return "a performance counter is of no use without the monitor trap flag";
        probe_guest_start(g, probe_branches, n);
        uint64_t half = n / 2;
        if (half && (probe_guest_run(g, half) != EXIT_COUNT || g->v->count != half))
            return "the counter does not stop the guest at an exact count";
        if (probe_guest_run(g, UINT32_MAX) != EXIT_HLT || g->v->count != n)
            return "the counter loses branches across exits";
    }
    return NULL;
}

// With this event (BR_INST_RETIRED conditional, SDM vol. 3, chapter "Performance Monitoring Events").
static const char *try_event(uint64_t event) {
    if (!program(event | SELECT_COUNTING))
        return "the MSRs of the performance counters do not exist";
    struct probe_guest g;
    vmx_pmc_on = true;
    nmi_hook = overflow_nmi;
    vmm_clock.info.kind = CHRONO_CLOCK_PMC;
    const char *fault = "no memory for the guest that proves the counter";
    if (probe_guest_create(&g)) {
        fault = try_known_program(&g);
        probe_guest_free(&g);
    }
    if (fault) {
        vmx_pmc_on = false;
        vmm_clock.info.kind = CHRONO_CLOCK_NONE;
        program(0);
        nmi_hook = NULL;
    }
    return fault;
}

const char *clock_pmc_prove(void) {
    struct cpuid_result r = {0};
    if (cpuid(0, 0).eax >= 0xa)
        r = cpuid(0xa, 0);
    if ((r.eax & 0xff) < 2 || !(r.eax >> 8 & 0xff))
        return "no performance counters";
    if (!(vmx_controls.entry_cap & (uint64_t)ENTRY_LOAD_PERF << 32) ||
        !(vmx_controls.exit_cap & (uint64_t)EXIT_LOAD_PERF << 32))
        return "the performance counters cannot be switched at entries and exits";
    static const uint64_t events[] = {0x01c4, 0x11c4}; // up to Skylake, since Ice Lake
    const char *fault = try_event(events[0]);
    return fault ? try_event(events[1]) : NULL;
}
