// The front of the inputs: hands every question to the implementation in use.
#include <stdlib.h>
#include "replay/inputs_ops.h"

struct inputs *inputs_new(const struct inputs_ops *ops, void *own, uint64_t hz) {
    struct inputs *in = calloc(1, sizeof(*in));
    if (in)
        *in = (struct inputs){.ops = ops, .own = own, .hz = hz};
    return in;
}

void inputs_add_source(struct inputs *in, struct input_source *s) {
    struct input_source **at = &in->sources;
    while (*at)
        at = &(*at)->next;
    *at = s;
    s->next = NULL;
    s->id = in->source_count++;
}

struct input_source *inputs_source(struct inputs *in, unsigned id) {
    struct input_source *s = in->sources;
    while (s && s->id != id)
        s = s->next;
    return s;
}

void inputs_set_target(struct inputs *in, const struct inputs_target *t) {
    in->target = *t;
}
bool inputs_left(const struct inputs *in) {
    return in->left;
}
void inputs_leave(struct inputs *in) {
    in->left = true;
}
uint64_t inputs_wall_clock(struct inputs *in) {
    return in->ops->wall_clock(in);
}
void inputs_random(struct inputs *in, void *buf, size_t n) {
    in->ops->random(in, buf, n);
}
void inputs_follow_exits(struct inputs *in) {
    in->by_exits = true;
}
uint64_t inputs_next_stop(struct inputs *in, uint64_t count) {
    return in->by_exits ? UINT64_MAX : in->ops->next_stop(in, count);
}

uint64_t inputs_anchor(struct inputs *in, const struct landmark *at, uint64_t anchor) {
    in->anchor_now = anchor;
    return in->anchor_now = in->ops->anchor(in, at, anchor);
}

void inputs_deliver(struct inputs *in, const struct landmark *at) {
    in->ops->deliver(in, at);
}

unsigned inputs_choose_cpu(struct inputs *in, const struct landmark *at, unsigned now,
                           uint64_t runnable) {
    return in->ops->choose_cpu(in, at, now, runnable);
}

uint64_t inputs_idle(struct inputs *in, const struct landmark *at, uint64_t anchor,
                     uint64_t deadline, int *err) {
    in->anchor_now = anchor;
    return in->anchor_now = in->ops->idle(in, at, anchor, deadline, err);
}

int inputs_finish(struct inputs *in, const struct landmark *at, const char *how) {
    return in->ops->finish ? in->ops->finish(in, at, how) : 0;
}

uint64_t inputs_event(const struct inputs *in) {
    return in->ops->event ? in->ops->event(in) : 0;
}

const struct inputs_figures *inputs_get_figures(const struct inputs *in) {
    return &in->figures;
}

uint32_t inputs_sum_unit(const struct inputs *in) {
    return in->ops->sum_unit ? in->ops->sum_unit(in) : 0;
}

void inputs_free(struct inputs *in) {
    if (in && in->ops->free)
        in->ops->free(in);
    free(in);
}
