/* sources: replay/timeline.c replay/timeline_checkpoints.c replay/timeline_travel.c replay/timeline_reverse.c replay/timeline_handlers.c tests/unit/target_mock.c tests/unit/remote_fake.c tests/unit/timeline_model.c */
// Going backwards is compared with brute force: a mock machine with interrupts, REP, shadows, idle time and two
// processors; short of memory, of checkpoints, interrupted, with processes that die.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "remote_fake.h"
#include "replay/timeline.h"
#include "timeline_model.h"

#define EVENTS 60
#define SEEDS  6

static uint64_t random_state;

static unsigned over_handlers; // steps back that went over one

static uint64_t random_below(uint64_t n) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (random_state >> 33) % n;
}

static struct timeline *create(const struct model *m, const struct timeline_limits *limits) {
    fake_reset();
    struct timeline *t = timeline_create(fake_machine(&m->begin), limits);
    assert_non_null(t);
    return t;
}

static const struct timeline_limits usual = {.checkpoints = 20, .nearest = 3};
static const struct timeline_limits few = {.checkpoints = 2, .nearest = 3};

static void expect_at(struct timeline *t, const struct position *place, uint64_t state) {
    assert_int_equal(model_compare(timeline_now(t), place), 0);
    assert_int_equal(mock_state(fake_mock(timeline_machine(t))), state);
}

static void expect_place(struct timeline *t, const struct model_place *p) {
    expect_at(t, &p->at, p->state);
}

static void set_breakpoints(struct timeline *t, struct model *m) {
    timeline_clear_breakpoints(t);
    for (unsigned i = random_below(4); i > 0; i--) {
        struct breakpoint b = {.kind = random_below(5), .cr3 = ANY_CR3, .length = 8};
        b.address = b.kind < WATCH_WRITE ? MOCK_CODE + random_below(MOCK_MAIN + MOCK_HANDLER_LENGTH)
                                         : random_below(MOCK_MEMORY) * 8;
        assert_int_equal(timeline_add_breakpoint(t, &b), 0);
        assert_int_equal(timeline_add_breakpoint(t, &b), 0); // twice is once
    }
    const struct breakpoint *b;
    for (m->breakpoint_count = 0; (b = timeline_breakpoint(t, m->breakpoint_count));)
        m->breakpoints[m->breakpoint_count++] = *b;
    model_find_hits(m);
}

// ---- one operation, compared ----------------------------------------------------------------------------------
static void check_reverse_step(struct timeline *t, const struct model *m, unsigned cpu) {
    struct position now = *timeline_now(t);
    struct run_result result;
    bool at_begin = model_compare(&now, &model_first(m)->at) == 0;
    assert_int_equal(timeline_reverse_step(t, cpu, &result), 0);
    assert_int_equal(result.end, at_begin ? RAN_TO_END : RAN_STEP);
    expect_place(t, model_stop_before(m, cpu, &now));
    assert_int_equal(model_compare(&result.position, timeline_now(t)), 0);
}

static void check_reverse_continue(struct timeline *t, const struct model *m) {
    struct position now = *timeline_now(t);
    const struct model_hit *h = model_hit_before(m, &now);
    struct run_result result;
    assert_int_equal(timeline_reverse_continue(t, &result), 0);
    if (!h) {
        assert_int_equal(result.end, RAN_TO_END);
        expect_place(t, model_first(m));
    } else if (m->breakpoints[h->hit.which].kind < WATCH_WRITE) {
        assert_int_equal(result.end, RAN_TO_BREAKPOINT);
        expect_at(t, &h->hit.position, h->state);
    } else {
        assert_int_equal(result.end, RAN_TO_WATCHPOINT);
        assert_int_equal(result.hit.address, h->hit.address);
        expect_place(t, model_stop_before(m, h->hit.position.cpu, &h->hit.position));
    }
    if (h)
        assert_int_equal(result.hit.which, h->hit.which);
}

static void check_continue(struct timeline *t, const struct model *m) {
    const struct model_hit *h = model_hit_after(m, timeline_now(t));
    struct run_result result;
    timeline_continue(t, &result);
    if (h) {
        bool watch = m->breakpoints[h->hit.which].kind >= WATCH_WRITE;
        assert_int_equal(result.end, watch ? RAN_TO_WATCHPOINT : RAN_TO_BREAKPOINT);
        assert_int_equal(result.hit.which, h->hit.which);
        expect_at(t, &h->hit.position, h->state);
    } else {
        assert_int_equal(result.end, RAN_TO_END);
        expect_place(t, model_last(m));
    }
}

static void check_step(struct timeline *t, const struct model *m, unsigned cpu) {
    const struct model_hit *h = model_hit_after(m, timeline_now(t));
    const struct model_place *s = model_stop_after(m, cpu, timeline_now(t));
    struct run_result result;
    timeline_step(t, cpu, false, &result);
    bool watch = h && m->breakpoints[h->hit.which].kind >= WATCH_WRITE;
    if (h && (!s || model_compare(&h->hit.position, &s->at) < watch)) {
        assert_int_equal(result.end, watch ? RAN_TO_WATCHPOINT : RAN_TO_BREAKPOINT);
        expect_at(t, &h->hit.position, h->state);
    } else {
        assert_int_equal(result.end, s ? RAN_STEP : RAN_TO_END);
        expect_place(t, s ? s : model_last(m));
    }
}

static void check_goto(struct timeline *t, const struct model *m, enum timeline_place place,
                       uint64_t value) {
    struct run_result result;
    assert_int_equal(timeline_goto(t, place, value, &result), 0);
    const struct model_place *p = place == PLACE_COUNT ? model_moment(m, value, 0)
                                  : place == PLACE_V   ? model_moment(m, 0, value)
                                  : place == PLACE_EVENT
                                      ? model_moment(m, 0,
                                                     mock_ops.event_v((void *)&m->begin, value))
                                  : place == PLACE_BEGIN ? model_first(m)
                                                         : model_last(m);
    expect_place(t, p);
    if (place == PLACE_BEGIN || place == PLACE_END)
        assert_int_equal(result.end, RAN_TO_END);
}

static uint64_t random_count(const struct model *m) {
    return random_below(model_last(m)->at.count + 3);
}

// ---- tests: backwards at many points ----------------------------------------------------------------------------
static void each_seed(void (*test)(struct timeline *t, struct model *m),
                      const struct timeline_limits *limits) {
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        for (unsigned cpus = 1; cpus <= MOCK_CPUS; cpus++) {
            struct model m;
            random_state = seed;
            model_init(&m, seed, cpus, EVENTS);
            struct timeline *t = create(&m, limits);
            test(t, &m);
            timeline_free(t);
            assert_int_equal(fake.copies, 0);
            model_free(&m);
        }
}

static void steps_at_many_points(struct timeline *t, struct model *m) {
    for (unsigned i = 0; i < 60; i++) {
        check_goto(t, m, PLACE_COUNT, random_count(m));
        unsigned cpu = random_below(m->begin.cpus);
        for (unsigned n = random_below(4); n > 0; n--)
            check_reverse_step(t, m, cpu);
        struct position here = *timeline_now(t);
        check_reverse_step(t, m, cpu);
        const struct model_place *next = model_stop_after(m, cpu, timeline_now(t));
        check_step(t, m, cpu);
        if (next && model_compare(&next->at, &here) == 0) // the identity, where steps stop at all
            assert_int_equal(model_compare(timeline_now(t), &here), 0);
    }
}

static void test_reverse_step(void **state) {
    each_seed(steps_at_many_points, &usual);
}

// Back over handlers: at the ends of all of them, and anywhere.
static void check_reverse_step_over(struct timeline *t, const struct model *m, unsigned cpu) {
    struct position now = *timeline_now(t);
    struct run_result result;
    assert_int_equal(timeline_reverse_step_over(t, cpu, &result), 0);
    assert_int_equal(result.end, model_compare(&now, &model_first(m)->at) ? RAN_STEP : RAN_TO_END);
    expect_place(t, model_stop_over(m, cpu, &now));
}

static void steps_over_handlers(struct timeline *t, struct model *m) {
    assert_true(m->handler_count > 5);
    for (unsigned i = 0; i < m->handler_count; i++) {
        const struct model_handler *h = &m->handlers[i];
        check_goto(t, m, PLACE_COUNT, h->leave.count);
        check_reverse_step_over(t, m, h->cpu);
        bool interrupted = model_compare(timeline_now(t), &h->enter) < 0;
        check_reverse_step_over(t, m, h->cpu);
        over_handlers += interrupted;
    }
    for (unsigned i = 0; i < 60; i++) {
        check_goto(t, m, PLACE_COUNT, random_count(m));
        for (unsigned n = 0; n < 5; n++)
            check_reverse_step_over(t, m, random_below(m->begin.cpus));
    }
}

static void test_steps_over_handlers(void **state) {
    over_handlers = 0;
    each_seed(steps_over_handlers, &usual);
    each_seed(steps_over_handlers, &few);
    assert_true(over_handlers > 100);
}

static void steps_all_the_way(struct timeline *t, struct model *m) {
    check_goto(t, m, PLACE_END, 0);
    for (unsigned i = 0; i < 200; i++)
        check_reverse_step(t, m, 0);
    check_goto(t, m, PLACE_COUNT, 5);
    for (unsigned i = 0; i < 8; i++) // beyond the begin
        check_reverse_step(t, m, m->begin.cpus - 1);
}

static void test_steps_all_the_way(void **state) {
    each_seed(steps_all_the_way, &usual);
}

static void continues_at_many_points(struct timeline *t, struct model *m) {
    for (unsigned i = 0; i < 40; i++) {
        set_breakpoints(t, m);
        check_goto(t, m, PLACE_COUNT, random_count(m));
        for (unsigned n = 0; n < 5; n++)
            check_reverse_continue(t, m);
        check_continue(t, m);
        check_reverse_continue(t, m);
    }
}

static void test_reverse_continue(void **state) {
    each_seed(continues_at_many_points, &usual);
}

static void hundred_in_a_row(struct timeline *t, struct model *m) {
    m->breakpoint_count = 1;
    m->breakpoints[0] = (struct breakpoint){BREAK_SOFTWARE, 0, MOCK_CODE + MOCK_MAIN, ANY_CR3};
    timeline_add_breakpoint(t, &m->breakpoints[0]);
    model_find_hits(m);
    check_goto(t, m, PLACE_END, 0);
    for (unsigned i = 0; i < 100; i++)
        check_reverse_continue(t, m);
}

static void test_hundred_in_a_row(void **state) {
    each_seed(hundred_in_a_row, &usual);
}

// ---- tests: any sequence of operations ------------------------------------------------------------------------------
#define NUMBERS 300
struct numbered {
    bool used;
    struct position at;
    uint64_t state;
};

static void take_checkpoint(struct timeline *t, struct numbered *numbers) {
    int n = timeline_checkpoint(t);
    if (n < 0) {
        assert_true(n == -ENOSPC || n == -ENOMEM);
        return;
    }
    assert_in_range(n, 1, NUMBERS - 1);
    assert_false(numbers[n].used);
    numbers[n] = (struct numbered){true, *timeline_now(t),
                                   mock_state(fake_mock(timeline_machine(t)))};
}

static void use_checkpoint(struct timeline *t, struct numbered *numbers) {
    int n = random_below(12);
    struct run_result result;
    if (random_below(3) == 0) {
        assert_int_equal(timeline_delete_checkpoint(t, n), numbers[n].used ? 0 : -ENOENT);
        numbers[n].used = false;
    } else {
        int error = timeline_restart(t, n, &result);
        assert_int_equal(error, numbers[n].used ? 0 : -ENOENT);
        if (!error)
            expect_at(t, &numbers[n].at, numbers[n].state);
    }
}

static void check_list(struct timeline *t, const struct model *m, const struct numbered *numbers,
                       unsigned limit) {
    struct timeline_entry list[64];
    unsigned n = timeline_list(t, list, 64), kept = 0;
    assert_in_range(n, 1, limit);
    assert_int_equal(model_compare(&list[0].position, &model_first(m)->at), 0);
    for (unsigned i = 0; i < n; i++) {
        if (i > 0)
            assert_true(model_compare(&list[i - 1].position, &list[i].position) <= 0);
        kept += list[i].number > 0;
    }
    for (unsigned i = 0; i < NUMBERS; i++)
        kept -= numbers[i].used;
    assert_int_equal(kept, 0);
}

static void one_operation(struct timeline *t, struct model *m, struct numbered *numbers) {
    unsigned cpu = random_below(m->begin.cpus);
    switch (random_below(12)) {
    case 0: check_goto(t, m, PLACE_COUNT, random_count(m)); break;
    case 1: check_goto(t, m, PLACE_V, random_below(model_last(m)->at.v + 3)); break;
    case 2: check_goto(t, m, PLACE_EVENT, random_below(EVENTS)); break;
    case 3: check_goto(t, m, random_below(2) ? PLACE_BEGIN : PLACE_END, 0); break;
    case 4: check_step(t, m, cpu); break;
    case 5: check_continue(t, m); break;
    case 6:
    case 7: check_reverse_step(t, m, cpu); break;
    case 8: check_reverse_continue(t, m); break;
    case 9: take_checkpoint(t, numbers); break;
    case 10: use_checkpoint(t, numbers); break;
    default: set_breakpoints(t, m); break;
    }
}

static void any_sequence(struct timeline *t, struct model *m, unsigned limit) {
    struct numbered numbers[NUMBERS] = {0};
    for (unsigned i = 0; i < 400; i++) {
        one_operation(t, m, numbers);
        check_list(t, m, numbers, limit);
    }
}

static void sequence(struct timeline *t, struct model *m) {
    any_sequence(t, m, usual.checkpoints);
}

static void test_any_sequence(void **state) {
    each_seed(sequence, &usual);
}

static void sequence_with_few(struct timeline *t, struct model *m) {
    any_sequence(t, m, few.checkpoints);
}

static void test_few_checkpoints(void **state) {
    each_seed(sequence_with_few, &few);
}

// Memory for the begin, the cursor and three more, which explicit checkpoints do not use up.
static void sequence_in_little_memory(struct timeline *t, struct model *m) {
    fake.copies_max = 5;
    any_sequence(t, m, 2);
}

static void test_little_memory(void **state) {
    each_seed(sequence_in_little_memory, &few);
}

// The host has less memory than is to stay free: no automatic checkpoints, and all is still right.
static void test_reserve(void **state) {
    const struct timeline_limits all = {.checkpoints = 20, .reserve = UINT64_MAX, .nearest = 3};
    struct model m;
    model_init(&m, 3, 2, EVENTS);
    struct timeline *t = create(&m, &all);
    steps_at_many_points(t, &m);
    struct timeline_entry list[4];
    assert_int_equal(timeline_list(t, list, 4), 1);
    timeline_free(t);
    model_free(&m);
}

// ---- tests: what goes wrong ---------------------------------------------------------------------------------------------
static void any_backward(struct timeline *t, const struct model *m, struct run_result *result) {
    unsigned cpu = random_below(m->begin.cpus);
    switch (random_below(4)) {
    case 0: timeline_reverse_step(t, cpu, result); break;
    case 3: timeline_reverse_step_over(t, cpu, result); break;
    case 1: timeline_reverse_continue(t, result); break;
    default: timeline_goto(t, PLACE_COUNT, random_below(timeline_now(t)->count + 1), result);
    }
}

static void expect_stay(struct timeline *t, const struct position *was, uint64_t state,
                        const struct run_result *result) {
    expect_at(t, was, state);
    assert_int_equal(model_compare(&result->position, was), 0);
    assert_true(strstr(result->text, "; still at count ") != NULL);
}

static void without_forks(struct timeline *t, struct model *m) {
    for (unsigned i = 0; i < 60; i++) {
        fake.fail_after = -1;
        set_breakpoints(t, m);
        check_goto(t, m, PLACE_COUNT, random_count(m));
        struct position was = *timeline_now(t);
        uint64_t state = mock_state(fake_mock(timeline_machine(t)));
        struct run_result result;
        fake.fail_after = random_below(4);
        any_backward(t, m, &result);
        if (result.end == RAN_INTO_DIFFERENCE) {
            expect_stay(t, &was, state, &result);
            assert_true(strstr(result.text, "not enough memory") != NULL);
        } else {
            assert_true(
                model_knows(m, timeline_now(t), mock_state(fake_mock(timeline_machine(t)))));
        }
    }
}

static void test_no_memory(void **state) {
    each_seed(without_forks, &usual);
}

static bool wants_it(void *opaque) {
    unsigned *left = opaque;
    return *left == 0 || --*left == 0;
}

static void interrupted(struct timeline *t, struct model *m) {
    unsigned left;
    struct remote_attention attention = {0, wants_it, &left}, none = {.fd = -1};
    unsigned stayed = 0;
    for (unsigned i = 0; i < 100; i++) {
        timeline_set_attention(t, &none);
        set_breakpoints(t, m);
        check_goto(t, m, PLACE_COUNT, random_count(m));
        struct position was = *timeline_now(t);
        uint64_t state = mock_state(fake_mock(timeline_machine(t)));
        struct run_result result;
        left = 1 + random_below(6);
        timeline_set_attention(t, &attention);
        any_backward(t, m, &result);
        if (result.end == RAN_INTERRUPTED && ++stayed)
            expect_stay(t, &was, state, &result);
        left = 1 + random_below(3);
        timeline_continue(t, &result);
        assert_int_equal(result.end == RAN_INTERRUPTED, strstr(result.text, "interrupted") != NULL);
        assert_true(model_knows(m, timeline_now(t), mock_state(fake_mock(timeline_machine(t)))));
    }
    assert_true(stayed > 0);
    timeline_set_attention(t, NULL);
    check_goto(t, m, PLACE_END, 0);
    check_reverse_step(t, m, 0);
}

static void test_interrupted(void **state) {
    each_seed(interrupted, &usual);
}

static void cursor_dies(struct timeline *t, struct model *m) {
    for (unsigned i = 0; i < 30; i++) {
        check_goto(t, m, PLACE_COUNT, random_count(m));
        struct position was = *timeline_now(t);
        uint64_t state = mock_state(fake_mock(timeline_machine(t)));
        struct run_result result;
        fake_kill(timeline_machine(t));
        if (i % 2)
            timeline_continue(t, &result);
        else
            timeline_step(t, 0, false, &result);
        assert_int_equal(result.end, RAN_INTO_DIFFERENCE);
        expect_stay(t, &was, state, &result);
        check_reverse_step(t, m, 0);
    }
}

static void test_cursor_dies(void **state) {
    each_seed(cursor_dies, &usual);
}

// Where the replay differs the history ends, and one can go back from there.
static void test_difference(void **state) {
    struct model m;
    model_init(&m, 4, 1, EVENTS);
    m.begin.differs = true;
    struct timeline *t = create(&m, &usual);
    struct run_result result;
    for (unsigned i = 0; i < 20; i++) {
        if (i % 3 == 0)
            timeline_goto(t, PLACE_END, 0, &result);
        else if (i % 3 == 1)
            timeline_goto(t, PLACE_COUNT, model_last(&m)->at.count + 5, &result);
        else
            timeline_step(t, 0, false, &result);
        assert_int_equal(result.end, RAN_INTO_DIFFERENCE);
        assert_string_equal(result.text, "the recording ends here");
        expect_place(t, model_last(&m));
        set_breakpoints(t, &m);
        check_reverse_continue(t, &m);
        timeline_goto(t, PLACE_END, 0, &result);
        check_reverse_step(t, &m, 0);
    }
    timeline_free(t);
    model_free(&m);
}

static void live_has_no_history(struct timeline *t, struct model *m) {
    struct run_result result;
    char error[256];
    check_goto(t, m, PLACE_COUNT, 500); // so far the screen shows the recording
    check_goto(t, m, PLACE_COUNT, 300);
    assert_int_equal(timeline_checkpoint(t), 1);
    assert_int_equal(timeline_go_live(t, "/bad", error), -ENOENT);
    assert_string_equal(error, "/bad: no such folder");
    check_reverse_step(t, m, 0); // still a replay
    struct position now = *timeline_now(t);
    assert_int_equal(timeline_go_live(t, "", error), 0);
    assert_int_equal(fake.copies, 1);
    fake.may_print_again = true; // what comes now was never seen
    assert_int_equal(timeline_info(t)->kind, TARGET_LIVE);
    assert_int_equal(timeline_reverse_step(t, 0, &result), -ENOTSUP);
    assert_int_equal(timeline_reverse_continue(t, &result), -ENOTSUP);
    assert_int_equal(timeline_goto(t, PLACE_COUNT, now.count - 1, &result), -ENOTSUP);
    assert_int_equal(timeline_goto(t, PLACE_BEGIN, 0, &result), -ENOTSUP);
    assert_int_equal(timeline_checkpoint(t), -ENOTSUP);
    assert_int_equal(timeline_restart(t, 1, &result), -ENOENT);
    assert_int_equal(timeline_list(t, NULL, 0), 0);
    assert_int_equal(model_compare(timeline_now(t), &now), 0);
    check_goto(t, m, PLACE_COUNT, now.count + 10); // forwards it goes
    assert_int_equal(fake.printed_to, timeline_now(t)->v);
    check_step(t, m, 0);
}

static void test_live(void **state) {
    each_seed(live_has_no_history, &usual);
}

static void test_errors(void **state) {
    struct model m;
    model_init(&m, 1, 1, EVENTS);
    struct timeline *t = create(&m, &usual);
    struct run_result result;
    assert_int_equal(timeline_goto(t, PLACE_EVENT, EVENTS, &result), -EINVAL);
    assert_int_equal(timeline_delete_checkpoint(t, 0), -ENOENT);
    struct breakpoint b = {.kind = BREAK_SOFTWARE, .cr3 = ANY_CR3};
    assert_int_equal(timeline_remove_breakpoint(t, &b), -ENOENT);
    for (unsigned i = 0; i < BREAKPOINTS_MAX; i++, b.address++)
        assert_int_equal(timeline_add_breakpoint(t, &b), 0);
    assert_int_equal(timeline_add_breakpoint(t, &b), -ENOSPC);
    b.address = 7;
    assert_int_equal(timeline_remove_breakpoint(t, &b), 0);
    assert_int_equal(timeline_breakpoint(t, 7)->address, 8);
    assert_null(timeline_breakpoint(t, BREAKPOINTS_MAX - 1));
    timeline_free(t);
    fake_reset();
    fake.copies_max = 1; // not even the begin can be kept
    assert_null(timeline_create(fake_machine(&m.begin), &usual));
    assert_int_equal(fake.copies, 0);
    model_free(&m);
}

// ---- tests: costs ---------------------------------------------------------------------------------------------------------
// After a first travel into a neighbourhood, a step back runs little again, wherever it is.
static void test_costs(void **state) {
    const struct timeline_limits limits = {.checkpoints = 12, .nearest = 10};
    struct model m;
    model_init(&m, 2, 1, 600);
    struct timeline *t = create(&m, &limits);
    uint64_t end = model_last(&m)->at.count;
    assert_true(end > 20000);
    random_state = 9;
    struct timeline_costs costs;
    uint64_t total = 0;
    for (unsigned i = 0; i < 12; i++) {
        check_goto(t, &m, PLACE_COUNT, end * (12 - i) / 12);
        for (unsigned n = 0; n < 40; n++) {
            check_reverse_step(t, &m, 0);
            timeline_get_costs(t, &costs);
            total += costs.reexecuted;
            // To the nearest one, or to the next, ten times as far, when that was passed just now.
            if (n > 0)
                assert_in_range(costs.reexecuted, 0, 2 * 10 * limits.nearest);
        }
    }
    assert_true(costs.total_reexecuted >= total && total > 0);
    timeline_free(t);
    model_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reverse_step),
        cmocka_unit_test(test_steps_over_handlers),
        cmocka_unit_test(test_steps_all_the_way),
        cmocka_unit_test(test_reverse_continue),
        cmocka_unit_test(test_hundred_in_a_row),
        cmocka_unit_test(test_any_sequence),
        cmocka_unit_test(test_few_checkpoints),
        cmocka_unit_test(test_little_memory),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_cursor_dies),
        cmocka_unit_test(test_difference),
        cmocka_unit_test(test_live),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
