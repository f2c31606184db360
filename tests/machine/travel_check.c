// Drives a timeline over a replayed machine as a debugger would. Arguments: what to do ("costs", "watches", "row", several
// with commas), the linear address of the guest's 64-bit IDT, then vmx's options. A watchpoint backwards finds the
// write that it finds forwards; the same breakpoints are met in both directions; what checkpoints and steps back cost.
#include <errno.h>
#include <x86intrin.h>
#include "tests/machine/travel.h"

#define IN_A_ROW 100
#define LIMIT    2000000 // ticks that a step back may run again, but for the first in a neighbourhood

static uint64_t begin_count, end_count, idt;

static bool go_to(uint64_t count) {
    struct run_result r;
    uint64_t from = now().count;
    timeline_goto(t, PLACE_COUNT, count, &r);
    return r.end == RAN_TO_PLACE || count == end_count ||
           check(false, "goto", "count %lu from %lu: at %lu, %u %s", count, from, now().count,
                 r.end, r.text);
}

static uint64_t random_count(void) {
    return begin_count + 1 + random_below(end_count - begin_count - 2);
}

// ---- steps back --------------------------------------------------------------------------------------------
static uint64_t dearest; // step back that was not the first in its neighbourhood

static void note_cost(bool first) {
    struct timeline_costs costs;
    timeline_get_costs(t, &costs);
    if (!first && costs.reexecuted > dearest)
        dearest = costs.reexecuted;
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

// ---- watchpoints: backwards and forwards ------------------------------------------------------------------------
#define WATCHES 10
#define WINDOW  10000 // ticks that are searched forwards
#define PAGE    4096

// The pages that the general registers point to: some word there is about to be written, or was.
struct surroundings {
    uint64_t page[16];
    uint8_t bytes[16][PAGE];
};

static void look(struct surroundings *s) {
    memset(s->bytes, 0, sizeof(s->bytes));
    for (unsigned i = 0; i < 16; i++)
        remote_read_memory(timeline_machine(t), now().cpu, SPACE_LINEAR, s->page[i], s->bytes[i],
                           PAGE);
}

static bool find_change(const struct surroundings *a, const struct surroundings *b,
                        uint64_t *address) {
    unsigned first = random_below(16), word = random_below(PAGE / 8);
    for (unsigned i = 0; i < 16 * PAGE / 8; i++) {
        unsigned page = (first + (word + i) / (PAGE / 8)) % 16, at = (word + i) % (PAGE / 8) * 8;
        *address = a->page[page] + at;
        if (memcmp(&a->bytes[page][at], &b->bytes[page][at], 8))
            return true;
    }
    return false;
}

// Watches a word that changes in the window before `here`; the cursor is at the window's begin then.
static bool watch_a_change(const struct position *here) {
    static struct surroundings before, after;
    struct target_registers regs;
    struct breakpoint b = {.kind = WATCH_WRITE, .length = 8, .cr3 = ANY_CR3};
    if (remote_read_registers(timeline_machine(t), here->cpu, &regs))
        return false;
    for (unsigned i = 0; i < 16; i++)
        before.page[i] = after.page[i] = regs.general[i] & ~(PAGE - 1ull);
    look(&after);
    go_to(here->count > begin_count + WINDOW ? here->count - WINDOW : begin_count + 1);
    look(&before);
    timeline_clear_breakpoints(t);
    return find_change(&before, &after, &b.address) && !timeline_add_breakpoint(t, &b);
}

// The last change before `place`, by a search forwards. False: there is none (another page was mapped there).
static bool last_change(const struct position *place, struct position *at) {
    struct run_result r;
    bool found = false;
    for (;;) {
        timeline_continue(t, &r);
        if (r.end != RAN_TO_WATCHPOINT || compare(&r.position, place) > 0)
            return found;
        *at = r.position;
        found = true;
    }
}

// True: a write was found in both directions.
static bool watch_backwards(void) {
    struct run_result r;
    struct position last = {0}, here;
    if (!go_to(random_count()))
        return false;
    here = now();
    if (!watch_a_change(&here) || !last_change(&here, &last))
        return false;
    go_to(here.count);
    timeline_reverse_continue(t, &r);
    struct position before = now();
    bool same = r.end == RAN_TO_WATCHPOINT && compare(&r.hit.position, &last) == 0;
    timeline_continue(t, &r);
    same = same && r.end == RAN_TO_WATCHPOINT && compare(&r.position, &last) == 0 &&
           compare(&before, &last) < 0;
    return same || check(false, "watchpoint",
                         "of %lx before count %lu: forwards %lu, backwards %lu, again %lu (%u %s)",
                         timeline_breakpoint(t, 0)->address, here.count, last.count, before.count,
                         r.position.count, r.end, r.text);
}

static void test_watchpoints(void) {
    unsigned found = 0;
    for (unsigned i = 0; i < 3 * WATCHES && found < WATCHES && !failures; i++)
        found += watch_backwards();
    timeline_clear_breakpoints(t);
    check(found == WATCHES, "watchpoints", "%u writes found forwards and backwards", found);
}

// ---- many in a row ------------------------------------------------------------------------------------------------
static void test_in_a_row(void) {
    static struct position met[IN_A_ROW];
    struct run_result r;
    unsigned n = 0;
    go_to(end_count);
    break_at_vectors(idt, 0, VECTORS - 1);
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
    const char *what = argv[1];
    idt = strtoull(argv[2], NULL, 16);
    t = timeline_create(start_machine(argc - 2, argv + 2), &limits);
    if (!t)
        return 2;
    begin_count = now().count;
    timeline_goto(t, PLACE_END, 0, &r);
    end_count = now().count;
    check(r.end == RAN_TO_END, "the end", "count %lu, event %lu: %s", end_count, now().event,
          r.text);
    test_steps_back();
    if (strstr(what, "costs"))
        test_costs(argc - 2, argv + 2);
    if (strstr(what, "watches"))
        test_watchpoints();
    if (strstr(what, "row"))
        test_in_a_row();
    check(dearest <= LIMIT, "steps back", "at most %lu ticks again", dearest);
    printf("figure reverse_stepi %lu\n", dearest);
    timeline_free(t);
    printf("end: %u failures\n", failures);
    return failures != 0;
}
