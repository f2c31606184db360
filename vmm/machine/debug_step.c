// The step of a run: one instruction of one vCPU, and interrupts that are run through before it (struct step).
#include <sys/ioctl.h>
#include "vmm/machine/debug_internal.h"

#define EFER_LMA (1u << 10)

void debug_step_begin(struct debug *d) {
    d->step = (struct step){.state = d->request->flags & RUN_STEP ? STEP_WANTED : STEP_NONE};
}

bool debug_step_of(const struct debug *d, const struct cpu *c) {
    return (d->step.state == STEP_WANTED || d->step.state == STEP_DIVERTED) &&
           c->index == d->request->step_cpu;
}

// ---- interrupts ----------------------------------------------------------------------------------------
static uint64_t linear_rip(struct cpu *c, uint64_t *rsp) {
    struct kvm_regs regs = {0};
    struct kvm_sregs sregs = {0};
    cpu_get_regs(c, &regs);
    cpu_get_sregs(c, &sregs);
    *rsp = regs.rsp;
    return sregs.cs.l && sregs.efer & EFER_LMA ? regs.rip : (uint32_t)(sregs.cs.base + regs.rip);
}

static bool diverts_step(const struct debug *d, const struct cpu *c) {
    return d->request->flags & RUN_OVER_INTERRUPTS && d->step.state == STEP_WANTED &&
           debug_step_of(d, c);
}

static void watch_interrupt(struct debug *d, const struct cpu *c, uint64_t linear, uint64_t rsp) {
    for (unsigned i = 0; i < d->placed_count; i++) {
        const struct placed *p = &d->placed[i];
        if (p->used && p->b.kind == INTERRUPT && p->b.length == c->index &&
            p->b.address == linear && p->b.stack == rsp)
            debug_hit(d, p, linear);
    }
}

void debug_delivers(struct cpu *c) {
    struct debug *d = c->machine->debug;
    uint64_t rsp, linear;
    if (d->request && (d->watching_interrupts || diverts_step(d, c))) {
        linear = linear_rip(c, &rsp);
        watch_interrupt(d, c, linear, rsp);
        if (diverts_step(d, c))
            d->step = (struct step){.state = STEP_DIVERTED, .linear = linear, .rsp = rsp};
    }
    debug_switches(c->machine);
}

static void run_through(struct debug *d) {
    d->step.way_back = debug_place_own(d, d->step.linear);
    if (d->step.way_back)
        d->step.state = STEP_IN_HANDLER;
    else // no room: then this is the step
        debug_end_run(d, RAN_STEP);
}

static void remove_way_back(struct debug *d) {
    if (d->step.way_back)
        debug_take_away(d, d->step.way_back);
    d->step.way_back = NULL;
}

bool debug_step_back(struct debug *d, struct cpu *c, uint64_t linear) {
    uint64_t rsp;
    if (d->step.state != STEP_IN_HANDLER || c->index != d->request->step_cpu ||
        linear != d->step.linear || linear_rip(c, &rsp) != linear || rsp != d->step.rsp)
        return false;
    remove_way_back(d);
    d->step.state = STEP_WANTED;
    return true;
}

// ---- turns ---------------------------------------------------------------------------------------------
// An access that user space refuses (an MSR that is not there) ends in an exception: the step is its delivery.
static bool exception_waits(struct cpu *c) {
    struct kvm_vcpu_events e = {0};
    ioctl(c->fd, KVM_GET_VCPU_EVENTS, &e);
    return e.exception.injected;
}

void debug_step_turn(struct debug *d) {
    struct machine *m = d->machine;
    bool executed = d->step.executed;
    d->step.executed = false;
    if (!executed || (m->count == d->start.count && exception_waits(m->current)))
        return;
    if (d->step.state == STEP_DIVERTED)
        run_through(d);
    else
        debug_end_run(d, RAN_STEP);
}

void debug_step_end(struct debug *d) {
    remove_way_back(d);
    d->step.state = STEP_NONE;
}
