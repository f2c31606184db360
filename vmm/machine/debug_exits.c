// Exits of a debugged run: breakpoints and watched accesses that the guest comes by, and how it gets past them. What
// is done here leaves the guest, its count and the places of its stops as they would be without a debugger.
#include <sys/ioctl.h>
#include "vmm/machine/debug_internal.h"
#include "vmm/machine/output.h"

#define VECTOR_BP 3

void debug_drop_output(const struct debug *d) {
    output_set_quiet(vtime_now(d->machine) < d->request->quiet_until);
}

// ---- one instruction in spite of what is placed at it ----------------------------------------------------
static bool hides_registers(const struct debug *d, unsigned passing) {
    bool hides = passing & PASS_REGISTERS;
    for (unsigned i = 0; i < DEBUG_REGISTERS; i++)
        hides |= passing & PASS_CODE && d->registers[i].of && !is_watch(&d->registers[i].of->b);
    return hides;
}

static void pass(struct debug *d, unsigned what) {
    d->passing |= what;
    if (hides_registers(d, what))
        debug_load_registers(d);
}

static void passed(struct debug *d) {
    unsigned was = d->passing;
    d->passing = 0;
    if (hides_registers(d, was))
        debug_load_registers(d);
    if (was & PASS_REGISTERS && debug_guest_uses_registers(d->machine))
        debug_leave_registers(d);
}

// ---- breakpoints -----------------------------------------------------------------------------------------
static bool at_start(const struct debug *d, struct cpu *c) {
    struct machine *m = c->machine;
    return m->count == d->start.count && c->index == d->start.cpu && vtime_now(m) == d->start.v &&
           debug_deliveries(m) == d->start.deliveries && !(d->request->flags & RUN_FROM_HERE);
}

// Before the instruction at a breakpoint. However this goes on: the instruction is executed next.
static void at_instruction(struct debug *d, struct cpu *c, uint64_t linear) {
    pass(d, PASS_CODE);
    if (debug_step_back(d, c, linear) || at_start(d, c))
        return;
    struct space s = {0};
    for (unsigned i = 0; i < d->placed_count; i++) {
        const struct placed *p = &d->placed[i];
        if (!p->used || p->b.kind > BREAK_HARDWARE || p->b.address != linear ||
            p == d->step.way_back)
            continue;
        if (p->b.cr3 != ANY_CR3 && !s.cr0)
            s = debug_space(c);
        if (debug_space_is(&s, p->b.cr3)) {
            debug_hit(d, p, linear);
            return;
        }
    }
}

// ---- watchpoints -----------------------------------------------------------------------------------------
static void accessed(struct debug *d, struct placed *p, uint64_t address) {
    struct space s = debug_space(d->machine->current);
    struct space of = debug_space_with(s, p->b.cr3);
    bool changed = debug_value_changed(d, p, &of);
    if (!debug_space_is(&s, p->b.cr3) || (p->b.kind == WATCH_WRITE && !changed))
        return;
    // A debug register cannot tell a read from a write.
    if (p->b.kind == WATCH_READ && p->how == IN_REGISTERS && changed)
        return;
    debug_hit(d, p, address);
}

// The VMM stopped an instruction that it carries out and that has touched a device already: it is completed first.
static void complete_begun(struct debug *d, struct cpu *c, struct placed *p, uint64_t address) {
    pass(d, PASS_WATCHES);
    c->access_pending = true;
    machine_complete_access(c->machine);
    passed(d);
    accessed(d, p, address);
}

static bool has_begun(struct cpu *c) {
    struct chrono_vcpu_state s = {0};
    ioctl(c->fd, CHRONO_GET_STATE, &s);
    return s.pending_completion;
}

static void at_page(struct debug *d, struct cpu *c) {
    struct placed *p = &d->placed[c->chrono->watch_id / 2];
    uint64_t count = c->machine->count;
    uint64_t address = c->chrono->watch_gva ? c->chrono->watch_gva : p->b.address;
    if (has_begun(c)) {
        complete_begun(d, c, p, address);
        return;
    }
    d->access = (struct access){
        .state = ACCESS_AHEAD,
        .watch = p,
        .address = address,
        .count = count,
        .delivered = debug_delivered(d, count),
    };
    pass(d, PASS_WATCHES);
}

// What devices and the VMM wrote, which no debug register sees.
static void check_values(struct debug *d) {
    for (unsigned i = 0; i < d->placed_count; i++) {
        struct placed *p = &d->placed[i];
        if (!p->used || p->b.kind != WATCH_WRITE || !debug_value_changed_in_ram(d, p))
            continue;
        struct space s = debug_space(d->machine->current);
        if (debug_space_is(&s, p->b.cr3))
            debug_hit(d, p, p->b.address);
    }
}

void debug_finish_accesses(struct debug *d) {
    struct access *a = &d->access;
    if (a->state == ACCESS_DONE) {
        a->state = ACCESS_NONE;
        // Unless an interrupt came before it.
        if (debug_delivered(d, a->count) == a->delivered)
            accessed(d, a->watch, a->address);
    }
    if (d->watching)
        check_values(d);
}

// ---- exits -----------------------------------------------------------------------------------------------
static void at_registers(struct debug *d, struct cpu *c, uint64_t dr6, uint64_t linear) {
    const struct placed *before = NULL;
    bool code = false;
    for (unsigned i = 0; i < DEBUG_REGISTERS; i++) {
        struct placed *p = d->registers[i].of;
        if (!(dr6 >> i & 1) || !p || p == before)
            continue;
        before = p;
        if (is_watch(&p->b))
            accessed(d, p, d->registers[i].address);
        else
            code = true;
    }
    if (code)
        at_instruction(d, c, linear);
}

static bool in_shadow(struct cpu *c) {
    struct kvm_vcpu_events e = {0};
    ioctl(c->fd, KVM_GET_VCPU_EVENTS, &e);
    return e.interrupt.shadow;
}

static bool handle(struct debug *d, struct cpu *c) {
    const struct kvm_debug_exit_arch *a = &c->run->debug.arch;
    switch (c->run->exit_reason) {
    case KVM_EXIT_CHRONO_WATCH: at_page(d, c); break;
    case KVM_EXIT_CHRONO_DR: pass(d, PASS_REGISTERS); break; // the guest's MOV DR
    case KVM_EXIT_DEBUG:
        if (a->exception == VECTOR_BP)
            at_instruction(d, c, a->pc);
        else
            at_registers(d, c, a->dr6, a->pc);
        break;
    default: return false;
    }
    d->in_shadow = in_shadow(c);
    return true;
}

// Whether the vCPU has executed an instruction before this exit of a single step, or is to complete one.
static bool executed(const struct debug *d, const struct cpu *c) {
    const struct kvm_debug_exit_arch *a = &c->run->debug.arch;
    switch (c->run->exit_reason) {
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_CHRONO_WATCH:
    case KVM_EXIT_CHRONO_DR: return false;
    case KVM_EXIT_DEBUG: break;
    default: return true;
    }
    for (unsigned i = 0; i < DEBUG_REGISTERS; i++) // data registers trap, code registers fault
        if (a->exception != VECTOR_BP && a->dr6 >> i & 1 && d->registers[i].of &&
            is_watch(&d->registers[i].of->b))
            return true;
    return false;
}

bool debug_takes_exit(struct cpu *c) {
    struct debug *d = c->machine->debug;
    if (!d->request)
        return false;
    debug_drop_output(d);
    // A step ends in a shadow where the processor has a trap for steps.
    d->in_shadow = c->run->exit_reason == KVM_EXIT_CHRONO_STOP && debug_step_of(d, c) &&
                   !c->run->ready_for_interrupt_injection && in_shadow(c);
    if (executed(d, c)) {
        d->step.executed |= debug_step_of(d, c);
        if (d->access.state == ACCESS_AHEAD)
            d->access.state = ACCESS_DONE;
        if (d->passing)
            passed(d);
    }
    return handle(d, c);
}

bool debug_in_shadow(const struct machine *m) {
    return m->debug->in_shadow;
}

uint32_t debug_control(struct cpu *c) {
    const struct debug *d = c->machine->debug;
    uint32_t control = 0;
    if (!d->request)
        return 0;
    if (d->passing || debug_step_of(d, c))
        control |= CHRONO_STEP;
    if (d->page_watches && !(d->passing & PASS_WATCHES))
        control |= CHRONO_WATCHES;
    if (d->registers_loaded && !(d->passing & PASS_REGISTERS))
        control |= CHRONO_TRAP_DR;
    if (!c->machine->memory_written && !c->access_pending)
        control |= CHRONO_MEMORY_KEPT;
    return control;
}

void debug_forget_exits(struct debug *d) {
    passed(d);
    d->access.state = ACCESS_NONE;
}
