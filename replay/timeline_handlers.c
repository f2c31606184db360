// A step back over an interrupt's handler. Forwards, a run sees an interrupt come and can run its handler through;
// backwards the handler's end comes first, and where it began has to be found.
#include "replay/timeline_internal.h"

#define IRET         0xcf
#define OPERAND_SIZE 0x66
#define REX_W        0x48
#define HANDLER_TICKS \
    10000000 // so far back a handler's begin is searched, and in the nearest stretch in any case

static bool at_return(struct traveller *m, unsigned cpu) {
    struct target_registers r;
    uint8_t code[2] = {0};
    if (remote_read_registers(&m->machine, cpu, &r))
        return false;
    remote_read_memory(&m->machine, cpu, SPACE_LINEAR, target_linear_rip(&r), code, sizeof(code));
    return code[0] == IRET || ((code[0] == OPERAND_SIZE || code[0] == REX_W) && code[1] == IRET);
}

// An interrupt of what stands at the cursor: the last one before it.
static bool find_interrupt(struct timeline *t, unsigned cpu, struct run_hit *hit,
                           struct run_result *result) {
    struct target_registers r;
    struct position until = t->cursor.at;
    uint64_t now = until.count;
    *hit = (struct run_hit){0};
    if (remote_read_registers(&t->cursor.machine, cpu, &r))
        return true; // not found
    struct breakpoint interrupt = {.kind = INTERRUPT,
                                   .length = cpu,
                                   .address = target_linear_rip(&r),
                                   .cr3 = ANY_CR3,
                                   .stack = r.general[TARGET_RSP]};
    struct stops stops = {&interrupt, 1};
    const struct checkpoint *c = checkpoint_before(t, &until);
    while (c && !hit->valid) {
        if (!timeline_collect(t, stops, &until, hit, result))
            return false;
        c = checkpoint_before(t, &until);
        if (c && now - c->copy.at.count > HANDLER_TICKS)
            c = NULL;
    }
    return true;
}

// *leads: a step that runs handlers through, from where the interrupt came, does not end before the cursor. Then it is
// this interrupt's handler that has returned here, and not an exception's. False: the result says why.
static bool leads_here(struct timeline *t, struct traveller *interrupted, unsigned cpu, bool *leads,
                       struct run_result *result) {
    struct traveller m;
    struct run_request step = {.flags = RUN_STEP | RUN_OVER_INTERRUPTS,
                               .step_cpu = cpu,
                               .until_count = t->cursor.at.count,
                               .until_v = t->cursor.at.v,
                               .quiet_until = t->seen_v};
    if (!traveller_copy(t, interrupted, &m, result))
        return false;
    traveller_run(t, &m, &step, result);
    remote_close(&m.machine);
    *leads = result->end != RAN_STEP || place_compare(&m.at, &t->cursor.at) >= 0;
    if (t->interrupted)
        timeline_stay(t, RAN_INTERRUPTED, "interrupted on the way", result);
    return !t->interrupted;
}

// *m, which stands before the handler's last instruction, becomes a machine where its interrupt came, if there was
// one. False: the result says why.
static bool before_interrupt(struct timeline *t, unsigned cpu, struct traveller *m,
                             struct run_result *result) {
    struct run_hit hit;
    struct traveller interrupted;
    if (!find_interrupt(t, cpu, &hit, result))
        return false;
    if (!hit.valid)
        return true;
    struct position entry = hit.position;
    entry.deliveries++; // a step ends where the interrupt comes
    if (!traveller_before(t, &entry, cpu, &interrupted, result))
        return false;
    bool found = false, checked = leads_here(t, &interrupted, cpu, &found, result);
    remote_close(checked && found ? &m->machine : &interrupted.machine);
    if (checked && found)
        *m = interrupted;
    return checked;
}

int timeline_reverse_step_over(struct timeline *t, unsigned cpu, struct run_result *result) {
    struct position now = t->cursor.at;
    struct traveller m;
    if (!t->checkpoint_count || place_compare(&now, &t->checkpoints[0].copy.at) <= 0)
        return timeline_reverse_step(t, cpu, result);
    timeline_begin(t);
    if (!traveller_before(t, &now, cpu, &m, result))
        return 0;
    if (at_return(&m, cpu) && !before_interrupt(t, cpu, &m, result)) {
        remote_close(&m.machine);
        return 0;
    }
    *result = (struct run_result){.end = RAN_STEP};
    traveller_adopt(t, &m, result);
    return 0;
}
