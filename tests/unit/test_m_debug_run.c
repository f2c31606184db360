/* sources: vmm/machine/debug_run.c vmm/machine/debug_exits.c vmm/machine/debug_step.c */
// A debugged run over a guest of a few instructions, an interrupt and a handler: steps, breakpoints, watched accesses, and
// that the guest takes the same way with them as without.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <cmocka.h>
#include "replay/inputs.h"
#include "vmm/machine/debug_internal.h"
#include "vmm/machine/life.h"
#include "vmm/machine/output.h"

// ---- a guest ---------------------------------------------------------------------------------------------
// It goes round and round through instructions 0 to 7; instruction 3 stores. Its interrupts come at certain counts and
// have a handler of three instructions.
#define ROUND   8
#define STORE   3
#define HANDLER 100
#define IRET    102
#define VALUE   0x5000 // where it stores
#define STACK   0x9000
#define END     1000

static struct {
    uint64_t rip, rsp, return_rip, value, stores;
    uint64_t interrupts[4]; // counts
    unsigned next;          // of them
    uint64_t trail[END];    // what was executed at each count
} guest;

static struct machine machine;
static struct debug debugger, *d = &debugger;
static struct kvm_run run_area;
static struct chrono_run chrono;

static bool deliver(struct cpu *c) {
    if (guest.return_rip != UINT64_MAX || machine.count < guest.interrupts[guest.next])
        return false;
    guest.next++;
    debug_delivers(c);
    guest.return_rip = guest.rip;
    guest.rip = HANDLER;
    guest.rsp -= 40;
    return true;
}

static void execute(void) {
    guest.trail[machine.count++] = guest.rip;
    if (guest.rip == IRET) {
        guest.rip = guest.return_rip;
        guest.rsp += 40;
        guest.return_rip = UINT64_MAX;
        return;
    }
    if (guest.rip == STORE)
        guest.value = ++guest.stores / 2; // each value twice
    guest.rip = guest.rip >= HANDLER ? guest.rip + 1 : (guest.rip + 1) % ROUND;
}

static const struct placed *placed_at(enum placing how, uint64_t address) {
    for (unsigned i = 0; i < d->placed_count; i++)
        if (d->placed[i].used && d->placed[i].how == how && d->placed[i].b.address == address)
            return &d->placed[i];
    return NULL;
}

static void exits(struct cpu *c, uint32_t reason) {
    run_area.exit_reason = reason;
    debug_takes_exit(c);
}

// One entry: as the VMM does it, a single step ends after an injection or an instruction, and passes INT3s.
static void enter(struct cpu *c) {
    bool injected = deliver(c);
    uint32_t control = debug_control(c);
    const struct placed *watch = placed_at(IN_PAGES, VALUE);
    if (injected && control & CHRONO_STEP) {
        exits(c, KVM_EXIT_CHRONO_STOP);
    } else if (placed_at(IN_CODE, guest.rip) && !(control & CHRONO_STEP)) {
        run_area.debug.arch.exception = 3;
        run_area.debug.arch.pc = guest.rip;
        exits(c, KVM_EXIT_DEBUG);
    } else if (watch && guest.rip == STORE && control & CHRONO_WATCHES) {
        chrono.watch_id = (uint32_t)(watch - d->placed) * 2;
        chrono.watch_gva = VALUE;
        exits(c, KVM_EXIT_CHRONO_WATCH);
    } else {
        execute();
        if (control & CHRONO_STEP)
            exits(c, KVM_EXIT_CHRONO_STOP);
    }
}

enum machine_end machine_run(struct machine *m) {
    while (!debug_pauses(m)) {
        if (m->count == END)
            return m->end = MACHINE_POWERED_OFF;
        enter(m->current);
    }
    return m->end;
}

// ---- what is around the run ---------------------------------------------------------------------------------
int ioctl(int fd, unsigned long request, ...) {
    return 0; // nothing waits, no shadows
}

void cpu_get_regs(struct cpu *c, struct kvm_regs *r) {
    *r = (struct kvm_regs){.rip = guest.rip, .rsp = guest.rsp};
}

void cpu_get_sregs(struct cpu *c, struct kvm_sregs *s) {
    *s = (struct kvm_sregs){.efer = 0x400, .cs.l = 1};
}

void debug_place(struct debug *of, const struct run_request *q) {
    memset(of->placed, 0, sizeof(of->placed));
    of->placed_count = q->breakpoint_count;
    of->page_watches = of->watching = of->watching_interrupts = false;
    for (unsigned i = 0; i < q->breakpoint_count; i++) {
        const struct breakpoint *b = &q->breakpoints[i];
        of->placed[i] = (struct placed){.b = *b, .used = true, .which = i};
        of->placed[i].how = is_watch(b) ? IN_PAGES : b->kind == INTERRUPT ? AT_DELIVERIES : IN_CODE;
        of->page_watches |= is_watch(b);
        of->watching_interrupts |= b->kind == INTERRUPT;
    }
}

static unsigned taken_away;

struct placed *debug_place_own(struct debug *of, uint64_t linear) {
    struct placed *p = &of->placed[of->placed_count++];
    *p = (struct placed){.b = {.address = linear, .cr3 = ANY_CR3}, .used = true, .how = IN_CODE};
    return p;
}

void debug_take_away(struct debug *of, struct placed *p) {
    p->used = false;
    taken_away++;
}

bool debug_value_changed(struct debug *of, struct placed *p, const struct space *s) {
    static uint64_t before;
    bool changed = guest.value != before;
    before = guest.value;
    return changed;
}

bool debug_value_changed_in_ram(struct debug *of, struct placed *p) {
    return false;
}

unsigned debug_delivered(const struct debug *of, uint64_t count) {
    return of->delivered.count == count ? of->delivered.n : 0;
}

unsigned debug_deliveries(struct machine *m) {
    return debug_delivered(m->debug, m->count);
}

void debug_switches(struct machine *m) {
    d->delivered.n = debug_delivered(d, m->count) + 1;
    d->delivered.count = m->count;
}

void debug_where(void *target, struct position *p) {
    *p = (struct position){.v = vtime_now(&machine),
                           .count = machine.count,
                           .rip = guest.rip,
                           .deliveries = debug_deliveries(&machine)};
}

struct space debug_space(struct cpu *c) {
    return (struct space){.cr3 = 0x1000};
}

struct space debug_space_with(struct space s, uint64_t cr3) {
    return s;
}

bool debug_space_is(const struct space *s, uint64_t cr3) {
    return cr3 == ANY_CR3 || cr3 == s->cr3;
}

uint64_t vtime_now(const struct machine *m) {
    return m->count;
}

void debug_place_again(struct debug *of) {}
void debug_load_registers(struct debug *of) {}
void debug_leave_registers(struct debug *of) {}
bool debug_guest_uses_registers(struct machine *m) {
    return false;
}
void debug_finish(struct machine *m) {}
void machine_complete_access(struct machine *m) {}
void inputs_hold(struct inputs *in) {}
void inputs_release(struct inputs *in) {}
bool life_goes_on(struct machine *m) {
    return false;
}
void output_flush_all(void) {}
void output_set_quiet(bool quiet) {}

// ---- running ---------------------------------------------------------------------------------------------
static void reset(uint64_t first_interrupt, uint64_t second_interrupt) {
    memset(&guest, 0, sizeof(guest));
    memset(d, 0, sizeof(*d));
    memset(&machine, 0, sizeof(machine));
    struct cpu *c = &machine.cpus[0];
    *c = (struct cpu){.machine = &machine, .run = &run_area, .chrono = &chrono};
    machine.cpu_count = 1;
    machine.current = c;
    machine.debug = d;
    d->machine = &machine;
    d->delivered.count = UINT64_MAX;
    guest.rsp = STACK;
    guest.return_rip = UINT64_MAX;
    memset(guest.interrupts, 0xff, sizeof(guest.interrupts));
    guest.interrupts[0] = first_interrupt;
    guest.interrupts[1] = second_interrupt;
    taken_away = 0;
}

static struct run_result go(uint32_t flags, uint64_t until, const struct breakpoint *list,
                            unsigned n) {
    struct run_request q = {.flags = flags,
                            .until_count = until,
                            .until_v = until == UINT64_MAX ? UINT64_MAX : 0,
                            .breakpoints = list,
                            .breakpoint_count = n};
    struct run_result r;
    debug_run(&machine, &q, &r);
    assert_null(d->request);
    assert_int_equal(r.position.count, machine.count);
    return r;
}

#define FOREVER UINT64_MAX

static void expect(struct run_result r, enum run_end end, uint64_t count, uint64_t rip) {
    assert_int_equal(r.end, end);
    assert_int_equal(r.position.count, count);
    assert_int_equal(r.position.rip, rip);
}

// To the end; the guest has come by the same instructions as one that nobody debugs.
static void finish_and_compare(void) {
    static uint64_t trail[END];
    uint64_t first = guest.interrupts[0], second = guest.interrupts[1];
    if (machine.end == MACHINE_RUNNING)
        assert_int_equal(go(0, FOREVER, NULL, 0).end, RAN_TO_END);
    memcpy(trail, guest.trail, sizeof(trail));
    reset(first, second);
    go(0, FOREVER, NULL, 0);
    assert_memory_equal(trail, guest.trail, sizeof(trail));
}

static struct breakpoint at(uint64_t address) {
    return (struct breakpoint){.address = address, .cr3 = ANY_CR3};
}

// ---- tests -----------------------------------------------------------------------------------------------
static void steps(void **state) {
    reset(20, FOREVER);
    for (unsigned i = 1; i <= 20; i++)
        expect(go(RUN_STEP, FOREVER, NULL, 0), RAN_STEP, i, i % ROUND);
    struct run_result r = go(RUN_STEP, FOREVER, NULL, 0); // into the handler: takes no tick
    expect(r, RAN_STEP, 20, HANDLER);
    assert_int_equal(r.position.deliveries, 1);
    expect(go(RUN_STEP, FOREVER, NULL, 0), RAN_STEP, 21, HANDLER + 1);
    finish_and_compare();
}

static void steps_over_interrupts(void **state) {
    reset(20, 23); // the second one comes right after the first one's handler
    go(0, 20, NULL, 0);
    expect(go(RUN_STEP | RUN_OVER_INTERRUPTS, FOREVER, NULL, 0), RAN_STEP, 27, 5);
    assert_int_equal(taken_away, 1); // our own breakpoint does not stay behind
    finish_and_compare();
}

// Neither breakpoints in the handler nor ^C are lost on the way.
static void stops_on_the_way_through(void **state) {
    struct breakpoint inside = at(HANDLER + 1);
    reset(20, FOREVER);
    go(0, 20, NULL, 0);
    expect(go(RUN_STEP | RUN_OVER_INTERRUPTS, FOREVER, &inside, 1), RAN_TO_BREAKPOINT, 21,
           HANDLER + 1);
    assert_int_equal(taken_away, 1);
    expect(go(RUN_STEP | RUN_OVER_INTERRUPTS, 22, &inside, 1), RAN_STEP, 22, IRET);
    finish_and_compare();
}

static void breakpoints(void **state) {
    struct breakpoint list[] = {at(5), at(2)};
    reset(20, FOREVER);
    expect(go(0, FOREVER, list, 2), RAN_TO_BREAKPOINT, 2, 2);
    struct run_result r = go(0, FOREVER, list, 2); // not again where it stands
    expect(r, RAN_TO_BREAKPOINT, 5, 5);
    assert_int_equal(r.hit.which, 0);
    expect(go(RUN_FROM_HERE, FOREVER, list, 2), RAN_TO_BREAKPOINT, 5, 5);
    expect(go(0, 8, list, 2), RAN_TO_PLACE, 8, 0);
    list[1].cr3 = 0x2000; // another address space
    expect(go(0, FOREVER, list, 2), RAN_TO_BREAKPOINT, 13, 5);
    finish_and_compare();
}

// The interrupted instruction is met again after its handler: another place of the guest's way.
static void breakpoint_at_an_interrupt(void **state) {
    struct breakpoint list = at(4);
    reset(20, FOREVER);
    go(0, 20, NULL, 0);
    expect(go(0, FOREVER, &list, 1), RAN_TO_BREAKPOINT, 23, 4);
    expect(go(0, FOREVER, &list, 1), RAN_TO_BREAKPOINT, 31, 4);
    finish_and_compare();
}

static void collecting(void **state) {
    struct breakpoint list[] = {at(5), {.kind = INTERRUPT, .address = 4, .stack = STACK}};
    reset(20, FOREVER);
    struct run_result r = go(RUN_COLLECT, 100, list, 1);
    expect(r, RAN_TO_PLACE, 100, 1);
    assert_int_equal(r.hit.position.count, 96);
    reset(20, FOREVER);
    r = go(RUN_COLLECT, 22, list, 2);
    assert_int_equal(r.hit.which, 1);
    assert_int_equal(r.hit.position.count, 20);
    assert_int_equal(r.hit.position.deliveries, 0);
    finish_and_compare();
}

static void watchpoints(void **state) {
    struct breakpoint change = {.kind = WATCH_WRITE, .length = 8, .address = VALUE, .cr3 = ANY_CR3};
    struct breakpoint access = change;
    access.kind = WATCH_ACCESS;
    reset(3, FOREVER); // comes in before the first store
    struct run_result r = go(0, FOREVER, &access, 1);
    expect(r, RAN_TO_WATCHPOINT, 7, 4);
    assert_int_equal(r.hit.address, VALUE);
    expect(go(0, FOREVER, &access, 1), RAN_TO_WATCHPOINT, 15, 4);
    expect(go(0, FOREVER, &change, 1), RAN_TO_WATCHPOINT, 31, 4); // the store at 22 changes nothing
    finish_and_compare();
}

static void interrupted(void **state) {
    reset(20, FOREVER);
    struct run_request q = {.until_count = FOREVER, .until_v = FOREVER};
    struct run_result r;
    d->interrupted = true; // came before the run: forgotten
    debug_run(&machine, &q, &r);
    assert_int_equal(r.end, RAN_TO_END);
    assert_int_equal(machine.count, END);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps),
        cmocka_unit_test(steps_over_interrupts),
        cmocka_unit_test(stops_on_the_way_through),
        cmocka_unit_test(breakpoints),
        cmocka_unit_test(breakpoint_at_an_interrupt),
        cmocka_unit_test(collecting),
        cmocka_unit_test(watchpoints),
        cmocka_unit_test(interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
