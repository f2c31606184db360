// Drives a machine's debugger operations (replay/target.h) on a replay or a live VM, without front and sockets.
// debug_check TEST VARIABLE FUNCTION vmx's arguments: addresses of a variable that the guest writes and of a function
// that it calls often. Tests on a replay run in copies of the machine made by fork(), so all start at the same
// place, and end with the recording's own sums: whatever a debugger does leaves no trace.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>
#include "tests/machine/check.h"
#include "vmm/machine/config.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/options.h"

#define STEPS       10000
#define BREAKPOINTS 100
#define NEVER       UINT64_MAX

static struct machine *m;
static const struct target_ops *ops = &debug_ops;
static uint64_t variable, function;

// ---- running ---------------------------------------------------------------------------------------
static struct run_result run(unsigned flags, uint64_t count, const struct breakpoint *list,
                             unsigned n) {
    struct run_request q = {.flags = flags,
                            .until_count = count,
                            .until_v = count == NEVER ? NEVER : 0,
                            .quiet_until = NEVER,
                            .breakpoints = list,
                            .breakpoint_count = n};
    struct run_result r;
    ops->run(m, &q, &r);
    return r;
}

static struct run_result step(void) {
    return run(RUN_STEP, NEVER, NULL, 0);
}

static struct position here(void) {
    struct position p;
    ops->where(m, &p);
    return p;
}

static void check_end(struct run_result r, const char *name) {
    check(r.end == RAN_TO_END, name, "at %lu: %s", here().count, r.text);
}

// The rest of the recording, whose end compares all sums.
static void finish(const char *name) {
    check_end(run(0, NEVER, NULL, 0), name);
}

// In a copy of the machine. False after a failure in it.
static bool in_a_copy(void (*test)(void)) {
    int status = 1;
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        int error = ops->after_fork(m);
        failures = 0;
        if (error)
            check(false, "after_fork", "%d", error);
        else
            test();
        fflush(stdout);
        _exit(failures != 0);
    }
    waitpid(child, &status, 0);
    failures += status != 0;
    return status == 0;
}

// ---- steps, breakpoints, places ----------------------------------------------------------------------
static struct position *trail; // where steps came by; shared by all copies

// Every place that steps come by, from `first` on.
static void walk(uint64_t first) {
    unsigned shadows = 0, n = 0;
    struct run_result r = run(0, first, NULL, 0);
    uint64_t begin = __rdtsc();
    for (trail[0] = r.position; n < STEPS; n++) {
        r = step();
        if (r.end != RAN_STEP)
            break;
        trail[n + 1] = r.position;
        shadows += r.position.count - trail[n].count == 2;
        // Shadows follow each other, and a fault's delivery is a tick. (Another vCPU's turn is part of a step, too.)
        if (r.position.count - trail[n].count - 1 > 3 && r.position.event == trail[n].event)
            check(false, "a step", "from %lu to %lu", trail[n].count, r.position.count);
    }
    check(n == STEPS, "10,000 steps", "%u, %llu host ticks each; %u with a shadow; end %u %s", n,
          (__rdtsc() - begin) / (n + 1), shadows, r.end, r.text);
}

static uint64_t length; // of the recording
static uint64_t walk_from;

static void stop_often(void) {
    struct breakpoint list[BREAKPOINTS];
    unsigned hits = 0, wrong = 0;
    walk(walk_from);
    for (unsigned i = 0; i < BREAKPOINTS; i++)
        list[i] = (struct breakpoint){.kind = i % 10 ? BREAK_SOFTWARE : BREAK_HARDWARE,
                                      .address = trail[STEPS - i * 7].rip,
                                      .cr3 = ANY_CR3};
    struct run_result r;
    uint64_t begin = __rdtsc();
    for (; hits < 300; hits++) {
        r = run(0, NEVER, list, BREAKPOINTS);
        if (r.end != RAN_TO_BREAKPOINT)
            break;
        wrong += list[r.hit.which].address != r.position.rip;
    }
    check(hits > 0 && !wrong, "100 breakpoints",
          "%u hits, %u at another place, %llu host ticks each", hits, wrong,
          (__rdtsc() - begin) / (hits + 1));
    if (r.end == RAN_TO_BREAKPOINT) // on, without stopping; not with all of them in a long run
        r = run(RUN_COLLECT, r.position.count + STEPS, list, BREAKPOINTS);
    if (r.end == RAN_TO_PLACE)
        r = run(0, NEVER, NULL, 0);
    check_end(r, "the same end after steps and breakpoints");
}

// Counts lead to where steps came by, in the middle of REP instructions, too.
static void go_there(void) {
    unsigned repeats = 0, wrong = 0;
    for (unsigned i = 1; i < STEPS; i++) {
        const struct position *p = &trail[i];
        bool repeat = p->rip == p[-1].rip && p->rcx != p[-1].rcx;
        if (!(repeat && repeats++ < 50) && i % 97)
            continue;
        struct run_result r = run(0, p->count, NULL, 0);
        if (r.end != RAN_TO_PLACE || r.position.count != p->count || r.position.rip != p->rip ||
            r.position.rcx != p->rcx || r.position.v != p->v)
            wrong++;
    }
    check(!wrong, "counts lead to the same places", "%u differ; %u in a REP instruction", wrong,
          repeats);
    finish("the same end after places");
}

static void measure(void) {
    uint64_t begin = __rdtsc();
    finish("a replay without a debugger's work");
    printf("it takes %llu host ticks\n", __rdtsc() - begin);
    trail[0].count = here().count;
}

static void test_places(void) {
    in_a_copy(measure);
    length = trail[0].count;
    walk_from = length / 2;
    if (in_a_copy(stop_often))
        in_a_copy(go_there);
}

// ---- watchpoints -------------------------------------------------------------------------------------
struct watched {
    uint64_t hits, count, rip, unchanged, end;
};
static struct watched *watched; // by debug registers, by pages, collected; shared
static struct breakpoint watchpoints[5];

static struct watched watch(const struct breakpoint *list, unsigned n) {
    struct watched w = {0};
    uint64_t value = 0, before = 0;
    ops->read_memory(m, 0, SPACE_LINEAR, variable, &before, 4);
    for (;; w.hits++) {
        struct run_result r = run(0, NEVER, list, n);
        w.end = r.end;
        if (r.end != RAN_TO_WATCHPOINT)
            return w;
        ops->read_memory(m, 0, SPACE_LINEAR, variable, &value, 4);
        w.unchanged += value == before;
        before = value;
        w.count = r.position.count;
        w.rip = r.position.rip;
    }
}

static void watch_by_registers(void) {
    watched[0] = watch(watchpoints + 4, 1);
}

static void watch_by_pages(void) {
    watched[1] = watch(watchpoints, 5); // the first four take the registers
}

static void watch_collected(void) {
    uint64_t begin = __rdtsc();
    struct run_result r = run(RUN_COLLECT, NEVER, watchpoints + 4, 1);
    printf("collecting: %llu host ticks for 1000 of the guest\n",
           (__rdtsc() - begin) * 1000 / (length + 1));
    watched[2] = (struct watched){r.hit.valid, r.hit.position.count, r.hit.position.rip, 0, r.end};
}

static void test_watches(void) {
    for (unsigned i = 0; i < 5; i++) // nobody writes to the first four
        watchpoints[i] = (struct breakpoint){.kind = WATCH_WRITE,
                                             .address = i < 4 ? 0xffffffffffff0000 + i * 8
                                                              : variable,
                                             .length = 4,
                                             .cr3 = ANY_CR3};
    in_a_copy(watch_by_registers);
    in_a_copy(watch_by_pages);
    in_a_copy(watch_collected);
    const struct watched *w = watched;
    check(w[0].hits > 0 && !w[0].unchanged && w[0].end == RAN_TO_END, "watched writes",
          "%lu, the last ends at %lu, %lu without a change, end %lu", w[0].hits, w[0].count,
          w[0].unchanged, w[0].end);
    check(!memcmp(&w[0], &w[1], sizeof(w[0])), "the same by pages", "%lu, %lu at %lx, end %lu",
          w[1].hits, w[1].count, w[1].rip, w[1].end);
    check(w[2].hits && w[2].count == w[0].count && w[2].rip == w[0].rip && w[2].end == RAN_TO_END,
          "the last one collected", "%lu at %lx, end %lu", w[2].count, w[2].rip, w[2].end);
}

static void call_function(void) {
    struct breakpoint b = {.kind = BREAK_SOFTWARE, .address = function, .cr3 = ANY_CR3};
    struct run_result r;
    unsigned hits = 0;
    while ((r = run(0, NEVER, &b, 1)).end == RAN_TO_BREAKPOINT && r.position.rip == function)
        hits++;
    check(hits > 1, "a function's calls", "%u", hits);
    check_end(r, "the same end after them");
}

// ---- copies --------------------------------------------------------------------------------------------
static void hash_in_the_middle(void) {
    run(0, length / 2, NULL, 0);
    trail[0].v = ops->hash(m, true);
    trail[0].count = ops->hash(m, false);
    finish("a copy comes to the same end");
}

// Copies of copies, made where the guest is in the middle of something.
static void copy_again(void) {
    static unsigned depth;
    if (++depth <= 8) {
        run(0, length / 10 * depth + 7 * depth, NULL, 0);
        in_a_copy(copy_again);
    }
    if (depth == 9 || depth % 3 == 0)
        finish("a copy of copies comes to the same end");
}

// Leaves the log in the middle, and the guest goes on.
static void leave_the_log(void) {
    char error[256] = "";
    struct target_info info;
    run(0, length / 2, NULL, 0);
    int r = ops->go_live(m, "", error);
    ops->info(m, &info);
    check(r == 0 && info.kind == TARGET_LIVE, "a replay goes live", "%d %s", r, error);
    check_end(run(0, NEVER, NULL, 0), "and comes to an end");
    r = ops->go_live(m, "", error);
    check(r < 0 && error[0], "not twice", "%s", error);
}

static void test_copies(void) {
    struct position first;
    in_a_copy(hash_in_the_middle);
    first = trail[0];
    in_a_copy(hash_in_the_middle);
    in_a_copy(copy_again);
    check(first.v == trail[0].v && first.count == trail[0].count, "copies are equal", "%lx %lx",
          first.v, first.count);
}

// Only instructions of the last vCPU count.
static void step_the_last(void) {
    unsigned wrong = 0, last = m->cpu_count - 1;
    struct run_request q = {.flags = RUN_STEP,
                            .step_cpu = last,
                            .until_count = NEVER,
                            .until_v = NEVER,
                            .quiet_until = NEVER};
    struct target_registers before, after;
    struct run_result r;
    run(0, length / 2, NULL, 0);
    for (unsigned i = 0; i < 200; i++) {
        ops->read_registers(m, last, &before);
        ops->run(m, &q, &r);
        ops->read_registers(m, last, &after);
        wrong += r.end != RAN_STEP || r.position.cpu != last || r.position.rip != after.rip ||
                 !memcmp(&before, &after, sizeof(before));
    }
    check(!wrong, "steps of one vCPU", "%u of 200 wrong, last end %u", wrong, r.end);
    finish("the same end after them");
}

static void test_replay(void) {
    test_places();
    test_watches();
    in_a_copy(call_function);
    in_a_copy(step_the_last);
    in_a_copy(leave_the_log);
    test_copies();
}

static void test_processors(void) {
    test_places();
    in_a_copy(step_the_last);
}

// ---- shadows ---------------------------------------------------------------------------------------------
// `variable` is behind an STI, `function` behind a MOV SS, which comes two bytes before it.
static void step_through_shadows(void) {
    unsigned shadows = 0, wrong = 0;
    run(0, 100, NULL, 0);
    for (struct position p = here(); p.count < 5000; shadows++) {
        bool in_front = p.rip == variable - 1 || p.rip == function - 2;
        struct run_result r = step();
        wrong += r.position.count - p.count != 1u + in_front;
        p = r.position;
    }
    check(!wrong, "STI and MOV SS are one step with their successor", "%u of %u wrong", wrong,
          shadows);
    finish("the same end after steps");
}

static void break_in_shadows(void) {
    struct breakpoint list[] = {
        {.kind = BREAK_SOFTWARE, .address = variable, .cr3 = ANY_CR3},
        // (A debug register is not seen behind MOV SS.)
        {.kind = BREAK_SOFTWARE, .address = function, .cr3 = ANY_CR3},
    };
    unsigned hits[2] = {0}, wrong = 0;
    struct run_result r;
    while ((r = run(0, NEVER, list, 2)).end == RAN_TO_BREAKPOINT) {
        hits[r.hit.which]++;
        wrong += r.position.rip != list[r.hit.which].address;
        if (r.hit.which == 0 && hits[0] % 16 == 0) {
            r = step(); // out of the shadow
            wrong += r.position.count - r.hit.position.count == 0 || r.position.rip != variable + 1;
        }
    }
    check(!wrong && hits[0] == hits[1] && hits[0] > 1000, "breakpoints in shadows",
          "%u %u, %u wrong", hits[0], hits[1], wrong);
    check_end(r, "the same end after them");
}

static void test_shadows(void) {
    in_a_copy(measure);
    in_a_copy(step_through_shadows);
    in_a_copy(break_in_shadows);
}

// An interrupt waits for STI. `variable` is in its shadow, `function` behind it.
static enum break_kind waiting_kind;

static void stop_before_an_interrupt(void) {
    struct breakpoint list[] = {
        {.kind = waiting_kind, .address = variable, .cr3 = ANY_CR3},
        {.kind = waiting_kind, .address = function, .cr3 = ANY_CR3},
    };
    struct run_result r;
    unsigned hits = 0, wrong = 0;
    for (; (r = run(0, NEVER, list, 2)).end == RAN_TO_BREAKPOINT && hits < 20; hits++)
        wrong += r.hit.which != hits % 2;
    check(!wrong && hits == 20, "an interrupt comes behind the shadow", "%u of %u wrong", wrong,
          hits);
    finish("the same end after it");
}

static void test_waiting(void) {
    in_a_copy(measure);
    for (waiting_kind = BREAK_SOFTWARE; waiting_kind <= BREAK_HARDWARE; waiting_kind++)
        in_a_copy(stop_before_an_interrupt);
}

// ---- a live VM -------------------------------------------------------------------------------------------
// Steps over interrupts never see the handler, `function`; the variable that it changes says that it runs.
static void test_steps_over_interrupts(void) {
    uint32_t before = 0, after = 0;
    unsigned seen = 0;
    run(0, here().count + 200000, NULL, 0);
    ops->read_memory(m, 0, SPACE_LINEAR, variable, &before, sizeof(before));
    for (unsigned i = 0; i < 3 * STEPS; i++) {
        struct run_result r = run(RUN_STEP | RUN_OVER_INTERRUPTS, NEVER, NULL, 0);
        if (r.end != RAN_STEP)
            check(false, "a step", "end %u at %lx", r.end, r.position.rip);
        seen += r.position.rip - function < 64;
    }
    ops->read_memory(m, 0, SPACE_LINEAR, variable, &after, sizeof(after));
    check(after != before && !seen, "steps over interrupts",
          "%u interrupts, %u times in the handler", after - before, seen);
}

static void test_changes(void) {
    struct target_registers r, again;
    uint32_t value = 0x12345678, got = 0;
    ops->read_registers(m, 0, &r);
    uint64_t rax = r.general[0];
    r.general[0] = 0x1122334455667788;
    r.st[0][9] = 0x40;
    r.ymm[3][5] = 0x77;
    check(ops->write_registers(m, 0, &r) == 0 && ops->read_registers(m, 0, &again) == 0 &&
              again.general[0] == r.general[0] && again.ymm[3][5] == 0x77 && again.rip == r.rip &&
              again.cr3 == r.cr3,
          "registers can be changed", "rax %lx", again.general[0]);
    r.general[0] = rax;
    ops->write_registers(m, 0, &r);
    ops->read_memory(m, 0, SPACE_LINEAR, variable, &got, 4);
    check(ops->write_memory(m, 0, SPACE_LINEAR, variable, &value, 4) == 4 &&
              ops->read_memory(m, 0, SPACE_PHYSICAL, variable, &value, 4) == 4 &&
              value == 0x12345678,
          "memory can be changed", "%x", value);
    ops->write_memory(m, 0, SPACE_PHYSICAL, variable, &got, 4);
    check(ops->read_memory(m, 0, SPACE_LINEAR, 0xdeadbeef00000000, &got, 4) < 0,
          "what is not mapped cannot be read", "%x", got);
}

static void test_live(void) {
    test_steps_over_interrupts();
    test_changes();
    check_end(run(0, NEVER, NULL, 0), "a live VM comes to its end");
}

static void on_alarm(int signal) {
    ops->interrupt(m);
}

// A guest that halts for ever, or computes for ever, is interrupted.
static void test_interrupt(void) {
    signal(SIGALRM, on_alarm);
    for (unsigned i = 0; i < 3; i++) {
        struct itimerval soon = {.it_value = {.tv_usec = 200000},
                                 .it_interval = {.tv_usec = 50000}};
        setitimer(ITIMER_REAL, &soon, NULL);
        struct run_result r = run(0, NEVER, NULL, 0);
        check(r.end == RAN_INTERRUPTED, "interrupted", "end %u at %lx, V %lu", r.end,
              r.position.rip, r.position.v);
        uint64_t v = r.position.v;
        usleep(300000); // time that does not exist for the guest
        setitimer(ITIMER_REAL, &soon, NULL);
        r = run(0, NEVER, NULL, 0);
        check(r.position.v - v < m->hz * 29 / 100 + m->hz / 20, "time was held", "%lu of %lu ticks",
              r.position.v - v, m->hz);
    }
}

// ---- all -------------------------------------------------------------------------------------------------
static const struct {
    const char *name;
    void (*test)(void);
} tests[] = {{"replay", test_replay},         {"shadows", test_shadows},
             {"processors", test_processors}, {"places", test_places},
             {"waiting", test_waiting},       {"live", test_live},
             {"interrupt", test_interrupt},   {"watches", test_watches}};

static void *shared(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

int main(int argc, char **argv) {
    struct config config;
    static int status;
    if (argc < 5)
        return 2;
    variable = strtoull(argv[2], NULL, 16);
    function = strtoull(argv[3], NULL, 16);
    config_init(&config);
    trail = shared((STEPS + 1) * sizeof(*trail));
    watched = shared(3 * sizeof(*watched));
    if (!trail || !watched || options_parse(&config, argc - 3, argv + 3) != OPTIONS_RUN)
        return 2;
    m = machine_create(&config);
    if (!m || debug_create(m, &status) || machine_power_on(m))
        return 2;
    for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        if (!strcmp(tests[i].name, argv[1]))
            tests[i].test();
    printf("end: %u failures\n", failures);
    return failures != 0;
}
