/* sources: vmm/machine/run.c vmm/machine/exits.c vmm/machine/exit_clock.c vmm/machine/bus.c vmm/machine/device.c vmm/machine/state.c vmm/machine/vtime.c tests/unit/machine_host.c */
// The run loop over a processor that follows a script: order of things at a stop, delivery of interrupts,
// completion of accesses, whose turn it is.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "machine_host.h"
#include "replay/inputs.h"
#include "vmm/machine/cpu.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/display.h"
#include "vmm/machine/lapic.h"
#include "vmm/machine/output.h"

#define CPUS  2
#define SLICE 1000

static struct machine *m;
static struct kvm_run runs[CPUS];
static struct chrono_run chronos[CPUS];
static char history[512]; // what happened, a word each
static int vector = -1;   // the interrupt that is pending for CPU 0
static uint64_t next_slice;
static uint64_t moves; // of the anchor, at its next question

static void note(const char *fmt, ...) {
    size_t used = strlen(history);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(history + used, sizeof(history) - used, fmt, ap);
    va_end(ap);
}

// ---- the processor -----------------------------------------------------------------------------
struct step {
    uint64_t ticks; // it executes at most so many, then
    uint32_t reason;
    unsigned cpu;
};
static const struct step *script; // a step with reason ~0 ends the run

int cpu_enter(struct cpu *c, uint64_t stop_count) {
    if (c->run->immediate_exit) {
        note("complete ");
        c->access_pending = false;
        m->count++;
        return -EINTR;
    }
    c->access_pending = false;
    note(m->alone ? "alone%u " : "run%u ", c->index);
    if (m->count + script->ticks >= stop_count && script->reason != UINT32_MAX) {
        m->count = stop_count;
        c->run->exit_reason = KVM_EXIT_CHRONO_STOP;
        return 0;
    }
    if (script->reason == UINT32_MAX) {
        machine_stop(m, MACHINE_POWERED_OFF, "end of the script");
        return -EINTR;
    }
    m->count += script->ticks;
    c->run->exit_reason = script->reason;
    script++;
    return 0;
}

void cpu_inject(struct cpu *c, uint8_t v) {
    note("inject%x ", v);
}

void cpu_inject_nmi(struct cpu *c) {
    note("nmi ");
}

void cpu_take_signals(struct cpu *c) {
    if (c->sipi_pending)
        c->waiting_for_sipi = false;
    c->init_pending = c->sipi_pending = false;
}

bool irq_pending(struct cpu *c) {
    return c->index == 0 && vector >= 0;
}

int irq_acknowledge(struct cpu *c) {
    int v = vector;
    vector = -1;
    return v;
}

bool cpu_runnable(struct cpu *c) {
    return !c->waiting_for_sipi &&
           (!c->halted || c->nmi_pending || (c->run->if_flag && irq_pending(c)));
}

bool lapic_claims(const struct lapic *l, uint64_t gpa) {
    return gpa >> 12 == 0xfee00;
}

uint64_t lapic_read(struct lapic *l, unsigned offset, unsigned width) {
    return 0x1234;
}

void lapic_write(struct lapic *l, unsigned offset, unsigned width, uint64_t value) {
    note("apic%x=%lx ", offset, value);
}

void msr_exit_read(struct cpu *c) {
    note("rdmsr ");
}

void msr_exit_write(struct cpu *c) {
    note("wrmsr ");
}

uint64_t plain_count(void) {
    return m->count;
}

// ---- inputs ------------------------------------------------------------------------------------
uint64_t inputs_next_stop(struct inputs *in, uint64_t count) {
    if (m->by_exits)
        return UINT64_MAX;
    while (next_slice <= count)
        next_slice += SLICE;
    return next_slice;
}

uint64_t inputs_anchor(struct inputs *in, const struct landmark *at, uint64_t anchor) {
    note("anchor ");
    anchor += moves;
    moves = 0;
    return anchor;
}

void inputs_deliver(struct inputs *in, const struct landmark *at) {
    note("inputs ");
}

bool inputs_left(const struct inputs *in) {
    return false;
}

unsigned inputs_choose_cpu(struct inputs *in, const struct landmark *at, unsigned now,
                           uint64_t runnable) {
    return runnable >> (1 - now) & 1 ? 1 - now : now;
}

uint64_t inputs_idle(struct inputs *in, const struct landmark *at, uint64_t anchor,
                     uint64_t deadline, int *err) {
    note("idle ");
    if (deadline == UINT64_MAX) {
        *err = -EINTR;
        return anchor;
    }
    return deadline - at->count;
}

void output_flush_all(void) {}
void display_refresh(struct machine *of, bool idle) {}

// ---- a debugger that pauses before every turn ------------------------------------------------------
static bool paused;

bool debug_pauses(struct machine *of) {
    return paused = !paused;
}

uint64_t debug_stop_count(const struct machine *of, uint64_t stop) {
    return stop;
}

bool debug_in_shadow(const struct machine *of) {
    return false;
}

void debug_delivers(struct cpu *c) {}

void debug_switches(struct machine *of) {}

bool debug_takes_exit(struct cpu *c) {
    return false;
}

// ---- tests -------------------------------------------------------------------------------------
static struct vtimer timer, second;

static void expire(void *o) {
    note("%s ", (char *)o);
}

static void expire_with_interrupt(void *o) {
    note("timer ");
    vector = 0x30;
}

static int setup(void **state) {
    m = host_create();
    m->exact = true;
    m->cpu_count = 1;
    m->current = &m->cpus[0];
    memset(runs, 0, sizeof(runs));
    for (unsigned i = 0; i < CPUS; i++) {
        runs[i].if_flag = runs[i].ready_for_interrupt_injection = 1;
        m->cpus[i] = (struct cpu){.machine = m, .index = i, .run = &runs[i], .chrono = &chronos[i]};
    }
    history[0] = 0;
    vector = -1;
    next_slice = moves = 0;
    return 0;
}

static void run(const struct step *steps) {
    script = steps;
    machine_run(m);
}

#define END \
    { 0, UINT32_MAX, 0 }

// A device that promises two things for now.
static void arm_both(void *o, uint64_t offset, unsigned width, uint64_t value) {
    vtimer_arm(&second, vtime_now(m));
    vtimer_arm(&timer, vtime_now(m));
}

static void order_at_stops(void **state) {
    static const struct step steps[] = {{500, KVM_EXIT_MMIO, 0}, {600, KVM_EXIT_INTR, 0}, END};
    struct bus_range range = {
        .space = BUS_MEMORY, .base = 0x5000, .size = 1, .name = "fake", .write = arm_both};
    bus_add(m, &range);
    vtimer_init(m, &timer, expire, "first");
    vtimer_init(m, &second, expire, "second");
    runs[0].mmio.phys_addr = 0x5000;
    runs[0].mmio.len = 1;
    runs[0].mmio.is_write = 1;
    run(steps);
    assert_string_equal(history, "run0 complete first second run0 anchor inputs run0 run0 ");
}

static void timers_stop_the_guest_at_their_count(void **state) {
    vtimer_init(m, &timer, expire, "timer");
    vtimer_arm(&timer, 300);
    const struct step steps[] = {{500, KVM_EXIT_INTR, 0}, END};
    m->anchor = 100;
    run(steps);
    // 200 ticks to the timer (no inputs: not a slice end), then 500 more to the scripted exit
    assert_string_equal(history, "run0 timer run0 run0 ");
    assert_int_equal(m->count, 700);
}

static void slice_ends_take_inputs(void **state) {
    static const struct step steps[] = {
        {SLICE - 10, KVM_EXIT_INTR, 0}, {15, KVM_EXIT_IRQ_WINDOW_OPEN, 0}, END};
    vtimer_init(m, &timer, expire_with_interrupt, NULL);
    vtimer_arm(&timer, SLICE + 10);
    run(steps);
    // to the exit; to the slice end; to the timer; to the exit; the end of the script
    assert_string_equal(history, "run0 run0 anchor inputs run0 timer inject30 run0 run0 ");
}

static void interrupts_wait_for_the_window(void **state) {
    static const struct step steps[] = {{10, KVM_EXIT_INTR, 0}, END};
    vector = 0x41;
    runs[0].ready_for_interrupt_injection = 0;
    run(steps);
    assert_string_equal(history, "run0 run0 ");
    assert_int_equal(runs[0].request_interrupt_window, 1);
    setup(NULL);
    vector = 0x41;
    runs[0].if_flag = 0;
    run(steps);
    assert_string_equal(history, "run0 run0 ");
}

static void accesses_are_completed_before_an_interrupt(void **state) {
    static const struct step steps[] = {{10, KVM_EXIT_INTR, 0}, END};
    vector = 0x41;
    m->cpus[0].access_pending = true;
    run(steps);
    assert_string_equal(history, "complete inject41 run0 run0 ");
    assert_int_equal(runs[0].request_interrupt_window, 0);
}

// Clock none: time moves at an exit before that is answered; only where it moved are inputs looked at.
static void time_passes_by_exits(void **state) {
    static const struct step steps[] = {
        {1, KVM_EXIT_CHRONO_INSN, 0}, {1, KVM_EXIT_CHRONO_INSN, 0}, END};
    m->exact = false;
    m->by_exits = true;
    chronos[0].insn = CHRONO_INSN_RDTSC;
    vtimer_init(m, &timer, expire, "timer");
    vtimer_arm(&timer, 100);
    moves = 1000;
    script = steps;
    machine_run(m);
    assert_string_equal(history, "run0 anchor complete timer inputs run0 anchor run0 ");
    assert_int_equal(chronos[0].value, 1003); // one for each exit, and one for completing the first
}

static void nmi(void **state) {
    static const struct step steps[] = {END};
    m->cpus[0].nmi_pending = m->cpus[0].halted = true;
    runs[0].if_flag = 0;
    run(steps);
    assert_string_equal(history, "nmi run0 ");
    assert_false(m->cpus[0].halted);
}

static void halted_until_the_timer(void **state) {
    vtimer_init(m, &timer, expire_with_interrupt, NULL);
    vtimer_arm(&timer, 50000);
    static const struct step steps[] = {{10, KVM_EXIT_HLT, 0}, END};
    run(steps);
    assert_string_equal(history, "run0 idle timer inputs inject30 run0 ");
    assert_int_equal(vtime_now(m), 50000);
    assert_int_equal(m->count, 10); // no ticks passed in the guest
}

static void halted_for_ever_can_be_left(void **state) {
    static const struct step steps[] = {{10, KVM_EXIT_HLT, 0}, END};
    runs[0].if_flag = 0;
    run(steps);
    assert_int_equal(m->end, MACHINE_QUIT);
}

static void processors_take_turns(void **state) {
    m->cpu_count = 2;
    chronos[0].insn = chronos[1].insn = CHRONO_INSN_PAUSE;
    static const struct step steps[] = {{10, KVM_EXIT_CHRONO_INSN, 0}, {10, KVM_EXIT_HLT, 1}, END};
    run(steps);
    assert_string_equal(history, "run0 complete run1 run0 ");
    setup(NULL);
    m->cpu_count = 2;
    m->cpus[1].waiting_for_sipi = true;
    run(steps);
    assert_string_equal(history, "run0 complete alone0 idle inputs "); // it need not ask again
    setup(NULL);
    m->cpu_count = 2;
    m->cpus[1].waiting_for_sipi = m->cpus[1].sipi_pending = true;
    run(steps);
    assert_string_equal(history, "run0 complete run1 run0 ");
}

static void string_output(void **state) {
    static struct {
        struct kvm_run run;
        uint8_t data[64];
    } page;
    static const struct step steps[] = {{10, KVM_EXIT_IO, 0}, END};
    page.run = runs[0];
    page.run.io.direction = KVM_EXIT_IO_IN;
    page.run.io.size = 2;
    page.run.io.count = 3;
    page.run.io.port = 0x999;
    page.run.io.data_offset = sizeof(struct kvm_run);
    m->cpus[0].run = &page.run;
    run(steps);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(page.data[i], 0xff); // nobody is there
    assert_int_equal(page.data[6], 0);
}

static void the_local_apic_is_asked_first(void **state) {
    static const struct step steps[] = {{10, KVM_EXIT_MMIO, 0}, END};
    runs[0].mmio.phys_addr = 0xfee000b0;
    runs[0].mmio.len = 4;
    runs[0].mmio.is_write = 1;
    run(steps);
    assert_string_equal(history, "run0 apicb0=0 run0 ");
    setup(NULL);
    runs[0].mmio.phys_addr = 0xfee00020;
    runs[0].mmio.len = 4;
    run(steps);
    assert_memory_equal(runs[0].mmio.data, "\x34\x12\0", 4);
}

static void exits_are_kept(void **state) {
    char text[256], small[40];
    static const struct step steps[] = {{10, KVM_EXIT_MMIO, 0}, {20, KVM_EXIT_HLT, 0}, END};
    runs[0].mmio.phys_addr = 0xfee000b0;
    runs[0].mmio.len = 4;
    runs[0].mmio.is_write = 1;
    runs[0].mmio.data[1] = 0x12;
    chronos[0].rip = 0x1234;
    m->anchor = 100;
    run(steps);
    exits_text(m, text, sizeof(text));
    assert_string_equal(text, "V count vCPU what RIP place/size = value\n"
                              "110 10 0 store 0x1234 fee000b0/4 = 1200\n"
                              "130 30 0 hlt 0x1234\n");
    exits_text(m, small, sizeof(small)); // cut, and ended
    assert_int_equal(strlen(small), sizeof(small) - 1);
    for (unsigned i = 0; i < 2 * EXITS_KEPT; i++)
        exits_note(&m->cpus[0]);
    assert_int_equal(m->exits.total, 2 + 2 * EXITS_KEPT);
}

static void ends(void **state) {
    static const struct {
        uint32_t reason;
        enum machine_end end;
    } cases[] = {{KVM_EXIT_SHUTDOWN, MACHINE_TRIPLE_FAULT},
                 {KVM_EXIT_FAIL_ENTRY, MACHINE_CRASHED},
                 {KVM_EXIT_INTERNAL_ERROR, MACHINE_CRASHED},
                 {KVM_EXIT_DEBUG, MACHINE_CRASHED},
                 {0x7777, MACHINE_CRASHED}};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        setup(NULL);
        const struct step steps[] = {{1, cases[i].reason, 0}, END};
        run(steps);
        assert_int_equal(m->end, cases[i].end);
        assert_true(m->end_reason[0] != 0);
    }
}

static void stop_machine(void *o, uint64_t offset, unsigned width, uint64_t value) {
    machine_stop(m, MACHINE_RESET, "a register");
}

static void the_access_that_ends_the_machine_is_finished(void **state) {
    static const struct step steps[] = {{1, KVM_EXIT_MMIO, 0}, END};
    struct bus_range range = {
        .space = BUS_MEMORY, .base = 0x5000, .size = 1, .name = "fake", .write = stop_machine};
    bus_add(m, &range);
    runs[0].mmio.phys_addr = 0x5000;
    runs[0].mmio.len = 1;
    runs[0].mmio.is_write = 1;
    run(steps);
    assert_string_equal(history, "run0 complete ");
    assert_int_equal(m->end, MACHINE_RESET);
}

static void pauses_change_nothing(void **state) {
    static const struct step steps[] = {
        {SLICE - 10, KVM_EXIT_INTR, 0}, {15, KVM_EXIT_HLT, 0}, {SLICE / 2, KVM_EXIT_HLT, 0}, END};
    char without[sizeof(history)];
    for (unsigned with = 0; with < 2; with++) {
        setup(NULL);
        vtimer_init(m, &timer, expire_with_interrupt, NULL);
        vtimer_arm(&timer, 50000);
        m->debug = with ? (struct debug *)&script : NULL; // only asked whether it is there
        script = steps;
        unsigned pauses = 0;
        while (machine_run(m) == MACHINE_RUNNING)
            pauses++;
        assert_int_equal(pauses > 5, with);
        if (!with)
            strcpy(without, history);
    }
    assert_string_equal(history, without);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(order_at_stops, setup),
        cmocka_unit_test_setup(timers_stop_the_guest_at_their_count, setup),
        cmocka_unit_test_setup(slice_ends_take_inputs, setup),
        cmocka_unit_test_setup(interrupts_wait_for_the_window, setup),
        cmocka_unit_test_setup(accesses_are_completed_before_an_interrupt, setup),
        cmocka_unit_test_setup(time_passes_by_exits, setup),
        cmocka_unit_test_setup(nmi, setup),
        cmocka_unit_test_setup(halted_until_the_timer, setup),
        cmocka_unit_test_setup(halted_for_ever_can_be_left, setup),
        cmocka_unit_test_setup(processors_take_turns, setup),
        cmocka_unit_test_setup(string_output, setup),
        cmocka_unit_test_setup(the_local_apic_is_asked_first, setup),
        cmocka_unit_test_setup(exits_are_kept, setup),
        cmocka_unit_test_setup(ends, setup),
        cmocka_unit_test_setup(the_access_that_ends_the_machine_is_finished, setup),
        cmocka_unit_test_setup(pauses_change_nothing, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
