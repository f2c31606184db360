// A debugged run from its request to its result: what ends it, and what is looked at before each turn of the run
// loop. Exits are handled in debug_exits.c, steps in debug_step.c.
#include <stdio.h>
#include "replay/inputs.h"
#include "vmm/machine/debug_internal.h"
#include "vmm/machine/life.h"
#include "vmm/machine/output.h"
#include "vmm/machine/recording.h"

#define RETRY_TICKS 1000000 // breakpoints on what is not mapped yet are tried again as often

// ---- ends of a run -------------------------------------------------------------------------------------
void debug_end_run(struct debug *d, enum run_end end) {
    if (!d->pausing)
        d->result->end = end;
    d->pausing = true;
}

void debug_hit(struct debug *d, const struct placed *p, uint64_t address) {
    struct run_hit *h = &d->result->hit;
    if (d->pausing)
        return;
    *h = (struct run_hit){.valid = 1, .which = p->which, .address = address};
    debug_where(d->machine, &h->position);
    if (!(d->request->flags & RUN_COLLECT))
        debug_end_run(d, is_watch(&p->b) ? RAN_TO_WATCHPOINT : RAN_TO_BREAKPOINT);
}

static bool has_place(const struct run_request *q) {
    return q->until_count != UINT64_MAX || q->until_v != UINT64_MAX;
}

static bool place_reached(const struct debug *d) {
    const struct run_request *q = d->request;
    return has_place(q) && d->machine->count >= q->until_count &&
           vtime_now(d->machine) >= q->until_v;
}

uint64_t debug_stop_count(const struct machine *m, uint64_t stop) {
    const struct debug *d = m->debug;
    const struct run_request *q = d->request;
    if (!q)
        return stop;
    if (d->in_shadow && stop <= m->count)
        stop = m->count + 1;
    if (!has_place(q))
        return stop;
    uint64_t count = q->until_v > m->anchor ? q->until_v - m->anchor : 0;
    if (count < q->until_count)
        count = q->until_count;
    return count < stop ? count : stop;
}

// ---- turns ---------------------------------------------------------------------------------------------
static void place_again(struct debug *d) {
    if (d->machine->count < d->retry_at)
        return;
    d->retry_at = d->machine->count + RETRY_TICKS;
    debug_place_again(d);
}

bool debug_pauses(struct machine *m) {
    struct debug *d = m->debug;
    if (!d->request)
        return false;
    debug_drop_output(d);
    if (d->step.executed || d->access.state == ACCESS_DONE || d->watching)
        machine_complete_access(m);
    debug_finish_accesses(d);
    debug_step_turn(d);
    if (place_reached(d))
        debug_end_run(d, RAN_TO_PLACE);
    if (d->interrupted)
        debug_end_run(d, RAN_INTERRUPTED);
    if (d->pausing)
        machine_complete_access(m);
    else
        place_again(d);
    return d->pausing;
}

// ---- a run -----------------------------------------------------------------------------------------------
static void begin(struct debug *d, const struct run_request *q, struct run_result *r) {
    *r = (struct run_result){0};
    d->pausing = d->interrupted = false;
    d->retry_at = d->machine->count + RETRY_TICKS;
    d->start = (struct position){.v = vtime_now(d->machine),
                                 .count = d->machine->count,
                                 .cpu = d->machine->current->index,
                                 .deliveries = debug_deliveries(d->machine)};
    debug_place(d, q);
    d->request = q;
    d->result = r;
    debug_step_begin(d);
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
    debug_step_end(d);
    debug_forget_exits(d);
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
        debug_end_run(d, RAN_TO_PLACE);
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
