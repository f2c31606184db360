// A debugged run: what ends it, and what is done at breakpoints and watched accesses on the way.
//
// The run loop asks before each turn whether it pauses, and tells of every exit. Whatever is done here leaves the
// guest, its count and the places of its stops as they would be without a debugger.
#include <inttypes.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include "replay/inputs.h"
#include "vmm/machine/debug_internal.h"
#include "vmm/machine/life.h"
#include "vmm/machine/output.h"
#include "vmm/machine/recording.h"

#define VECTOR_BP   3
#define EFER_LMA    (1u << 10)
#define RETRY_TICKS 1000000 // breakpoints on what is not mapped yet are tried again as often

static bool stepping_cpu(const struct debug *d, const struct cpu *c) {
    return d->stepping && c->index == d->request->step_cpu;
}

// ---- ends of a run -------------------------------------------------------------------------------------
static void end_run(struct debug *d, enum run_end end) {
    if (!d->pausing) // the first reason counts
        d->result->end = end;
    d->pausing = true;
}

static void hit(struct debug *d, const struct placed *p, uint64_t address) {
    struct run_hit *h = &d->result->hit;
    if (d->pausing)
        return;
    *h = (struct run_hit){.valid = 1, .which = p->which, .address = address};
    debug_where(d->machine, &h->position);
    if (!(d->request->flags & RUN_COLLECT))
        end_run(d, is_watch(&p->b) ? RAN_TO_WATCHPOINT : RAN_TO_BREAKPOINT);
}

static bool place_reached(const struct debug *d) {
    const struct run_request *q = d->request;
    if (q->until_count == UINT64_MAX && q->until_v == UINT64_MAX)
        return false;
    return d->machine->count >= q->until_count && vtime_now(d->machine) >= q->until_v;
}

uint64_t debug_stop_count(const struct machine *m, uint64_t stop) {
    const struct debug *d = m->debug;
    if (!d->request)
        return stop;
    const struct run_request *q = d->request;
    if (d->in_shadow && stop <= m->count)
        stop = m->count + 1;
    if (q->until_count == UINT64_MAX && q->until_v == UINT64_MAX)
        return stop;
    uint64_t count = q->until_v > m->anchor ? q->until_v - m->anchor : 0;
    if (count < q->until_count)
        count = q->until_count;
    return count < stop ? count : stop;
}

// ---- watched accesses ----------------------------------------------------------------------------------
static void accessed(struct debug *d, struct placed *p, uint64_t address) {
    struct space s = debug_space(d->machine->current);
    struct space of = debug_space_with(s, p->b.cr3);
    bool changed = debug_value_changed(d, p, &of);
    if (!debug_space_is(&s, p->b.cr3) || (p->b.kind == WATCH_WRITE && !changed))
        return;
    // A debug register cannot tell a read from a write.
    if (p->b.kind == WATCH_READ && p->how == IN_REGISTERS && changed)
        return;
    hit(d, p, address);
}

static unsigned delivered_now(const struct debug *d, uint64_t count) {
    return d->delivered_at == count ? d->delivered : 0;
}

// The access that was stopped before it happened is done, unless an interrupt came first.
static void finish_watch(struct debug *d) {
    struct placed *p = d->access.watch;
    if (delivered_now(d, d->access.count) == d->access.delivered)
        accessed(d, p, d->access.address);
    d->access.watch = NULL;
    d->access.done = false;
}

// What devices and the VMM wrote, which no debug register sees.
static void check_values(struct debug *d) {
    for (unsigned i = 0; i < d->placed_count; i++) {
        struct placed *p = &d->placed[i];
        if (!p->used || p->b.kind != WATCH_WRITE || !debug_value_changed_in_ram(d, p))
            continue;
        struct space s = debug_space(d->machine->current);
        if (debug_space_is(&s, p->b.cr3))
            hit(d, p, p->b.address);
    }
}

// ---- interrupts that are run through -------------------------------------------------------------------
static uint64_t linear_rip(struct cpu *c, uint64_t *rsp) {
    struct kvm_regs regs = {0};
    struct kvm_sregs sregs = {0};
    cpu_get_regs(c, &regs);
    cpu_get_sregs(c, &sregs);
    *rsp = regs.rsp;
    return sregs.cs.l && sregs.efer & EFER_LMA ? regs.rip : (uint32_t)(sregs.cs.base + regs.rip);
}

// What happens without a tick makes another place of the same count.
void debug_switches(struct machine *m) {
    struct debug *d = m->debug;
    if (d->delivered_at != m->count)
        d->delivered = 0;
    d->delivered_at = m->count;
    d->delivered++;
}

void debug_delivers(struct cpu *c) {
    struct machine *m = c->machine;
    struct debug *d = m->debug;
    debug_switches(m);
    if (!d->request || !stepping_cpu(d, c) || !(d->request->flags & RUN_OVER_INTERRUPTS) ||
        d->over.active)
        return;
    d->over.active = true;
    d->over.cpu = c->index;
    d->over.linear = linear_rip(c, &d->over.rsp);
}

static void leave_over(struct debug *d) {
    if (d->over.place)
        debug_take_away(d, d->over.place);
    d->over.place = NULL;
    d->over.active = false;
}

// Instead of the instruction its interrupt was delivered: on to where it returns to, and step there.
static void run_over(struct debug *d) {
    d->stepping = false;
    d->over.place = debug_place_own(d, d->over.linear);
    if (!d->over.place) { // then this is the step
        leave_over(d);
        end_run(d, RAN_STEP);
    }
}

static bool returned(const struct debug *d, struct cpu *c, uint64_t linear) {
    uint64_t rsp;
    return d->over.place && c->index == d->over.cpu && linear == d->over.linear &&
           linear_rip(c, &rsp) == linear && rsp == d->over.rsp;
}

// ---- one instruction whatever is placed at it -----------------------------------------------------------
static void skip_registers(struct debug *d, bool all) {
    bool code = false;
    for (unsigned i = 0; i < DEBUG_REGISTERS; i++)
        code |= d->registers[i].of && !is_watch(&d->registers[i].of->b);
    if (!all && !code)
        return;
    d->skip_registers |= all;
    d->skip_code_registers = true;
    debug_load_registers(d);
}

static void end_step_over(struct debug *d) {
    bool reload = d->skip_registers || d->skip_code_registers, all = d->skip_registers;
    d->step_over = d->skip_watches = d->skip_registers = d->skip_code_registers = false;
    if (reload)
        debug_load_registers(d);
    if (all && debug_guest_uses_registers(d->machine))
        debug_leave_registers(d);
}

// ---- exits of the debugger -----------------------------------------------------------------------------
static bool at_start(const struct debug *d, struct cpu *c) {
    struct machine *m = c->machine;
    return m->count == d->start.count && c->index == d->start.cpu && vtime_now(m) == d->start.v &&
           debug_deliveries(m) == d->start.deliveries && !(d->request->flags & RUN_FROM_HERE);
}

// Before the instruction at a breakpoint. However this goes on: the instruction is executed next.
static void at_instruction(struct debug *d, struct cpu *c, uint64_t linear) {
    d->step_over = true;
    skip_registers(d, false);
    if (returned(d, c, linear)) {
        leave_over(d);
        d->stepping = true;
        return;
    }
    if (at_start(d, c))
        return;
    struct space s = {0};
    for (unsigned i = 0; i < d->placed_count; i++) {
        const struct placed *p = &d->placed[i];
        if (!p->used || is_watch(&p->b) || p->b.address != linear || p == d->over.place)
            continue;
        if (p->b.cr3 != ANY_CR3 && !s.cr0)
            s = debug_space(c);
        if (debug_space_is(&s, p->b.cr3)) {
            hit(d, p, linear);
            return;
        }
    }
}

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

static void at_watch(struct debug *d, struct cpu *c) {
    struct placed *p = &d->placed[c->chrono->watch_id / 2];
    uint64_t count = c->machine->count;
    d->access.watch = p;
    d->access.done = false;
    d->access.address = c->chrono->watch_gva ? c->chrono->watch_gva : p->b.address;
    d->access.count = count;
    d->access.delivered = delivered_now(d, count);
    d->step_over = d->skip_watches = true;
}

static bool in_shadow(struct cpu *c) {
    struct kvm_vcpu_events e = {0};
    ioctl(c->fd, KVM_GET_VCPU_EVENTS, &e);
    return e.interrupt.shadow;
}

static bool handle(struct debug *d, struct cpu *c) {
    const struct kvm_debug_exit_arch *a = &c->run->debug.arch;
    switch (c->run->exit_reason) {
    case KVM_EXIT_CHRONO_WATCH: at_watch(d, c); break;
    case KVM_EXIT_CHRONO_DR: // the guest's MOV DR is executed without us
        d->step_over = true;
        skip_registers(d, true);
        break;
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

bool debug_in_shadow(const struct machine *m) {
    return m->debug->in_shadow;
}

// ---- for the run loop ------------------------------------------------------------------------------------
uint32_t debug_control(struct cpu *c) {
    const struct debug *d = c->machine->debug;
    uint32_t control = 0;
    if (!d->request)
        return 0;
    if (d->step_over || stepping_cpu(d, c))
        control |= CHRONO_STEP;
    if (d->page_watches && !d->skip_watches)
        control |= CHRONO_WATCHES;
    if (d->registers_loaded && !d->skip_registers)
        control |= CHRONO_TRAP_DR;
    if (!c->machine->memory_written && !c->access_pending)
        control |= CHRONO_MEMORY_KEPT;
    return control;
}

// Whether the vCPU has executed an instruction before this exit of a single step, or is to complete one.
static bool executed(struct debug *d, const struct cpu *c) {
    uint64_t dr6 = c->run->debug.arch.dr6;
    switch (c->run->exit_reason) {
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_CHRONO_WATCH:
    case KVM_EXIT_CHRONO_DR: return false;
    case KVM_EXIT_DEBUG: break;
    default: return true;
    }
    for (unsigned i = 0; i < DEBUG_REGISTERS; i++) // data registers trap, code registers fault
        if (c->run->debug.arch.exception != VECTOR_BP && dr6 >> i & 1 && d->registers[i].of &&
            is_watch(&d->registers[i].of->b))
            return true;
    return false;
}

static void drop_output(const struct debug *d) {
    output_set_quiet(vtime_now(d->machine) < d->request->quiet_until);
}

bool debug_takes_exit(struct cpu *c) {
    struct debug *d = c->machine->debug;
    if (!d->request)
        return false;
    drop_output(d);
    // A step ends in a shadow where the processor has a trap for steps.
    d->in_shadow = c->run->exit_reason == KVM_EXIT_CHRONO_STOP && stepping_cpu(d, c) &&
                   !c->run->ready_for_interrupt_injection && in_shadow(c);
    if (executed(d, c)) {
        d->stepped |= stepping_cpu(d, c);
        d->access.done = d->access.watch != NULL;
        if (d->step_over)
            end_step_over(d);
    }
    return handle(d, c);
}

static void place_again(struct debug *d) {
    if (d->machine->count < d->retry_at)
        return;
    d->retry_at = d->machine->count + RETRY_TICKS;
    debug_place_again(d);
}

// An access that user space refuses (an MSR that is not there) ends in an exception: the step is its delivery.
static bool exception_waits(struct cpu *c) {
    struct kvm_vcpu_events e = {0};
    ioctl(c->fd, KVM_GET_VCPU_EVENTS, &e);
    return e.exception.injected;
}

bool debug_pauses(struct machine *m) {
    struct debug *d = m->debug;
    if (!d->request)
        return false;
    drop_output(d);
    if (d->stepped || d->access.done || d->watching)
        machine_complete_access(m);
    if (d->stepped && m->count == d->start.count && exception_waits(m->current))
        d->stepped = false;
    if (d->access.done)
        finish_watch(d);
    if (d->watching)
        check_values(d);
    if (d->stepped && d->over.active && !d->over.place)
        run_over(d);
    else if (d->stepped)
        end_run(d, RAN_STEP);
    d->stepped = false;
    if (place_reached(d))
        end_run(d, RAN_TO_PLACE);
    if (d->interrupted)
        end_run(d, RAN_INTERRUPTED);
    if (d->pausing)
        machine_complete_access(m);
    else
        place_again(d);
    return d->pausing;
}

// ---- a run -----------------------------------------------------------------------------------------------
static void begin(struct debug *d, const struct run_request *q, struct run_result *r) {
    *r = (struct run_result){0};
    d->pausing = d->stepped = d->interrupted = false;
    d->stepping = q->flags & RUN_STEP;
    d->retry_at = d->machine->count + RETRY_TICKS;
    d->start = (struct position){.v = vtime_now(d->machine),
                                 .count = d->machine->count,
                                 .cpu = d->machine->current->index,
                                 .deliveries = debug_deliveries(d->machine)};
    debug_place(d, q);
    d->request = q;
    d->result = r;
}

// How the VM or its log came to an end.
static void tell_end(struct debug *d) {
    struct machine *m = d->machine;
    struct run_result *r = d->result;
    debug_finish(m);
    r->end = m->end == MACHINE_FAILED || d->differs ? RAN_INTO_DIFFERENCE : RAN_TO_END;
    snprintf(r->text, sizeof(r->text), "%s",
             m->end == MACHINE_POWERED_OFF ? "the guest has switched itself off" : m->end_reason);
}

static void end(struct debug *d) {
    leave_over(d);
    end_step_over(d);
    d->access.watch = NULL;
    d->access.done = false;
    debug_where(d->machine, &d->result->position);
    d->request = NULL;
    output_set_quiet(false);
}

void debug_run(void *target, const struct run_request *q, struct run_result *r) {
    struct machine *m = target;
    struct debug *d = m->debug;
    begin(d, q, r);
    inputs_release(m->inputs);
    if (m->end == MACHINE_RUNNING && place_reached(d))
        end_run(d, RAN_TO_PLACE);
    else if (m->end == MACHINE_RUNNING)
        do
            machine_run(m);
        while (m->end != MACHINE_RUNNING && life_goes_on(m));
    output_flush_all();
    inputs_hold(m->inputs);
    if (m->end != MACHINE_RUNNING)
        tell_end(d);
    end(d);
}
