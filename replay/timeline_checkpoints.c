// The list of checkpoints: which are kept when there are too many, and copies of them.
#include <errno.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <x86intrin.h>
#include "replay/timeline_internal.h"

int place_compare(const struct position *a, const struct position *b) {
    if (a->v != b->v)
        return a->v < b->v ? -1 : 1;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return (a->deliveries > b->deliveries) - (a->deliveries < b->deliveries);
}

// ---- finding ------------------------------------------------------------------------------------------
static bool usable_for(const struct position *p, const struct goal *goal) {
    if (p->count < goal->count || p->v < goal->v)
        return true;
    return p->count == goal->count && p->v == goal->v && p->deliveries == 0;
}

struct checkpoint *checkpoint_for(struct timeline *t, const struct goal *goal) {
    unsigned i = t->checkpoint_count - 1;
    while (i > 0 && !usable_for(&t->checkpoints[i].copy.at, goal))
        i--;
    return &t->checkpoints[i];
}

struct checkpoint *checkpoint_before(struct timeline *t, const struct position *place) {
    for (unsigned i = t->checkpoint_count; i-- > 0;)
        if (place_compare(&t->checkpoints[i].copy.at, place) < 0)
            return &t->checkpoints[i];
    return NULL;
}

static uint64_t difference(uint64_t a, uint64_t b) {
    return a > b ? a - b : b - a;
}

bool checkpoint_near(const struct timeline *t, bool by_v, uint64_t value, uint64_t distance) {
    for (unsigned i = 0; i < t->checkpoint_count; i++) {
        const struct position *p = &t->checkpoints[i].copy.at;
        if (difference(by_v ? p->v : p->count, value) < distance)
            return true;
    }
    return false;
}

// ---- dropping -----------------------------------------------------------------------------------------
static void remove_entry(struct timeline *t, unsigned i) {
    t->checkpoint_count--;
    memmove(&t->checkpoints[i], &t->checkpoints[i + 1],
            (t->checkpoint_count - i) * sizeof(t->checkpoints[0]));
}

static void drop(struct timeline *t, unsigned i) {
    remote_close(&t->checkpoints[i].copy.machine);
    remove_entry(t, i);
}

// How much longer the way to places behind it would be without it, by how far away it is.
static double value(const struct timeline *t, unsigned i) {
    uint64_t at = t->checkpoints[i].copy.at.count;
    uint64_t next = i + 1 < t->checkpoint_count ? t->checkpoints[i + 1].copy.at.count : t->focus;
    uint64_t gap = difference(next, t->checkpoints[i - 1].copy.at.count);
    return ((double)gap + 1) / ((double)difference(at, t->focus) + 1);
}

// The automatic checkpoint that is missed least goes, but not the process `keep`. False: there is none.
static bool drop_one(struct timeline *t, pid_t keep) {
    unsigned least = 0;
    for (unsigned i = 1; i < t->checkpoint_count; i++)
        if (!t->checkpoints[i].number && t->checkpoints[i].copy.machine.pid != keep &&
            (!least || value(t, i) < value(t, least)))
            least = i;
    if (least)
        drop(t, least);
    return least != 0;
}

static uint64_t free_memory(void) {
    struct sysinfo info;
    return sysinfo(&info) ? 0 : (uint64_t)info.freeram * info.mem_unit;
}

static bool make_room(struct timeline *t, bool automatic) {
    while (t->checkpoint_count >= t->limits.checkpoints)
        if (!drop_one(t, 0))
            return false;
    while (automatic && free_memory() < t->limits.reserve)
        if (!drop_one(t, 0))
            return false;
    return true;
}

// ---- taking and copying ---------------------------------------------------------------------------------
// Checkpoints have no breakpoints: a run that is over at once removes them.
static void remove_breakpoints(struct traveller *m) {
    struct run_request request = {0};
    struct run_result result;
    remote_run(&m->machine, &request, NULL, &result);
}

int machine_copy(struct timeline *t, struct remote *from, struct remote *to) {
    pid_t keep = from->pid;
    int error = remote_fork(from, to);
    while (error && error != -EPIPE && drop_one(t, keep))
        error = remote_fork(from, to);
    return error;
}

static void insert(struct timeline *t, const struct checkpoint *c) {
    unsigned i = t->checkpoint_count++;
    for (; i > 0 && place_compare(&t->checkpoints[i - 1].copy.at, &c->copy.at) > 0; i--)
        t->checkpoints[i] = t->checkpoints[i - 1];
    t->checkpoints[i] = *c;
}

int checkpoint_take(struct timeline *t, struct traveller *m, int number) {
    if (!make_room(t, number == 0))
        return -ENOSPC;
    remove_breakpoints(m);
    struct checkpoint c = {.copy.at = m->at, .number = number};
    uint64_t before = __rdtsc();
    int error = machine_copy(t, &m->machine, &c.copy.machine);
    if (error)
        return error;
    t->costs.checkpoint_ticks = __rdtsc() - before;
    insert(t, &c);
    t->costs.checkpoints++;
    return 0;
}

int checkpoint_copy(struct timeline *t, const struct checkpoint *c, struct traveller *m) {
    struct traveller from = c->copy;
    m->at = from.at;
    int error = machine_copy(t, &from.machine, &m->machine);
    if (!error)
        return 0;
    unsigned i = 0; // where it is now that others may have gone
    while (t->checkpoints[i].copy.machine.pid != from.machine.pid)
        i++;
    if (error == -EPIPE) {
        drop(t, i); // its process is gone
    } else if (i > 0 && !t->checkpoints[i].number) {
        remove_entry(t, i); // no memory for another: it becomes the traveller itself
        *m = from;
        error = 0;
    }
    return error;
}

void checkpoints_free(struct timeline *t) {
    while (t->checkpoint_count > 0)
        drop(t, t->checkpoint_count - 1);
}
