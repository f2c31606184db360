// Drives a timeline over a replayed machine as a debugger would. Arguments: how many points (0: only what it costs), the
// linear address of the guest's 64-bit IDT, then vmx's. At seeded points, and at what is special (REP, interrupts, page faults, HLT, the
// shadows of STI and MOV SS) a step back and a step forth is nothing; a watchpoint backwards finds the write that it
// finds forwards; the same breakpoints are met in both directions. Prints what it cost.
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <x86intrin.h>
#include "replay/server.h"
#include "replay/timeline.h"
#include "tests/machine/check.h"
#include "vmm/machine/config.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/options.h"

#define VECTOR_PF      14
#define VECTOR_DEVICES 32
#define VECTORS        256
#define IN_A_ROW       100
#define LIMIT          2000000 // ticks that a step back may run again, but for the first in a neighbourhood

static struct timeline *t;
static uint64_t begin_count, end_count, idt;

static uint64_t random_below(uint64_t n) {
    static uint64_t state = 1;
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 16) % n;
}

static struct position now(void) {
    return *timeline_now(t);
}

static int compare(const struct position *a, const struct position *b) {
    if (a->v != b->v)
        return a->v < b->v ? -1 : 1;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return (int)a->deliveries - (int)b->deliveries;
}

static bool go_to(uint64_t count) {
    struct run_result r;
    uint64_t from = now().count;
    timeline_goto(t, PLACE_COUNT, count, &r);
    return r.end == RAN_TO_PLACE || count == end_count ||
           check(false, "goto", "count %lu from %lu: at %lu, %u %s", count, from, now().count,
                 r.end, r.text);
}

static bool step(void) {
    struct run_result r;
    timeline_step(t, now().cpu, false, &r);
    return r.end == RAN_STEP;
}

static uint64_t random_count(void) {
    return begin_count + 1 + random_below(end_count - begin_count - 2);
}

// ---- a step back and a step forth is nothing ---------------------------------------------------------------
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

static uint64_t dearest; // step back that was not the first in its neighbourhood

static void note_cost(bool first) {
    struct timeline_costs costs;
    timeline_get_costs(t, &costs);
    if (!first && costs.reexecuted > dearest)
        dearest = costs.reexecuted;
}

// The cursor stands where a step ended. `count` counts such points.
static void identity(const char *kind, unsigned *count) {
    static struct snapshot before, after;
    struct run_result r;
    take(&before);
    timeline_reverse_step(t, before.at.cpu, &r);
    struct position back = now();
    note_cost(true);
    if (r.end != RAN_STEP || compare(&back, &before.at) >= 0) {
        check(false, kind, "back from count %lu: %u %s", before.at.count, r.end, r.text);
        return;
    }
    timeline_step(t, before.at.cpu, false, &r);
    take(&after);
    const char *what = compare(&before.at, &after.at)  ? "place"
                       : before.state != after.state   ? "state"
                       : before.memory != after.memory ? "memory"
                       : memcmp(before.registers, after.registers, sizeof(before.registers))
                           ? "registers"
                           : NULL;
    if (what)
        explain_registers(&before, &after);
    if (what)
        check(false, kind, "another %s at count %lu rip %lx (back at %lu %lx; then %lu %lx)", what,
              before.at.count, before.at.rip, back.count, back.rip, after.at.count, after.at.rip);
    else
        ++*count;
    timeline_reverse_step(t, before.at.cpu, &r);
    note_cost(false);
}

static bool at_bytes(const uint8_t *bytes, size_t n) {
    uint8_t code[4] = {0};
    struct position p = now();
    remote_read_memory(timeline_machine(t), p.cpu, SPACE_LINEAR, p.rip, code, n);
    return memcmp(code, bytes, n) == 0;
}

struct seen {
    unsigned random, rep, interrupt, fault, hlt, sti, mov_ss;
};
static struct seen seen;

static bool at_mov_ss(void) {
    uint8_t code[2] = {0};
    struct position p = now();
    remote_read_memory(timeline_machine(t), p.cpu, SPACE_LINEAR, p.rip, code, 2);
    return code[0] == 0x8e && (code[1] & 0x38) == 0x10;
}

// Steps on until something special is about to be executed, and through it.
static void look_around(unsigned steps) {
    static const uint8_t sti = 0xfb, hlt = 0xf4;
    while (steps-- > 0) {
        struct position p = now();
        bool is_sti = at_bytes(&sti, 1), is_hlt = at_bytes(&hlt, 1), is_mov_ss = at_mov_ss();
        if (!step())
            return;
        struct position q = now();
        unsigned *kind = is_sti && seen.sti < 20                                 ? &seen.sti
                         : is_hlt && seen.hlt < 20                               ? &seen.hlt
                         : is_mov_ss && seen.mov_ss < 20                         ? &seen.mov_ss
                         : q.rip == p.rip && q.rcx == p.rcx - 1 && seen.rep < 20 ? &seen.rep
                                                                                 : NULL;
        if (kind) {
            identity("special", kind);
            go_to(q.count);
        }
    }
}

static unsigned all_seen(void) {
    return seen.random + seen.rep + seen.interrupt + seen.fault + seen.hlt + seen.sti + seen.mov_ss;
}

static void random_points(unsigned n) {
    for (unsigned i = 0; i < n && all_seen() < n; i++) {
        // Four in each neighbourhood: most of the time goes into the way there.
        go_to(i % 4 ? now().count + random_below(5000) : random_count());
        if (step())
            identity("random", &seen.random);
        look_around(50);
    }
}

// ---- breakpoints on interrupt handlers ------------------------------------------------------------------------
static void break_at_vector(unsigned vector) {
    uint8_t gate[16] = {0};
    remote_read_memory(timeline_machine(t), 0, SPACE_LINEAR, idt + vector * 16, gate, 16);
    struct breakpoint b = {.kind = BREAK_SOFTWARE, .cr3 = ANY_CR3};
    b.address = gate[0] | gate[1] << 8 | gate[6] << 16 | (uint64_t)gate[7] << 24;
    memcpy((char *)&b.address + 4, gate + 8, 4);
    if (b.address)
        timeline_add_breakpoint(t, &b);
}

static void break_at_vectors(unsigned first, unsigned last) {
    timeline_clear_breakpoints(t);
    for (unsigned i = first; i <= last; i++)
        break_at_vector(i);
}

// Where an interrupt or fault happens after a random point of the last `part` ticks: at the end of the step that it
// happens in, and before.
static void points_at_vectors(const char *kind, unsigned first, unsigned last, uint64_t part,
                              unsigned n, unsigned *count) {
    for (unsigned i = 0; i < n; i++) {
        struct run_result r;
        if (!go_to(end_count - 1 - random_below(part)))
            return;
        break_at_vectors(first, last);
        timeline_continue(t, &r);
        timeline_clear_breakpoints(t);
        // On the handler's first instruction no step stops: the one that the fault or interrupt happens in executes it.
        if (r.end != RAN_TO_BREAKPOINT || !step())
            continue;
        identity(kind, count);
        struct position back = now(); // two steps before
        if (step() && now().count > back.count)
            identity(kind, count);
        look_around(4);
    }
}

// Sums of memory are made of what was written since the last ones: copies of checkpoints that have some need look
// at less.
static void make_sums(void) {
    for (unsigned i = 1; i < 10; i++) {
        go_to(begin_count + (end_count - begin_count) / 10 * i);
        remote_hash(timeline_machine(t), true);
        check(timeline_checkpoint(t) == (int)i, "checkpoint", "%u, at count %lu", i, now().count);
    }
}

// Near the end, and halfway: the first step back finds no checkpoint near, the others do.
static void test_steps_back(void) {
    for (unsigned part = 2; part > 0; part--) {
        go_to(begin_count + (end_count - begin_count) / 2 * part);
        for (unsigned i = 0; i < 20; i++) {
            struct run_result r;
            timeline_reverse_step(t, now().cpu, &r);
            note_cost(i == 0);
        }
    }
}

static void test_identity(unsigned points) {
    make_sums();
    uint64_t all_ticks = end_count - begin_count - 1;
    points_at_vectors("interrupt", VECTOR_DEVICES, VECTORS - 1, all_ticks, points / 10,
                      &seen.interrupt);
    // A kernel that boots hardly has any: they are where its first program runs.
    points_at_vectors("fault", VECTOR_PF, VECTOR_PF, all_ticks / 100, points / 10, &seen.fault);
    random_points(points);
    unsigned all = all_seen();
    check(
        all >= points, "identity",
        "%u points: %u random, %u mid-REP, %u interrupts, %u page faults, %u HLT, %u STI, %u MOV SS",
        all, seen.random, seen.rep, seen.interrupt, seen.fault, seen.hlt, seen.sti, seen.mov_ss);
}

// ---- watchpoints: backwards and forwards ------------------------------------------------------------------------
#define WINDOW 20000 // ticks that are searched forwards

// The last change before `place`, by a search forwards. False: none in the window.
static bool last_change(const struct position *place, struct position *at) {
    struct run_result r;
    bool found = false;
    go_to(place->count > begin_count + WINDOW ? place->count - WINDOW : begin_count + 1);
    for (;;) {
        timeline_continue(t, &r);
        if (r.end != RAN_TO_WATCHPOINT || compare(&r.position, place) > 0)
            return found;
        *at = r.position;
        found = true;
    }
}

// Of a word on the stack that is used at a random point.
static bool watch_backwards(unsigned *found) {
    struct target_registers regs;
    struct run_result r;
    struct position last = {0}, here;
    if (!go_to(random_count()))
        return false;
    here = now();
    if (remote_read_registers(timeline_machine(t), here.cpu, &regs))
        return false;
    struct breakpoint b = {.kind = WATCH_WRITE,
                           .length = 8,
                           .address = (regs.general[TARGET_RSP] + 7) & ~7ull,
                           .cr3 = ANY_CR3};
    timeline_clear_breakpoints(t);
    timeline_add_breakpoint(t, &b);
    if (!last_change(&here, &last))
        return true;
    ++*found;
    go_to(here.count);
    timeline_reverse_continue(t, &r);
    struct position before = now();
    bool same = r.end == RAN_TO_WATCHPOINT && compare(&r.hit.position, &last) == 0;
    timeline_continue(t, &r);
    same = same && r.end == RAN_TO_WATCHPOINT && compare(&r.position, &last) == 0 &&
           compare(&before, &last) < 0;
    if (!same)
        check(false, "watchpoint",
              "of %lx before count %lu: forwards %lu, backwards %lu, again %lu (%u %s)", b.address,
              here.count, last.count, before.count, r.position.count, r.end, r.text);
    return same;
}

static void test_watchpoints(void) {
    unsigned good = 0, found = 0;
    for (unsigned i = 0; i < 10; i++)
        good += watch_backwards(&found);
    timeline_clear_breakpoints(t);
    check(good == 10, "watchpoints",
          "%u writes that a search forwards finds, %u are found backwards", found,
          good + found - 10);
}

// ---- many in a row ------------------------------------------------------------------------------------------------
static void test_in_a_row(void) {
    static struct position met[IN_A_ROW];
    struct run_result r;
    unsigned n = 0;
    go_to(end_count);
    break_at_vectors(0, VECTORS - 1);
    for (; n < IN_A_ROW; n++) {
        timeline_reverse_continue(t, &r);
        if (r.end != RAN_TO_BREAKPOINT)
            break;
        met[n] = now();
        if (n > 0 && compare(&met[n], &met[n - 1]) >= 0) {
            check(false, "in a row", "the %uth is not before the one before it", n);
            return;
        }
    }
    if (n < IN_A_ROW)
        check(r.end == RAN_TO_END, "in a row", "%u %s", r.end, r.text);
    for (unsigned i = n; i-- > 1;) {
        struct position wanted = met[i - 1];
        timeline_continue(t, &r);
        if (r.end != RAN_TO_BREAKPOINT || compare(&r.position, &wanted)) {
            check(false, "in a row", "forwards from count %lu: %lu instead of %lu (%u %s)",
                  met[i].count, r.position.count, wanted.count, r.end, r.text);
            return;
        }
    }
    timeline_clear_breakpoints(t);
    check(n > 0, "in a row", "%u breakpoints backwards, the same forwards", n);
}

// ---- the machine and its timeline -----------------------------------------------------------------------------------
static void serve(int socket, int argc, char **argv) {
    struct config config;
    static int status;
    config_init(&config);
    if (options_parse(&config, argc, argv) != OPTIONS_RUN)
        _exit(2);
    struct machine *m = machine_create(&config);
    if (!m || debug_create(m, &status) || machine_power_on(m))
        _exit(2);
    server_run(socket, &debug_ops, m);
    _exit(0);
}

static struct remote start_machine(int argc, char **argv) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        exit(2);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        serve(ends[1], argc, argv);
    }
    close(ends[1]);
    return (struct remote){ends[0], pid};
}

// ---- what a checkpoint costs -----------------------------------------------------------------------------------------
#define SAMPLES  9
#define NEXT_RUN 10000000 // ticks in which the faults after a copy are counted

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Host instructions, in an emulator whose TSC counts them.
static uint64_t cost_to(struct remote *m, uint64_t count) {
    struct run_request q = {.until_count = count, .quiet_until = UINT64_MAX};
    struct run_result r;
    uint64_t before = __rdtsc();
    remote_run(m, &q, NULL, &r);
    return __rdtsc() - before;
}

// One machine runs on alone, another with a copy of it beside, so that it copies the pages that it writes.
static void test_costs(int argc, char **argv) {
    uint64_t forks[SAMPLES], ends[SAMPLES], place = begin_count + (end_count - begin_count) / 2;
    uint64_t next = place + NEXT_RUN < end_count ? place + NEXT_RUN : end_count - 1;
    struct remote alone = start_machine(argc, argv), machine = start_machine(argc, argv), copy;
    cost_to(&alone, place);
    uint64_t before = cost_to(&alone, next);
    remote_close(&alone);
    cost_to(&machine, place);
    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t a = __rdtsc();
        int error = remote_fork(&machine, &copy);
        uint64_t b = __rdtsc();
        if (error && !check(false, "costs", "no copy: %s", strerror(-error)))
            return;
        if (i + 1 < SAMPLES)
            remote_close(&copy);
        forks[i] = b - a;
        ends[i] = __rdtsc() - b;
    }
    uint64_t after = cost_to(&machine, next);
    remote_close(&copy);
    remote_close(&machine);
    qsort(forks, SAMPLES, sizeof(forks[0]), ascending);
    qsort(ends, SAMPLES, sizeof(ends[0]), ascending);
    printf("figure checkpoint %lu\nfigure checkpoint_end %lu\n", forks[SAMPLES / 2],
           ends[SAMPLES / 2]);
    printf("figure next_ticks %lu\nfigure next_alone %lu\nfigure next_with_copy %lu\n",
           next - place, before, after);
}

int main(int argc, char **argv) {
    const struct timeline_limits limits = {.checkpoints = 40, .reserve = 8 << 20};
    struct run_result r;
    if (argc < 4)
        return 2;
    unsigned points = strtoul(argv[1], NULL, 0);
    idt = strtoull(argv[2], NULL, 16);
    t = timeline_create(start_machine(argc - 2, argv + 2), &limits);
    if (!t)
        return 2;
    begin_count = now().count;
    timeline_goto(t, PLACE_END, 0, &r);
    end_count = now().count;
    check(r.end == RAN_TO_END, "the end", "count %lu, event %lu: %s", end_count, now().event,
          r.text);
    test_costs(argc - 2, argv + 2);
    test_steps_back();
    if (points > 0) {
        test_watchpoints();
        test_in_a_row();
        test_identity(points);
    }
    check(dearest <= LIMIT, "steps back", "at most %lu ticks again", dearest);
    printf("figure reverse_stepi %lu\n", dearest);
    timeline_free(t);
    printf("end: %u failures\n", failures);
    return failures != 0;
}
