// Commands that let the guest run, forwards and backwards, and how they end: stop replies.
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "replay/gdb/debugger_internal.h"
#include "replay/gdb/registers.h"

enum { SIGNAL_INT = 2, SIGNAL_TRAP = 5, SIGNAL_ABRT = 6, SIGNAL_TERM = 15 }; // gdb's numbers

// ---- stop replies ------------------------------------------------------------------------------------
// gdb wants an address inside of what it watches; an access may begin before that.
static uint64_t watched_address(const struct breakpoint *b, uint64_t accessed) {
    return accessed - b->address < b->length ? accessed : b->address;
}

static void add_reason(struct debugger *d, const struct run_hit *hit) {
    static const char *const watches[] = {
        [WATCH_WRITE] = "watch", [WATCH_READ] = "rwatch", [WATCH_ACCESS] = "awatch"};
    const struct breakpoint *b = timeline_breakpoint(d->timeline, hit->which);
    if (!b)
        return;
    if (b->kind == BREAK_SOFTWARE && d->swbreak)
        packet_text(&d->stop, "swbreak:;");
    else if (b->kind == BREAK_HARDWARE && d->hwbreak)
        packet_text(&d->stop, "hwbreak:;");
    else if (b->kind >= WATCH_WRITE && b->kind <= WATCH_ACCESS)
        packet_text(&d->stop, "%s:%" PRIx64 ";", watches[b->kind],
                    watched_address(b, hit->address));
}

static void add_registers(struct debugger *d, uint32_t cpu) {
    struct target_registers r;
    uint8_t value[REGISTER_BYTES_MAX];
    if (remote_read_registers(timeline_machine(d->timeline), cpu, &r))
        return;
    for (const uint8_t *n = registers_first(d->arch); *n != REGISTERS_END; n++) {
        registers_get(d->arch, *n, &r, value);
        packet_text(&d->stop, "%02x:", *n);
        packet_hex(&d->stop, value, registers_size(d->arch, *n));
        packet_text(&d->stop, ";");
    }
}

static unsigned signal_of(struct debugger *d, const struct run_result *r) {
    switch ((enum run_end)r->end) {
    case RAN_INTERRUPTED: return SIGNAL_INT;
    case RAN_INTO_DIFFERENCE: return SIGNAL_ABRT;
    case RAN_TO_END: return d->over ? SIGNAL_TERM : SIGNAL_TRAP;
    case RAN_TO_PLACE:
    case RAN_STEP:
    case RAN_TO_BREAKPOINT:
    case RAN_TO_WATCHPOINT: break;
    }
    return SIGNAL_TRAP;
}

void resume_set_stop(struct debugger *d, const struct run_result *r, uint32_t cpu, bool backwards) {
    bool replaying = timeline_info(d->timeline)->kind == TARGET_REPLAYING;
    if (r->end == RAN_TO_END && !replaying) {
        d->over = true;
        d->last = *r;
    }
    packet_clear(&d->stop);
    packet_text(&d->stop, "T%02xthread:%x;", signal_of(d, r), cpu + 1);
    if (r->end == RAN_TO_BREAKPOINT || r->end == RAN_TO_WATCHPOINT)
        add_reason(d, &r->hit);
    else if (r->end == RAN_TO_END && replaying)
        packet_text(&d->stop, "replaylog:%s;", backwards ? "begin" : "end");
    add_registers(d, cpu);
    d->general_cpu = cpu;
}

static void answer_stop(struct debugger *d) {
    packet_text(&d->reply, "%.*s", (int)d->stop.size, d->stop.data);
}

static void stopped(struct debugger *d, const struct run_result *r, uint32_t cpu, bool backwards) {
    resume_set_stop(d, r, cpu, backwards);
    if (d->gone)
        return;
    if (r->end == RAN_INTO_DIFFERENCE || (r->end == RAN_TO_END && !backwards))
        debugger_say(d, "%s\n", r->text);
    answer_stop(d);
}

void command_stop_reason(struct debugger *d, struct scan *args) {
    answer_stop(d);
}

// ---- running -------------------------------------------------------------------------------------------
bool resume_begin(struct debugger *d) {
    d->interrupted = false;
    return debugger_attention(d);
}

static void not_started(struct debugger *d, struct run_result *r) {
    *r = (struct run_result){.end = RAN_INTERRUPTED, .position = *timeline_now(d->timeline)};
}

// The VM has ended and was looked at enough: gdb gives up its target.
static bool refuse_when_over(struct debugger *d) {
    if (!d->over)
        return false;
    packet_text(&d->reply, "W00");
    d->ended = true;
    d->end = DEBUGGER_OVER;
    return true;
}

static void run_on(struct debugger *d) {
    struct run_result r;
    if (refuse_when_over(d))
        return;
    if (resume_begin(d))
        not_started(d, &r);
    else
        timeline_continue(d->timeline, &r);
    stopped(d, &r, r.position.cpu, false);
}

static uint32_t stepping_cpu(struct debugger *d, uint32_t wanted) {
    return wanted != NO_CPU ? wanted : timeline_now(d->timeline)->cpu;
}

// In a live VM time passes between two steps, and a timer's interrupt would be due at nearly each of them. In a
// replay a step is what was executed, so that it is undone by a step back. Stepping through a line is for people; gdb's
// packet for that has a range of addresses, but there is none to go backwards, so the client may say it (monitor steps).
static bool steps_over_interrupts(const struct debugger *d, bool range) {
    if (d->step_over != STEP_OVER_AUTO)
        return d->step_over == STEP_OVER_ON;
    return range || d->line_steps || timeline_info(d->timeline)->kind != TARGET_REPLAYING;
}

static uint64_t code_base(struct debugger *d, uint32_t cpu) {
    struct target_registers r;
    return remote_read_registers(timeline_machine(d->timeline), cpu, &r) ? 0 : target_code_base(&r);
}

// At least one step, and on while the program counter is in [start, end).
static void step(struct debugger *d, uint32_t wanted, uint64_t start, uint64_t end) {
    struct run_result r;
    uint32_t cpu = stepping_cpu(d, wanted);
    bool over = steps_over_interrupts(d, end > start), interrupted = resume_begin(d);
    if (refuse_when_over(d))
        return;
    not_started(d, &r);
    uint64_t base = end > start ? code_base(d, cpu) : 0;
    while (!interrupted) {
        timeline_step(d->timeline, cpu, over, &r);
        if (r.end != RAN_STEP || base + r.position.rip - start >= end - start)
            break;
        interrupted = debugger_attention(d);
        if (interrupted)
            r.end = RAN_INTERRUPTED;
    }
    stopped(d, &r, r.end == RAN_STEP ? cpu : r.position.cpu, false);
}

// ---- forwards ----------------------------------------------------------------------------------------
// "c 1000": from another address.
static bool jump(struct debugger *d, struct scan *args) {
    uint64_t address;
    if (scan_end(args))
        return true;
    struct target_registers r;
    unsigned cpu = stepping_cpu(d, d->resume_cpu);
    if (!scan_number(args, &address) || !scan_end(args)) {
        debugger_error(d, "an address was expected");
        return false;
    }
    int error = remote_read_registers(timeline_machine(d->timeline), cpu, &r);
    target_set_linear_rip(&r, address);
    if (!error)
        error = remote_write_registers(timeline_machine(d->timeline), cpu, &r);
    if (error)
        debugger_error(d, error == -EPERM ? debugger_past : "the registers cannot be written");
    return !error;
}

void command_continue(struct debugger *d, struct scan *args) {
    if (jump(d, args))
        run_on(d);
}

void command_step(struct debugger *d, struct scan *args) {
    if (jump(d, args))
        step(d, d->resume_cpu, 0, 0);
}

// A guest has no signals: they are dropped.
static void skip_signal(struct scan *args) {
    uint64_t signal;
    scan_number(args, &signal);
    scan_word(args, ";");
}

void command_continue_signal(struct debugger *d, struct scan *args) {
    skip_signal(args);
    command_continue(d, args);
}

void command_step_signal(struct debugger *d, struct scan *args) {
    skip_signal(args);
    command_step(d, args);
}

void command_vcont_query(struct debugger *d, struct scan *args) {
    packet_text(&d->reply, "vCont;c;C;s;S;t;r");
}

// One action of vCont: what, and for whom.
struct action {
    char kind; // c, s, t, r
    uint64_t start, end;
    uint32_t cpu; // NO_CPU: all to whom nothing else applies
};

static bool scan_action(struct debugger *d, struct scan *args, struct action *a) {
    uint64_t signal;
    *a = (struct action){.cpu = NO_CPU};
    if (!scan_word(args, ";") || scan_end(args))
        return false;
    char kind = *args->at++;
    switch (kind) {
    case 'c':
    case 's':
    case 't': a->kind = kind; break;
    case 'C':
    case 'S':
        a->kind = kind == 'C' ? 'c' : 's';
        if (!scan_number(args, &signal))
            return false;
        break;
    case 'r':
        a->kind = 'r';
        if (!scan_number(args, &a->start) || !scan_word(args, ",") || !scan_number(args, &a->end))
            return false;
        break;
    default: return false;
    }
    return !scan_word(args, ":") || threads_scan(d, args, &a->cpu);
}

// All vCPUs run together, whatever is asked for each: a VM is one machine. What decides is whether one of them is
// to step; the leftmost such action counts.
void command_vcont(struct debugger *d, struct scan *args) {
    struct action chosen = {0}, a;
    do {
        if (!scan_action(d, args, &a)) {
            debugger_error(d, "this vCont is not understood");
            return;
        }
        bool steps = a.kind == 's' || a.kind == 'r';
        if (!chosen.kind || (steps && chosen.kind != 's' && chosen.kind != 'r') ||
            (a.kind == 'c' && chosen.kind == 't'))
            chosen = a;
    } while (!scan_end(args));
    if (chosen.kind == 'c')
        run_on(d);
    else if (chosen.kind == 't')
        answer_stop(d); // everything stands
    else
        step(d, chosen.cpu, chosen.start, chosen.end);
}

// Stops a client's VM "as ^C does" in its non-stop mode, which is not offered: everything stands.
void command_vctrlc(struct debugger *d, struct scan *args) {
    debugger_ok(d);
}

// ---- backwards -----------------------------------------------------------------------------------------
static void went_back(struct debugger *d, int error, const struct run_result *r, uint32_t cpu) {
    if (error == -ENOTSUP)
        debugger_error(d, "a live VM has no history: record it and debug its replay");
    else if (error)
        debugger_error(d, strerror(-error));
    else
        stopped(d, r, cpu, true);
}

void command_reverse_step(struct debugger *d, struct scan *args) {
    struct run_result r;
    int error = 0;
    uint32_t cpu = stepping_cpu(d, d->resume_cpu);
    if (resume_begin(d))
        not_started(d, &r);
    else if (steps_over_interrupts(d, false))
        error = timeline_reverse_step_over(d->timeline, cpu, &r);
    else
        error = timeline_reverse_step(d->timeline, cpu, &r);
    went_back(d, error, &r, !error && r.end == RAN_STEP ? cpu : r.position.cpu);
}

void command_reverse_continue(struct debugger *d, struct scan *args) {
    struct run_result r;
    int error = 0;
    if (resume_begin(d))
        not_started(d, &r);
    else
        error = timeline_reverse_continue(d->timeline, &r);
    went_back(d, error, &r, error ? 0 : r.position.cpu);
}
