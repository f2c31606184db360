// A step back and a step forth is nothing: the same registers, devices and memory. Drives a timeline over a replayed
// machine. Arguments: how many points, the kinds of points that must be among them ("rep,interrupt,fault,hlt,sti,movss",
// those that the guest has), the linear address of the guest's 64-bit IDT, then vmx's options.
//
// The points are in neighbourhoods, in the order of time, so that all of them take hardly more than one passage. In
// each the program steps through a window, then goes to what is rare with breakpoints: handlers, and instructions
// that a window or the list of exits has shown.
#include <inttypes.h>
#include <stdio.h>
#include "tests/machine/travel.h"

#define POINTS_EACH 5    // in a neighbourhood
#define WINDOW      50   // steps
#define HANDLER     200  // steps in a page fault's handler: Linux soon turns interrupts on
#define FIRST       300  // steps at the begin, where segments are loaded
#define STOPS       8    // at breakpoints, in a neighbourhood
#define NEAR        2000 // ticks between random points of a neighbourhood
#define TRIES       200  // at random points, in a neighbourhood

enum kind { RANDOM, REP, INTERRUPTED, FAULTED, HLT, STI, MOV_SS, KINDS };
static const char *const names[KINDS] = {"random", "rep", "interrupt", "fault",
                                         "hlt",    "sti", "movss"};
static unsigned seen[KINDS];  // points that were the identity
static unsigned here[KINDS];  // of them in this neighbourhood
static uint64_t known[KINDS]; // the address of such an instruction; 0: none is known
static uint64_t idt;

static unsigned all_seen(void) {
    unsigned n = 0;
    for (unsigned k = 0; k < KINDS; k++)
        n += seen[k];
    return n;
}

// ---- a point ------------------------------------------------------------------------------------------
struct snapshot {
    struct position at;
    struct target_registers registers[4];
    uint64_t state, memory;
};

static void take(struct snapshot *s) {
    struct remote *m = timeline_machine(t);
    memset(s, 0, sizeof(*s));
    s->at = now();
    for (unsigned i = 0; i < timeline_info(t)->cpus && i < 4; i++)
        remote_read_registers(m, i, &s->registers[i]);
    s->state = remote_hash(m, false);
    s->memory = remote_hash(m, true);
}

// The first word in which the registers differ.
static void explain_registers(const struct snapshot *a, const struct snapshot *b) {
    const uint64_t *x = (const uint64_t *)a->registers, *y = (const uint64_t *)b->registers;
    for (size_t i = 0; i < sizeof(a->registers) / 8; i++)
        if (x[i] != y[i]) {
            printf("vCPU %zu, byte %zu of its registers: %lx, then %lx\n",
                   i * 8 / sizeof(a->registers[0]), i * 8 % sizeof(a->registers[0]), x[i], y[i]);
            return;
        }
}

static const char *difference(const struct snapshot *a, const struct snapshot *b) {
    return compare(&a->at, &b->at)                                    ? "place"
           : a->state != b->state                                     ? "state"
           : a->memory != b->memory                                   ? "memory"
           : memcmp(a->registers, b->registers, sizeof(a->registers)) ? "registers"
                                                                      : NULL;
}

// The cursor stands where a step ended, and does so in the end.
static void point(enum kind kind) {
    static struct snapshot before, after;
    struct run_result r;
    take(&before);
    timeline_reverse_step(t, before.at.cpu, &r);
    struct position back = now();
    here[kind]++;
    if (r.end != RAN_STEP || compare(&back, &before.at) >= 0) {
        check(false, names[kind], "back from count %lu: %u %s", before.at.count, r.end, r.text);
        return;
    }
    timeline_step(t, before.at.cpu, false, &r);
    take(&after);
    const char *what = difference(&before, &after);
    if (!what) {
        seen[kind]++;
        return;
    }
    explain_registers(&before, &after);
    check(false, names[kind], "another %s at count %lu rip %lx (back at %lu %lx; then %lu %lx)",
          what, before.at.count, before.at.rip, back.count, back.rip, after.at.count, after.at.rip);
}

// ---- what an instruction is ---------------------------------------------------------------------------
enum { OPCODE_HLT = 0xf4, OPCODE_STI = 0xfb, OPCODE_MOV_TO_SEGMENT = 0x8e };

static enum kind instruction(const struct position *p) {
    uint8_t code[2] = {0};
    struct target_registers r = {0};
    remote_read_memory(timeline_machine(t), p->cpu, SPACE_LINEAR, p->rip, code, sizeof(code));
    switch (code[0]) {
    case OPCODE_HLT: return HLT;
    case OPCODE_STI:
        remote_read_registers(timeline_machine(t), p->cpu, &r);
        return r.rflags & 1 << 9 ? RANDOM : STI; // interrupts that are on already cast no shadow
    case OPCODE_MOV_TO_SEGMENT: return (code[1] & 0x38) == 0x10 ? MOV_SS : RANDOM;
    default: return RANDOM;
    }
}

// Whether `when` says that of the vCPU.
static bool said(const char *what) {
    char text[1024];
    remote_text(timeline_machine(t), TEXT_CPU, "", text, sizeof(text));
    return strstr(text, what);
}

// Through the instruction that the cursor stands before. In front of a shadow `when` says whether the shadow's
// instruction belongs to the step, which is always so behind MOV SS.
static bool through(enum kind kind) {
    struct position p = now();
    bool shadow = kind == STI || kind == MOV_SS,
         one = said("one step with the instruction behind it");
    if (!step())
        return false;
    uint64_t ticks = now().count - p.count, bytes = now().rip - p.rip;
    if (one && !shadow)
        check(false, names[kind], "'when' sees a shadow at count %lu, rip %lx", p.count, p.rip);
    if (shadow && bytes < 16 && ticks <= 2 && ticks != 1u + one) // (else it was an exception)
        check(false, names[kind], "a step of %lu ticks at count %lu, rip %lx to %lx, one step: %u",
              ticks, p.count, p.rip, now().rip, one);
    if (kind == MOV_SS && !one)
        check(false, names[kind], "'when' does not say that it is one step");
    return true;
}

// Before the instruction and behind it. (Only a breakpoint stops in a shadow: that is no place of a step's end.)
static bool around(enum kind kind) {
    known[kind] = now().rip;
    if (!said("in the shadow of"))
        point(kind);
    if (!through(kind))
        return false;
    point(kind);
    return true;
}

static bool wanted(enum kind kind) {
    return !here[kind] && kind != RANDOM;
}

// A step that came from `p` was an iteration of a REP instruction that goes on.
static bool in_rep(const struct position *p) {
    return now().rip == p->rip && now().rcx == p->rcx - 1;
}

static void look_around(unsigned steps) {
    while (steps-- > 0) {
        struct position p = now();
        enum kind kind = instruction(&p);
        if (wanted(kind) && p.deliveries == 0) {
            if (!around(kind))
                return;
            continue;
        }
        if (!step())
            return;
        if (!in_rep(&p))
            continue;
        known[REP] = p.rip;
        if (wanted(REP))
            point(REP);
    }
}

// `n` in all so far; where the history is over, on from V again.
static void random_points(unsigned n, uint64_t v) {
    for (unsigned tries = 0; all_seen() < n && !failures && tries < TRIES; tries++) {
        struct run_result r;
        timeline_goto(t, PLACE_COUNT, now().count + 1 + random_below(NEAR), &r);
        struct position p = now();
        if (r.end == RAN_TO_PLACE && step())
            point(in_rep(&p) ? REP : RANDOM);
        else
            timeline_goto(t, PLACE_V, v, &r);
    }
}

// ---- what is rare -------------------------------------------------------------------------------------
// Where the guest has halted of late, by the list of exits; mostly it is STI and HLT.
static void learn_hlt(void) {
    static char text[1 << 16];
    uint8_t code[3] = {0}; // STI, HLT, and where it goes on
    remote_text(timeline_machine(t), TEXT_EXITS, "", text, sizeof(text));
    const char *line = strstr(text, " hlt 0x");
    if (!line || known[HLT])
        return;
    uint64_t behind = strtoull(line + strlen(" hlt "), NULL, 16);
    remote_read_memory(timeline_machine(t), now().cpu, SPACE_LINEAR, behind - 2, code,
                       sizeof(code));
    if (code[1] == OPCODE_HLT)
        known[HLT] = behind - 1;
    else if (code[2] == OPCODE_HLT) // RIP stands at it
        known[HLT] = behind;
    if (known[HLT] && code[known[HLT] - behind + 1] == OPCODE_STI)
        known[STI] = known[HLT] - 1;
}

// On all that is wanted, and on interrupts in any case, for something must end the run. False: the guest takes none
// yet.
static bool place_breakpoints(void) {
    timeline_clear_breakpoints(t);
    bool interrupts = break_at_vectors(idt, VECTOR_DEVICES, VECTORS - 1);
    if (wanted(FAULTED))
        break_at(handler_address(idt, VECTOR_PF), BREAK_SOFTWARE);
    for (enum kind k = 0; k < KINDS; k++)
        if (wanted(k) && known[k])
            break_at(known[k], BREAK_HARDWARE);
    return interrupts;
}

static enum kind kind_of_stop(const struct position *p) {
    for (enum kind k = 0; k < KINDS; k++)
        if (known[k] && p->rip == known[k])
            return k;
    return p->rip == handler_address(idt, VECTOR_PF) ? FAULTED : INTERRUPTED;
}

static void at_stop(enum kind kind) {
    if (kind == REP) {
        look_around(3);
    } else if (kind == STI || kind == HLT || kind == MOV_SS) {
        around(kind);
    } else if (step()) {
        // (On a handler's first instruction no step stops: the one that the fault or interrupt happens in executes it.)
        point(kind);
        look_around(kind == FAULTED && !known[STI] ? HANDLER : WINDOW / 5);
    }
}

// From breakpoint to breakpoint.
static void visit(void) {
    for (unsigned i = 0; i < STOPS && place_breakpoints(); i++) {
        struct run_result r;
        uint64_t from = now().count;
        timeline_continue(t, &r);
        timeline_clear_breakpoints(t);
        if (r.end != RAN_TO_BREAKPOINT) { // nothing comes any more
            timeline_goto(t, PLACE_COUNT, from, &r);
            return;
        }
        struct position p = now();
        enum kind kind = kind_of_stop(&p);
        learn_hlt();
        if (wanted(kind))
            at_stop(kind);
    }
}

// ---- all ----------------------------------------------------------------------------------------------
// Around the first moment of V; `points` in all so far. What is summed here need not be summed again by the copies
// of this checkpoint.
static void neighbourhood(uint64_t v, unsigned points, unsigned window) {
    struct run_result r;
    if (v > now().v)
        timeline_goto(t, PLACE_V, v, &r);
    memset(here, 0, sizeof(here));
    remote_hash(timeline_machine(t), true);
    int number = timeline_checkpoint(t);
    if (number < 0)
        check(false, "checkpoint", "%d", number);
    look_around(window);
    visit();
    random_points(points, v);
    timeline_delete_checkpoint(t, number);
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Every other neighbourhood is in the last tenth: in a short recording of Linux only there are programs, and idle time.
static void test_identity(unsigned points) {
    unsigned n = points / POINTS_EACH;
    uint64_t begin = now().v, events = timeline_info(t)->events;
    uint64_t end = remote_event_v(timeline_machine(t), events - 1), at[n];
    for (unsigned i = 0; i < n; i++)
        at[i] = end - 1 - random_below((end - begin) / (i % 2 ? 10 : 1));
    at[0] = begin;
    qsort(at, n, sizeof(at[0]), ascending);
    for (unsigned i = 0; i < n && !failures; i++)
        neighbourhood(at[i], points * (i + 1) / n, i ? WINDOW : FIRST);
    check(all_seen() >= points, "identity", "%u points", all_seen());
}

static void check_kinds(const char *list) {
    for (enum kind k = 0; k < KINDS; k++) {
        bool must = strstr(list, names[k]);
        if (must || seen[k])
            check(seen[k] > 0, names[k], "%u points", seen[k]);
    }
}

int main(int argc, char **argv) {
    const struct timeline_limits limits = {.checkpoints = 40, .reserve = 8 << 20};
    if (argc < 5)
        return 2;
    idt = strtoull(argv[3], NULL, 16);
    t = timeline_create(start_machine(argc - 3, argv + 3), &limits);
    if (!t)
        return 2;
    test_identity(strtoul(argv[1], NULL, 0));
    check_kinds(argv[2]);
    timeline_free(t);
    printf("end: %u failures\n", failures);
    return failures != 0;
}
