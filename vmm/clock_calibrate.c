// Proving the TSC clock: known programs must be counted exactly, however they are interrupted.
//
// Each experiment returns NULL, or the sentence that says why the TSC cannot be the clock.
#include "cpu/percpu.h"
#include "vmm/clock.h"
#include "vmm/probe_guest.h"
#include "vmm/vendor.h"
#include "vmm/x86.h"

#define MIX_ROUNDS  6u    // of the program that does a bit of everything
#define MIX_LONGEST 1000u // its length in ticks is below
#define IRQ_TICKS   3u    // length of the handler probe_on_irq

static const char *const not_constant =
    "the TSC does not count instructions: equal passages differ";

// The cost of a passage: HLT alone, after the first VMLAUNCH and then by VMRESUME.
static const char *measure_passage(struct probe_guest *g) {
    vmm_clock.passage_ticks = vmm_clock.ticks_before_guest = 0;
    uint64_t ticks = 0;
    for (unsigned i = 0; i < 16; i++) {
        probe_guest_start(g, probe_halt, 0);
        if (probe_guest_run(g, UINT32_MAX) != EXIT_HLT)
            return "a guest that only halts does not exit by HLT";
        if (i > 0 && g->v->count != ticks)
            return not_constant;
        ticks = g->v->count;
    }
    vmm_clock.passage_ticks = ticks;
    // What the guest's first instruction reads when its TSC should be 0 there.
    g->v->control = CHRONO_VTIME;
    probe_guest_start(g, probe_tsc, 0);
    probe_guest_run(g, UINT32_MAX);
    g->v->control = 0;
    vmm_clock.ticks_before_guest = g->v->gpr[GPR_RAX] | g->v->gpr[GPR_RDX] << 32;
    return vmm_clock.ticks_before_guest < ticks ? NULL : not_constant;
}

static const struct {
    const uint8_t *program;
    unsigned per_round;
    const char *complaint;
} known[] = {
    {probe_loop, 2, "the TSC does not count a loop's instructions one by one"},
    {probe_rep, 1, "the TSC does not count each iteration of REP STOSB"},
    {probe_exits, 3, "the count is wrong across CPUID exits"},
    {probe_faults, 6, "the count is wrong across exceptions in the guest"},
    {probe_soft, 4, "the count is wrong across software interrupts"},
};

static const char *count_known_programs(struct probe_guest *g) {
    static const unsigned rounds[] = {1, 2, 3, 10, 101, 1000};
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
        for (unsigned j = 0; j < ARRAY_SIZE(rounds); j++) {
            probe_guest_start(g, known[i].program, rounds[j]);
            bool halted = probe_guest_run(g, UINT32_MAX) == EXIT_HLT;
            if (!halted || g->v->count != (uint64_t)rounds[j] * known[i].per_round)
                return known[i].complaint;
        }
    return NULL;
}

// Where a guest stands.
struct place {
    uint64_t count, rip, rcx, hash;
};
static struct place place_of(const struct vcpu *v) {
    return (struct place){v->count, v->rip, v->gpr[GPR_RCX], v->gpr[GPR_RAX] ^ v->gpr[GPR_RBX]};
}
static bool same_place(const struct place *a, const struct place *b) {
    return a->count == b->count && a->rip == b->rip && a->rcx == b->rcx && a->hash == b->hash;
}

static void start_mix(struct probe_guest *g) {
    probe_guest_start(g, probe_mix, MIX_ROUNDS);
}

// `end`: where the program halts when nothing disturbs it.
static const char *run_mix(struct probe_guest *g, struct place *end) {
    start_mix(g);
    if (probe_guest_run(g, MIX_LONGEST) != EXIT_HLT)
        return "the mixed program does not end";
    *end = place_of(g->v);
    return NULL;
}

// Single steps through the program, then a stop at every count: the same places, and the same end.
// A stop may come one later, behind the shadow of STI or MOV SS, where no timer can end the run.
static const char *stop_everywhere(struct probe_guest *g, const struct place *end) {
    static struct place steps[MIX_LONGEST]; // by count; count 0: not a place where a run can stop
    start_mix(g);
    while (probe_guest_run(g, g->v->count + 1) == EXIT_COUNT) {
        if (g->v->count >= MIX_LONGEST)
            return "the mixed program does not end in single steps";
        steps[g->v->count] = place_of(g->v);
    }
    for (uint64_t n = 1; n < end->count; n++) {
        start_mix(g);
        if (probe_guest_run(g, n) != EXIT_COUNT || g->v->count > n + 1)
            return "the preemption timer does not stop the guest at the count asked for";
        struct place here = place_of(g->v);
        if (!same_place(&here, &steps[g->v->count]))
            return "equal counts are not equal places";
        if (probe_guest_run(g, MIX_LONGEST) != EXIT_HLT)
            return "the mixed program does not end after a stop";
        here = place_of(g->v);
        if (!same_place(&here, end))
            return "a stop on the way changes the count";
    }
    return NULL;
}

static bool interruptible(const struct vcpu *v) {
    return (v->rflags & RFLAGS_IF) && !(v->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS));
}

// An interrupt at every count where one can be delivered adds exactly its handler.
static const char *interrupt_everywhere(struct probe_guest *g, const struct place *end) {
    for (uint64_t n = 1; n < end->count; n++) {
        start_mix(g);
        probe_guest_run(g, n);
        if (!interruptible(g->v))
            continue;
        g->v->event.interrupt_pending = true;
        g->v->event.interrupt_vector = PROBE_VECTOR;
        if (probe_guest_run(g, MIX_LONGEST) != EXIT_HLT || g->v->gpr[GPR_R8] != 1 ||
            g->v->count != end->count + IRQ_TICKS)
            return "an injected interrupt changes the count by more than its handler";
    }
    return NULL;
}

// Pages that vanish at every count: of code, data, stack (deliveries fault), and the tables of both.
static const char *unmap_everywhere(struct probe_guest *g, const struct place *end) {
    static const uint64_t pages[] = {PROBE_CODE, PROBE_DATA, PROBE_STACK - PAGE_SIZE,
                                     PROBE_IDT,  PROBE_GDT,  PROBE_PML4};
    for (uint64_t n = 1; n < end->count; n += 3)
        for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
            start_mix(g);
            probe_guest_run(g, n);
            if (interruptible(g->v) && (n & 4)) {
                g->v->event.interrupt_pending = true;
                g->v->event.interrupt_vector = PROBE_VECTOR;
            }
            probe_guest_unmap(g, pages[i]);
            if (probe_guest_run(g, MIX_LONGEST) != EXIT_HLT ||
                g->v->count != end->count + g->v->gpr[GPR_R8] * IRQ_TICKS)
                return "an EPT violation changes the count";
        }
    return NULL;
}

// The monitor trap flag must end a run after one instruction (SDM vol. 3, "Monitor Trap Flag").
static bool probe_step(struct probe_guest *g) {
    probe_guest_start(g, probe_loop, 100);
    struct vm_exit e;
    g->intercepts = INTERCEPT_STEP;
    uint64_t rip = g->v->rip;
    do
        probe_guest_pass(g, 1000, &e);
    while (e.kind == EXIT_INTERRUPT || e.kind == EXIT_NMI);
    g->intercepts = 0;
    return e.kind == EXIT_STEP && g->v->rip != rip && g->v->gpr[GPR_RCX] == 99;
}

static const char *prove(struct probe_guest *g) {
    struct place end;
    const char *fault = measure_passage(g);
    if (!fault)
        fault = count_known_programs(g);
    if (!fault)
        fault = run_mix(g, &end);
    if (!fault)
        fault = stop_everywhere(g, &end);
    if (!fault)
        fault = interrupt_everywhere(g, &end);
    if (!fault)
        fault = unmap_everywhere(g, &end);
    if (!fault && cpu_count > 1)
        fault = "with several processors the TSC is not one processor's instructions";
    return fault;
}

const char *clock_prove_tsc(void) {
    struct probe_guest g;
    if (!probe_guest_create(&g))
        return "no memory for the guest that proves it";
    vmm_clock.step_works = probe_step(&g);
    const char *fault = prove(&g);
    probe_guest_free(&g);
    return fault;
}
