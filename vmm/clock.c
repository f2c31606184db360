// Which instruction clock is in use, and what software adds to it (vmm/clock.h).
#include "vmm/clock.h"
#include "cpu/clock.h"
#include "cpu/percpu.h"
#include "lib/log.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "vmm/clock_pmc.h"
#include "vmm/vendor.h"
#include "vmm/x86.h"

struct vmm_clock vmm_clock;

// The rules, by kind. What is not here needs no correction (measured; docs/clock.md):
//   an exit of any kind, and the injection of an event, are part of the constant of a passage;
//   an EPT violation: the instruction is counted when it is executed again;
//   an exception delivered in the guest: the TSC itself counts one for the delivery;
//   an exit during a delivery replaces that one by its own: `vectoring` gives it back, since injecting
//   the event again adds nothing.
static const struct clock_rules rules[] = {
    [CHRONO_CLOCK_NONE] = {.skipped = 1, .iteration = 1, .vectoring = 1},
    [CHRONO_CLOCK_TSC] = {.skipped = 1, .iteration = 1, .vectoring = 1},
    // Conditional branches: none of these is one.
    [CHRONO_CLOCK_PMC] = {.skipped = 0, .iteration = 0, .vectoring = 0},
};

static void use(unsigned kind, bool exact) {
    vmm_clock.info.kind = kind;
    vmm_clock.info.exact = exact;
    vmm_clock.rules = rules[kind];
}

static const char *const names[] = {
    [CHRONO_CLOCK_NONE] = "none", [CHRONO_CLOCK_TSC] = "tsc", [CHRONO_CLOCK_PMC] = "pmc"};

void vmm_clock_calibrate(void) {
    struct chrono_clock *info = &vmm_clock.info;
    info->tick_hz = clock_tsc_hz();
    clock_fingerprint(info->fingerprint);
    use(CHRONO_CLOCK_TSC, false); // its rules hold while it is put to the test
    const char *tsc_fault = clock_prove_tsc();
    if (!tsc_fault) {
        use(CHRONO_CLOCK_TSC, true);
        snprintf(info->why, sizeof(info->why),
                 "one TSC tick is one guest instruction, as known "
                 "programs proved; a passage costs %lu ticks",
                 vmm_clock.passage_ticks);
    } else {
        const char *pmc_fault = clock_pmc_prove();
        use(pmc_fault ? CHRONO_CLOCK_NONE : CHRONO_CLOCK_PMC, !pmc_fault);
        if (pmc_fault)
            snprintf(info->why, sizeof(info->why), "%s; %s", tsc_fault, pmc_fault);
        else
            strlcpy(info->why, "conditional branches retired in the guest", sizeof(info->why));
    }
    info->exceptions = EXCEPTIONS_ALWAYS | (info->kind == CHRONO_CLOCK_PMC ? 1u << VECTOR_PF : 0);
    info->steps_in_shadow = vmm_clock.step_works;
    log_info("clock: %s, %s: %s", names[info->kind], info->exact ? "exact" : "not exact",
             info->why);
    log_info("clock: single steps by %s", vmm_clock.step_works
                                              ? "the monitor trap flag"
                                              : "the preemption timer (the monitor trap flag does "
                                                "nothing here)");
}
