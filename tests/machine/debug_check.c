// Drives a machine's debugger operations (replay/target.h) on a replay, without front and sockets. Arguments:
// addresses of a variable that the guest writes and of a function that it calls often, then vmx's. Every test runs
// in a copy of the machine made by fork(), so all start at the same place, and ends with the recording's own
// hashes: whatever a debugger does leaves no trace.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>
#include "vmm/machine/config.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/options.h"

#define STEPS       10000
#define BREAKPOINTS 100
#define NEVER       UINT64_MAX

static struct machine *m;
static const struct target_ops *ops = &debug_ops;
static uint64_t variable, function;
static unsigned failures;

static void check(bool good, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void check(bool good, const char *name, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    printf(good ? "ok %s (%s)\n" : "not ok %s: %s\n", name, text);
    fflush(stdout);
    failures += !good;
}

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

static uint64_t here(void) {
    struct position p;
    ops->where(m, &p);
    return p.count;
}

// The rest of the recording, whose end compares all hashes.
static void finish(const char *name) {
    struct run_result r = run(0, NEVER, NULL, 0);
    check(r.end == RAN_TO_END, name, "at %lu: %s", here(), r.text);
}

// ---- tests -------------------------------------------------------------------------------------------
static uint64_t trail[STEPS + 1], trail_count[STEPS + 1]; // RIPs and counts, by stepping

static void test_steps(void) {
    unsigned n = 0, odd = 0;
    struct run_result r = {.end = RAN_STEP};
    uint64_t begin = __rdtsc();
    for (; n < STEPS && r.end == RAN_STEP; n++) {
        uint64_t before = here();
        r = step();
        trail[n] = r.position.rip;
        trail_count[n] = r.position.count;
        odd += r.position.count - before != 1;
    }
    check(n == STEPS && r.end == RAN_STEP, "10,000 steps", "%u, end %u %s, %llu host ticks each", n,
          r.end, r.text, (__rdtsc() - begin) / (n + 1));
    check(odd < STEPS / 100, "of one tick each, but for shadows", "%u others", odd);
    struct breakpoint list[BREAKPOINTS];
    unsigned hits = 0, wrong = 0;
    for (unsigned i = 0; i < BREAKPOINTS; i++)
        list[i] = (struct breakpoint){.kind = i % 10 ? BREAK_SOFTWARE : BREAK_HARDWARE,
                                      .address = trail[i * (STEPS / BREAKPOINTS)],
                                      .cr3 = ANY_CR3};
    begin = __rdtsc();
    for (; hits < 1000; hits++) {
        r = run(0, NEVER, list, BREAKPOINTS);
        if (r.end != RAN_TO_BREAKPOINT)
            break;
        wrong += list[r.hit.which].address != r.position.rip;
    }
    check(hits > 0 && !wrong, "100 breakpoints",
          "%u hits, %u at another place, %llu host ticks each", hits, wrong,
          (__rdtsc() - begin) / (hits + 1));
    if (r.end == RAN_TO_BREAKPOINT)
        r = run(RUN_COLLECT, NEVER, list, BREAKPOINTS);
    check(r.end == RAN_TO_END, "the same end after steps and breakpoints", "at %lu: %s", here(),
          r.text);
}

// Runs to counts lead to where steps came by.
static void test_until(void) {
    uint64_t rip[64], count[64];
    for (unsigned i = 0; i < 64; i++) {
        struct run_result r = step();
        rip[i] = r.position.rip;
        count[i] = r.position.count;
    }
    (void)rip;
    for (unsigned i = 1; i <= 100; i++) {
        uint64_t wanted = count[63] + i * 397;
        struct run_result r = run(0, wanted, NULL, 0);
        if (r.end != RAN_TO_PLACE || r.position.count - wanted > 1)
            check(false, "a place", "%u: %lu, wanted %lu", r.end, r.position.count, wanted);
    }
    finish("the same end after 100 places");
}

static unsigned watch(const struct breakpoint *list, unsigned n, uint64_t *last, uint64_t *rip) {
    unsigned hits = 0;
    uint64_t value = 0, before = 0;
    ops->read_memory(m, 0, SPACE_LINEAR, variable, &before, 4);
    for (; hits < 2000; hits++) {
        struct run_result r = run(0, NEVER, list, n);
        if (r.end != RAN_TO_WATCHPOINT)
            break;
        ops->read_memory(m, 0, SPACE_LINEAR, variable, &value, 4);
        if (value == before)
            check(false, "a watched value changes", "%lu at %lu", value, r.position.count);
        before = value;
        *last = r.position.count;
        *rip = r.position.rip;
    }
    return hits;
}

// The same writes by debug registers, by pages, and collected.
static void test_watches(void) {
    struct breakpoint list[5];
    for (unsigned i = 0; i < 5; i++) // four on what nobody writes take the registers
        list[i] = (struct breakpoint){.kind = WATCH_WRITE,
                                      .address = i < 4 ? 0xffffffffffff0000 + i * 8 : variable,
                                      .length = 4,
                                      .cr3 = ANY_CR3};
    int fd[2];
    uint64_t result[3][3] = {{0}};
    for (unsigned way = 0; way < 3; way++) {
        if (pipe(fd))
            exit(1);
        if (!fork()) {
            uint64_t mine[3] = {0};
            if (ops->after_fork(m))
                _exit(1);
            if (way < 2) {
                mine[0] = watch(way ? list : list + 4, way ? 5 : 1, &mine[1], &mine[2]);
            } else {
                struct run_result r = run(RUN_COLLECT, NEVER, list + 4, 1);
                mine[0] = r.hit.valid;
                mine[1] = r.hit.position.count;
                mine[2] = r.hit.position.rip;
            }
            _exit(write(fd[1], mine, sizeof(mine)) != sizeof(mine));
        }
        if (read(fd[0], result[way], sizeof(result[way])) < 0)
            exit(1);
        wait(NULL);
    }
    check(result[0][0] > 0, "watched writes", "%lu, the last ends at %lu", result[0][0],
          result[0][1]);
    check(!memcmp(result[0], result[1], sizeof(result[0])), "the same by pages", "%lu, %lu at %lx",
          result[1][0], result[1][1], result[1][2]);
    check(result[2][0] && result[2][1] == result[0][1] && result[2][2] == result[0][2],
          "the last one collected", "%lu at %lx", result[2][1], result[2][2]);
    finish("the same end");
}

static void test_function(void) {
    struct breakpoint b = {.kind = BREAK_SOFTWARE, .address = function, .cr3 = ANY_CR3};
    struct run_result r, last = {0};
    unsigned hits = 0;
    for (; (r = run(0, NEVER, &b, 1)).end == RAN_TO_BREAKPOINT && hits < 5000; hits++)
        last = r;
    check(hits > 1 && last.position.rip == function, "a function's calls", "%u, the last at %lu",
          hits, last.position.count);
    check(r.end == RAN_TO_END, "the end", "at %lu: %s", here(), r.text);
}

// ---- all -------------------------------------------------------------------------------------------------
static void in_a_copy(const char *name, void (*test)(void)) {
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
    check(status == 0, name, "status %x", status);
}

int main(int argc, char **argv) {
    struct config config;
    static int status;
    if (argc < 4)
        return 2;
    variable = strtoull(argv[1], NULL, 16);
    function = strtoull(argv[2], NULL, 16);
    config_init(&config);
    if (options_parse(&config, argc - 2, argv + 2) != OPTIONS_RUN)
        return 2;
    m = machine_create(&config);
    if (!m || debug_create(m, &status) || machine_power_on(m))
        return 2;
    in_a_copy("steps and breakpoints", test_steps);
    in_a_copy("places", test_until);
    in_a_copy("watchpoints", test_watches);
    in_a_copy("a function", test_function);
    printf("end: %u failures\n", failures);
    return failures != 0;
}
