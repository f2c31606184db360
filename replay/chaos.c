#include "replay/chaos.h"

#define PHASE 16 // usual slices

// The finish of splitmix64: neighbouring numbers become unrelated ones.
static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static uint64_t hash(uint64_t seed, uint64_t kind, uint64_t n) {
    return mix(mix(mix(seed) + kind) + n);
}

static uint64_t draw(struct chaos *c) {
    c->state += 0x9e3779b97f4a7c15;
    return mix(c->state);
}

// Once in n times.
static bool one_in(struct chaos *c, unsigned n) {
    return draw(c) % n == 0;
}

void chaos_start(struct chaos *c, uint64_t seed, bool adversarial) {
    *c = (struct chaos){.seed = seed, .adversarial = adversarial && seed, .state = mix(seed)};
}

// ---- slices ------------------------------------------------------------------------------------------
enum { SLICES, STARVATION };

// A phase is divided into cells of so many ticks, each with one end of a slice at a random place.
static uint64_t cell_size(uint64_t seed, uint64_t slice, uint64_t phase) {
    static const uint8_t parts[8] = {1, 4, 4, 4, 16, 16, 64, 255}; // of four slices
    uint64_t size = slice * 4 / parts[hash(seed, SLICES, phase) % 8];
    return size ? size : 1;
}

uint64_t chaos_slice_end(uint64_t seed, uint64_t slice, uint64_t count) {
    for (uint64_t from = count;;) {
        uint64_t phase = from / (slice * PHASE), start = phase * slice * PHASE;
        uint64_t size = cell_size(seed, slice, phase), cell = start + (from - start) / size * size;
        uint64_t end = cell + hash(seed, size, cell) % size;
        uint64_t next = cell + size, next_phase = start + slice * PHASE;
        if (end > count && end < next_phase)
            return end;
        from = next < next_phase ? next : next_phase;
    }
}

// ---- time and inputs ---------------------------------------------------------------------------------
// (Jitter is a number of two bytes in a log.)
uint64_t chaos_jump(struct chaos *c) {
    if (!c->seed || !one_in(c, c->adversarial ? 8 : 64))
        return 0;
    return draw(c) % (c->adversarial ? c->slice * 2 + 1 : c->slice / 16 + 1);
}

uint64_t chaos_oversleep(struct chaos *c) {
    if (!c->adversarial || !one_in(c, 8))
        return 0;
    return draw(c) % (c->slice * 2 + 1);
}

bool chaos_holds_inputs(struct chaos *c) {
    return c->adversarial && one_in(c, 2);
}

// ---- whose turn it is --------------------------------------------------------------------------------
static uint64_t starving(const struct chaos *c, uint64_t count) {
    // One in four; others in every 2^20 ticks.
    uint64_t h = hash(c->seed, STARVATION, count >> 20), mask = 0;
    for (unsigned i = 0; i < 32; i++)
        mask |= (uint64_t) !(h >> 2 * i & 3) << i;
    return mask;
}

static unsigned pick(struct chaos *c, uint64_t among) {
    unsigned n = (unsigned)(draw(c) % (unsigned)__builtin_popcountll(among));
    while (n--)
        among &= among - 1;
    return (unsigned)__builtin_ctzll(among);
}

unsigned chaos_choose_cpu(struct chaos *c, uint64_t count, unsigned now, uint64_t runnable) {
    uint64_t others = runnable & ~(1ull << now), among = runnable;
    bool gave_up = count < c->slice_end; // it waits for another one, or has nothing to do
    if (gave_up && others && !one_in(c, 8))
        among = others;
    uint64_t well_off = among & ~starving(c, count);
    if (well_off && !one_in(c, 16))
        among = well_off;
    return pick(c, among);
}
