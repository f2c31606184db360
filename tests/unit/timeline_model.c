#include "timeline_model.h"
#include <stdlib.h>

#define MOMENTS 100000

int model_compare(const struct position *a, const struct position *b) {
    if (a->v != b->v)
        return a->v < b->v ? -1 : 1;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return (int)a->deliveries - (int)b->deliveries;
}

// ---- lists ------------------------------------------------------------------------------------------------
static void add_moment(void *opaque, const struct mock *machine) {
    struct model *m = opaque;
    struct model_place *p = &m->moments[m->moment_count];
    mock_where(machine, &p->at);
    p->state = mock_state(machine);
    if (m->moment_count + 1 < MOMENTS &&
        (!m->moment_count || model_compare(&p[-1].at, &p->at) != 0))
        m->moment_count++;
}

static void note_handler(void *opaque, const struct mock *machine, bool enters) {
    struct model *m = opaque;
    unsigned cpu = machine->current;
    struct position now;
    mock_where(machine, &now);
    if (!enters && m->open[cpu].there && m->handler_count < MOMENTS)
        m->handlers[m->handler_count++] = (struct model_handler){cpu, m->open[cpu].enter, now};
    m->open[cpu].there = enters;
    m->open[cpu].enter = now;
}

static struct mock at_begin(const struct model *m) {
    struct mock machine = m->begin;
    machine.on_moment = NULL;
    machine.on_hit = NULL;
    return machine;
}

static void find_moments(struct model *m) {
    struct mock machine = at_begin(m);
    struct run_request all = {.until_count = UINT64_MAX, .until_v = UINT64_MAX};
    struct run_result result;
    m->moments = calloc(MOMENTS, sizeof(m->moments[0]));
    m->handlers = calloc(MOMENTS, sizeof(m->handlers[0]));
    machine.on_moment = add_moment;
    machine.on_handler = note_handler;
    machine.opaque = m;
    mock_ops.run(&machine, &all, &result);
}

static void find_stops(struct model *m, unsigned cpu) {
    struct mock machine = at_begin(m);
    struct run_request step = {
        .flags = RUN_STEP, .step_cpu = cpu, .until_count = UINT64_MAX, .until_v = UINT64_MAX};
    struct run_result result;
    m->stops[cpu] = calloc(m->moment_count + 1, sizeof(m->stops[0][0]));
    for (;;) {
        mock_ops.run(&machine, &step, &result);
        if (result.end != RAN_STEP)
            return;
        m->stops[cpu][m->stop_count[cpu]++] = (struct model_place){result.position,
                                                                   mock_state(&machine)};
    }
}

void model_init(struct model *m, uint64_t seed, unsigned cpus, uint64_t events) {
    *m = (struct model){0};
    mock_init(&m->begin, seed, cpus, events);
    find_moments(m);
    for (unsigned i = 0; i < cpus; i++)
        find_stops(m, i);
    m->hits = calloc(MOMENTS, sizeof(m->hits[0]));
}

void model_free(struct model *m) {
    free(m->moments);
    free(m->hits);
    free(m->handlers);
    for (unsigned i = 0; i < MOCK_CPUS; i++)
        free(m->stops[i]);
}

struct hit_finder {
    struct model *model;
    struct mock machine;
};

static void add_hit(void *opaque, const struct run_hit *hit) {
    struct hit_finder *f = opaque;
    if (f->model->hit_count < MOMENTS)
        f->model->hits[f->model->hit_count++] = (struct model_hit){*hit, mock_state(&f->machine)};
}

void model_find_hits(struct model *m) {
    struct hit_finder f = {m, at_begin(m)};
    struct run_request all = {.flags = RUN_COLLECT | RUN_FROM_HERE,
                              .until_count = UINT64_MAX,
                              .until_v = UINT64_MAX,
                              .breakpoint_count = m->breakpoint_count,
                              .breakpoints = m->breakpoints};
    struct run_result result;
    m->hit_count = 0;
    f.machine.on_hit = add_hit;
    f.machine.opaque = &f;
    mock_ops.run(&f.machine, &all, &result);
}

// ---- questions ----------------------------------------------------------------------------------------------
const struct model_place *model_first(const struct model *m) {
    return &m->moments[0];
}

const struct model_place *model_last(const struct model *m) {
    return &m->moments[m->moment_count - 1];
}

const struct model_place *model_moment(const struct model *m, uint64_t count, uint64_t v) {
    for (unsigned i = 0; i < m->moment_count; i++)
        if (m->moments[i].at.count >= count && m->moments[i].at.v >= v)
            return &m->moments[i];
    return model_last(m);
}

const struct model_place *model_stop_before(const struct model *m, unsigned cpu,
                                            const struct position *place) {
    for (unsigned i = m->stop_count[cpu]; i-- > 0;)
        if (model_compare(&m->stops[cpu][i].at, place) < 0)
            return &m->stops[cpu][i];
    return model_first(m);
}

const struct model_place *model_stop_over(const struct model *m, unsigned cpu,
                                          const struct position *place) {
    const struct model_place *stop = model_stop_before(m, cpu, place);
    // In a shadow nothing stops: then a step back goes to before what casts it, which is no IRET.
    bool at_end = stop->at.rip == MOCK_CODE + MOCK_MAIN + MOCK_HANDLER_LENGTH - 1;
    for (unsigned i = 0; at_end && i < m->handler_count; i++) {
        const struct model_handler *h = &m->handlers[i];
        if (h->cpu == cpu && model_compare(&h->leave, place) == 0)
            return model_stop_before(m, cpu, &h->enter);
    }
    return stop;
}

const struct model_place *model_stop_after(const struct model *m, unsigned cpu,
                                           const struct position *place) {
    for (unsigned i = 0; i < m->stop_count[cpu]; i++)
        if (model_compare(&m->stops[cpu][i].at, place) > 0)
            return &m->stops[cpu][i];
    return NULL;
}

static bool is_watch(const struct model *m, const struct model_hit *h) {
    return m->breakpoints[h->hit.which].kind >= WATCH_WRITE;
}

const struct model_hit *model_hit_before(const struct model *m, const struct position *place) {
    for (unsigned i = m->hit_count; i-- > 0;) {
        const struct model_hit *h = &m->hits[i];
        if (model_compare(&h->hit.position, place) < is_watch(m, h))
            return h;
    }
    return NULL;
}

const struct model_hit *model_hit_after(const struct model *m, const struct position *place) {
    for (unsigned i = 0; i < m->hit_count; i++)
        if (model_compare(&m->hits[i].hit.position, place) > 0)
            return &m->hits[i];
    return NULL;
}

bool model_knows(const struct model *m, const struct position *place, uint64_t state) {
    for (unsigned i = 0; i < m->moment_count; i++)
        if (!model_compare(&m->moments[i].at, place) && m->moments[i].state == state)
            return true;
    for (unsigned i = 0; i < m->hit_count; i++)
        if (!model_compare(&m->hits[i].hit.position, place) && m->hits[i].state == state)
            return true;
    return false;
}
