#include "target_mock.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t x = (a ^ (b + 0x9e3779b97f4a7c15ull)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 29)) * 0x94d049bb133111ebull;
    return x ^ (x >> 32);
}

static uint64_t now_v(const struct mock *m) {
    return m->anchor + m->count;
}

// ---- the program and the log: functions of the seed ---------------------------------------------------------
enum op { OP_ADD, OP_STORE, OP_LOAD, OP_REP, OP_STI, OP_MOV_SS, OP_HLT, OP_FAULT, OP_JMP, OP_IRET };

static enum op instruction(const struct mock *m, uint32_t rip) {
    static const uint8_t mixture[16] = {OP_ADD,   OP_ADD,  OP_ADD, OP_STORE, OP_STORE, OP_STORE,
                                        OP_LOAD,  OP_LOAD, OP_REP, OP_REP,   OP_STI,   OP_MOV_SS,
                                        OP_FAULT, OP_JMP,  OP_HLT, OP_ADD};
    if (rip == MOCK_MAIN + MOCK_HANDLER_LENGTH - 1)
        return OP_IRET;
    enum op op = mixture[mix(m->seed, rip) % 16];
    // A handler goes straight to its end; HLT is rare.
    if (rip >= MOCK_MAIN && (op == OP_HLT || op == OP_FAULT || op == OP_JMP))
        return OP_ADD;
    return op == OP_HLT && mix(m->seed, rip) & 0x100 ? OP_ADD : op;
}

enum event_kind { EVENT_INTERRUPT, EVENT_SWITCH, EVENT_END };
struct event {
    uint64_t v;
    enum event_kind kind;
    uint32_t cpu;
};

static struct event event(const struct mock *m, uint64_t number) {
    struct event e = {.v = number * 60 + mix(m->seed + 1, number) % 50 + 20};
    uint64_t r = mix(m->seed + 2, number);
    e.kind = number + 1 == m->events ? EVENT_END : r % 3 ? EVENT_INTERRUPT : EVENT_SWITCH;
    e.cpu = (r >> 8) % m->cpus;
    return e;
}

// ---- what happens between instructions ------------------------------------------------------------------------
static void switch_to(struct mock *m, unsigned cpu) {
    m->deliveries += m->current != cpu;
    m->current = cpu;
}

static bool runnable(const struct mock_cpu *c) {
    return !c->halted || (c->pending && !c->in_handler);
}

// Delivers what is due. False: the recording ends here.
static bool take_events(struct mock *m) {
    for (;;) {
        struct event e = event(m, m->event);
        if (e.v > now_v(m))
            return true;
        if (e.kind == EVENT_END)
            return false;
        if (e.kind == EVENT_INTERRUPT)
            m->cpu[e.cpu].pending = true;
        else if (runnable(&m->cpu[e.cpu]))
            switch_to(m, e.cpu);
        m->event++;
    }
}

// Makes somebody able to run the current one. False: time has passed instead.
static bool find_cpu(struct mock *m) {
    if (runnable(&m->cpu[m->current]))
        return true;
    for (unsigned i = 0; i < m->cpus; i++)
        if (runnable(&m->cpu[i])) {
            switch_to(m, i);
            return true;
        }
    m->anchor += event(m, m->event).v - now_v(m);
    return false;
}

static void enter_handler(struct mock_cpu *c, uint32_t return_rip) {
    c->return_rip = return_rip;
    c->rip = MOCK_MAIN;
    c->in_handler = true;
    c->halted = false;
}

static bool interrupt_is_due(const struct mock *m) {
    const struct mock_cpu *c = &m->cpu[m->current];
    return c->pending && !c->in_handler;
}

static void deliver_interrupt(struct mock *m) {
    struct mock_cpu *c = &m->cpu[m->current];
    c->pending = false;
    enter_handler(c, c->rip);
    m->deliveries++;
    if (m->on_handler)
        m->on_handler(m->opaque, m, true);
}

// ---- instructions ---------------------------------------------------------------------------------------------
struct access {
    uint32_t kinds; // bit per enum break_kind
    uint64_t address;
    bool faulted; // the tick was the delivery of an exception, no instruction
};

static struct access store(struct mock *m, unsigned word, uint64_t value) {
    struct access a = {1u << WATCH_ACCESS, word * 8};
    if (m->memory[word] != value)
        a.kinds |= 1u << WATCH_WRITE;
    m->memory[word] = value;
    return a;
}

static struct access repeat(struct mock *m, struct mock_cpu *c) {
    if (!c->rcx)
        c->rcx = mix(c->acc, c->rip) % 12 + 1;
    struct access a = store(m, (c->rip + c->rcx) % MOCK_MEMORY, mix(c->acc, c->rcx) % 4);
    if (--c->rcx == 0)
        c->rip++;
    return a;
}

// One tick of the current processor.
static struct access execute(struct mock *m) {
    struct mock_cpu *c = &m->cpu[m->current];
    struct access a = {0};
    uint64_t word = mix(c->acc, 77) % MOCK_MEMORY;
    enum op op = instruction(m, c->rip);
    m->count++;
    m->deliveries = 0;
    c->shadow = op == OP_STI ? SHADOW_STI : op == OP_MOV_SS ? SHADOW_MOV_SS : SHADOW_NONE;
    if (op == OP_REP)
        return repeat(m, c);
    c->acc = mix(c->acc, c->rip);
    c->rip++;
    if (op == OP_STORE) {
        a = store(m, word, c->acc % 4);
    } else if (op == OP_LOAD) {
        c->acc = mix(c->acc, m->memory[word]);
        a = (struct access){1u << WATCH_READ | 1u << WATCH_ACCESS, word * 8};
    } else if (op == OP_HLT) {
        c->halted = true;
    } else if (op == OP_FAULT && !c->in_handler) {
        enter_handler(c, c->rip);
        a.faulted = true;
    } else if (op == OP_JMP) {
        c->rip = c->acc % MOCK_MAIN;
    } else if (op == OP_IRET) {
        c->rip = c->return_rip;
        c->in_handler = false;
        if (m->on_handler)
            m->on_handler(m->opaque, m, false);
    }
    if (c->rip == MOCK_MAIN && !c->in_handler)
        c->rip = 0;
    return a;
}

// ---- runs -------------------------------------------------------------------------------------------------------
void mock_where(const struct mock *m, struct position *p) {
    const struct mock_cpu *c = &m->cpu[m->current];
    *p = (struct position){.v = now_v(m),
                           .count = m->count,
                           .rip = MOCK_CODE + c->rip,
                           .rcx = c->rcx,
                           .cpu = m->current,
                           .deliveries = m->deliveries,
                           .event = m->event};
}

static bool matches(const struct breakpoint *b, const struct access *a, uint64_t rip) {
    if (b->kind < WATCH_WRITE)
        return !a && b->address == rip;
    return a && a->kinds & 1u << b->kind && a->address < b->address + b->length &&
           b->address < a->address + 8;
}

static void hit(struct mock *m, unsigned which, uint64_t address, struct run_result *result) {
    result->hit = (struct run_hit){.valid = 1, .which = which, .address = address};
    mock_where(m, &result->hit.position);
    if (m->on_hit)
        m->on_hit(m->opaque, &result->hit);
}

// The same for an interrupt that is due.
static bool meets_interrupt(struct mock *m, const struct run_request *q,
                            struct run_result *result) {
    for (unsigned i = 0; i < q->breakpoint_count; i++) {
        const struct breakpoint *b = &q->breakpoints[i];
        if (b->kind != INTERRUPT || b->length != m->current ||
            b->address != MOCK_CODE + m->cpu[m->current].rip)
            continue;
        hit(m, i, 0, result);
        result->end = RAN_TO_BREAKPOINT;
        return !(q->flags & RUN_COLLECT);
    }
    return false;
}

// Whether the run ends: a breakpoint (access NULL) or a watchpoint is met here.
static bool meets(struct mock *m, const struct run_request *q, const struct access *a,
                  struct run_result *result) {
    for (unsigned i = 0; i < q->breakpoint_count; i++) {
        if (!matches(&q->breakpoints[i], a, MOCK_CODE + m->cpu[m->current].rip))
            continue;
        hit(m, i, a ? a->address : 0, result);
        result->end = a ? RAN_TO_WATCHPOINT : RAN_TO_BREAKPOINT;
        return !(q->flags & RUN_COLLECT);
    }
    return false;
}

// What may happen before the next instruction. True: the run ends.
static bool between(struct mock *m, const struct run_request *q, struct run_result *result) {
    for (;;) {
        if (m->on_moment)
            m->on_moment(m->opaque, m);
        if (m->count >= q->until_count && now_v(m) >= q->until_v) {
            result->end = RAN_TO_PLACE;
            return true;
        }
        if (m->count >= m->interrupt_at) {
            result->end = RAN_INTERRUPTED;
            return true;
        }
        if (!take_events(m)) {
            result->end = m->differs ? RAN_INTO_DIFFERENCE : RAN_TO_END;
            snprintf(result->text, sizeof(result->text), "the recording ends here");
            return true;
        }
        if (find_cpu(m)) {
            bool due = interrupt_is_due(m), ends = due && meets_interrupt(m, q, result);
            if (due)
                deliver_interrupt(m);
            return ends;
        }
    }
}

static void loop(struct mock *m, const struct run_request *q, struct run_result *result) {
    struct position start, now;
    mock_where(m, &start);
    if (m->count >= q->until_count && now_v(m) >= q->until_v)
        return;                                            // RAN_TO_PLACE, even in a shadow
    bool here = q->flags & RUN_FROM_HERE, through = false; // a handler is run through
    const struct mock_cpu *steps = &m->cpu[q->step_cpu];
    for (;; here = true) {
        bool in_handler = steps->in_handler;
        if (m->cpu[m->current].shadow == SHADOW_NONE && between(m, q, result))
            return;
        through |= q->flags & RUN_OVER_INTERRUPTS && steps->in_handler && !in_handler;
        mock_where(m, &now);
        bool moved = now.v != start.v || now.count != start.count ||
                     now.deliveries != start.deliveries;
        bool hidden = m->cpu[m->current].shadow == SHADOW_MOV_SS;
        if (!hidden && (moved || here) && meets(m, q, NULL, result))
            return;
        uint32_t cpu = m->current;
        struct access a = execute(m);
        if (a.kinds && meets(m, q, &a, result))
            return;
        bool ends = q->flags & RUN_STEP && !through && q->step_cpu == cpu && !a.faulted &&
                    m->cpu[cpu].shadow == SHADOW_NONE;
        through &= steps->in_handler;
        if (ends) {
            result->end = RAN_STEP;
            if (m->on_moment)
                m->on_moment(m->opaque, m);
            return;
        }
    }
}

static void run(void *target, const struct run_request *q, struct run_result *result) {
    struct mock *m = target;
    loop(m, q, result);
    m->interrupt_at = UINT64_MAX;
    if (result->end != RAN_TO_BREAKPOINT && result->end != RAN_TO_WATCHPOINT &&
        !(q->flags & RUN_COLLECT))
        result->hit.valid = 0;
    mock_where(m, &result->position);
}

// ---- the rest of the operations -----------------------------------------------------------------------------------
void mock_init(struct mock *m, uint64_t seed, unsigned cpus, uint64_t events) {
    *m = (struct mock){
        .seed = seed, .cpus = cpus, .events = events, .anchor = 5, .interrupt_at = UINT64_MAX};
}

uint64_t mock_state(const struct mock *m) {
    uint64_t h = mix(mix(m->anchor, m->count), mix(m->event, m->current));
    for (unsigned i = 0; i < m->cpus; i++) {
        const struct mock_cpu *c = &m->cpu[i];
        h = mix(h, mix(mix(c->rip, c->return_rip), mix(c->rcx, c->acc)));
        h = mix(h, c->shadow << 8 | c->halted << 2 | c->pending << 1 | c->in_handler);
    }
    for (unsigned i = 0; i < MOCK_MEMORY; i++)
        h = mix(h, m->memory[i]);
    return h;
}

static void info(void *target, struct target_info *i) {
    const struct mock *m = target;
    *i = (struct target_info){.kind = m->live ? TARGET_LIVE : TARGET_REPLAYING,
                              .cpus = m->cpus,
                              .hz = 1000000,
                              .ram_size = sizeof(m->memory),
                              .low_size = sizeof(m->memory),
                              .events = m->events,
                              .name = "mock"};
}

static void where(void *target, struct position *p) {
    mock_where(target, p);
}

static void interrupt(void *target) {
    ((struct mock *)target)->interrupt_at = 0;
}

static int read_registers(void *target, unsigned cpu, struct target_registers *r) {
    const struct mock *m = target;
    if (cpu >= m->cpus)
        return -EINVAL;
    *r = (struct target_registers){.rip = MOCK_CODE + m->cpu[cpu].rip, .mode = TARGET_MODE_64};
    r->general[0] = m->cpu[cpu].acc;
    r->general[1] = m->cpu[cpu].rcx;
    return 0;
}

static int write_registers(void *target, unsigned cpu, const struct target_registers *r) {
    struct mock *m = target;
    if (!m->live)
        return -EPERM;
    m->cpu[cpu].acc = r->general[0];
    return 0;
}

static long read_memory(void *target, unsigned cpu, enum target_space space, uint64_t address,
                        void *buf, size_t n) {
    const struct mock *m = target;
    uint64_t rip = address - MOCK_CODE;
    if (rip < MOCK_MAIN + MOCK_HANDLER_LENGTH) {
        *(uint8_t *)buf = instruction(m, rip) == OP_IRET ? 0xcf : 0x90; // IRET, NOP
        return 1;
    }
    if (address >= sizeof(m->memory))
        return -EFAULT;
    if (n > sizeof(m->memory) - address)
        n = sizeof(m->memory) - address;
    memcpy(buf, (const char *)m->memory + address, n);
    return n;
}

static long write_memory(void *target, unsigned cpu, enum target_space space, uint64_t address,
                         const void *buf, size_t n) {
    struct mock *m = target;
    if (!m->live)
        return -EPERM;
    if (address >= sizeof(m->memory) || n > sizeof(m->memory) - address)
        return -EFAULT;
    memcpy((char *)m->memory + address, buf, n);
    return n;
}

static int translate(void *target, unsigned cpu, uint64_t linear, uint64_t *physical) {
    *physical = linear;
    return linear < sizeof(((struct mock *)target)->memory) ? 0 : -EFAULT;
}

static uint64_t event_v(void *target, uint64_t number) {
    const struct mock *m = target;
    return number < m->events ? event(m, number).v : UINT64_MAX;
}

static uint64_t hash(void *target, bool memory) {
    return mock_state(target);
}

static void text(void *target, enum target_text what, const char *argument, char *buf, size_t n) {
    snprintf(buf, n, "text %d of '%s'", what, argument);
}

static int go_live(void *target, const char *record, char error[256]) {
    struct mock *m = target;
    if (!strcmp(record, "/bad")) {
        snprintf(error, 256, "%s: no such folder", record);
        return -ENOENT;
    }
    m->live = true;
    return 0;
}

static int after_fork(void *target) {
    return 0;
}

const struct target_ops mock_ops = {
    .info = info,
    .where = where,
    .run = run,
    .interrupt = interrupt,
    .read_registers = read_registers,
    .write_registers = write_registers,
    .read_memory = read_memory,
    .write_memory = write_memory,
    .translate = translate,
    .event_v = event_v,
    .hash = hash,
    .text = text,
    .go_live = go_live,
    .after_fork = after_fork,
};
