// Modes of the Intel 8254 (data sheet, "Mode Definitions"). Times are ticks of the 1.193182 MHz clock.
#include "vmm/machine/pit_channel.h"

#define NEVER UINT64_MAX

enum { TERMINAL_COUNT, ONE_SHOT, RATE, SQUARE, SOFTWARE_STROBE, HARDWARE_STROBE };

static bool periodic(const struct pit_channel *c) {
    return c->mode == RATE || c->mode == SQUARE;
}

static bool triggered_by_gate(const struct pit_channel *c) {
    return c->mode == ONE_SHOT || c->mode == HARDWARE_STROBE;
}

static uint32_t modulus(const struct pit_channel *c) {
    return c->bcd ? 10000 : 0x10000;
}

static uint32_t from_bcd(uint32_t v) {
    return (v >> 12 & 15) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15);
}

static uint32_t to_bcd(uint32_t v) {
    return v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10;
}

static bool counting(const struct pit_channel *c) {
    if (!c->loaded)
        return false;
    return triggered_by_gate(c) ? c->triggered : periodic(c) ? c->gate : true;
}

static uint64_t elapsed(const struct pit_channel *c, uint64_t now) {
    if (c->paused)
        return c->held;
    return now > c->start ? now - c->start : 0;
}

// A count that was written while a period ran takes effect at its end.
static void settle(struct pit_channel *c, uint64_t now) {
    if (!c->next_count || !periodic(c) || !counting(c) || elapsed(c, now) < c->count)
        return;
    c->start += c->count;
    c->count = c->next_count;
    c->next_count = 0;
}

bool channel_output(struct pit_channel *c, uint64_t now) {
    settle(c, now);
    if (!counting(c))
        return c->mode != TERMINAL_COUNT;
    uint64_t e = elapsed(c, now);
    switch (c->mode) {
    case TERMINAL_COUNT: return e >= c->count;
    case ONE_SHOT: return e >= c->count;
    case RATE: return e % c->count != c->count - 1;
    case SQUARE: return e % c->count < (c->count + 1) / 2;
    }
    return e != c->count; // strobes: low for one tick
}

uint64_t channel_next_rise(struct pit_channel *c, uint64_t now) {
    settle(c, now);
    if (!counting(c) || c->paused)
        return NEVER;
    uint64_t e = elapsed(c, now), base = c->start;
    if (periodic(c))
        return base + (e / c->count + 1) * c->count;
    uint64_t rise = c->mode == TERMINAL_COUNT || c->mode == ONE_SHOT ? c->count : c->count + 1ull;
    return e < rise ? base + rise : NEVER;
}

// The value of the counting element, as a program reads it.
static uint16_t current(struct pit_channel *c, uint64_t now) {
    settle(c, now);
    uint32_t count = c->count;
    if (counting(c)) {
        uint64_t e = elapsed(c, now);
        if (c->mode == RATE)
            count = c->count - e % c->count;
        else if (c->mode ==
                 SQUARE) // by two, twice in a period; an odd count loses one at the first step
            count = (c->count & ~1u) - e % ((c->count + 1) / 2) * 2;
        else // goes round after zero
            count = (c->count + modulus(c) - e % modulus(c)) % modulus(c);
    }
    return c->bcd ? to_bcd(count % 10000) : count;
}

static void start(struct pit_channel *c, uint64_t now) {
    c->start = now + 1; // loaded by the next clock
    c->held = 0;
    c->paused = !c->gate && !periodic(c) && !triggered_by_gate(c);
}

static void load(struct pit_channel *c, uint32_t value, uint64_t now) {
    uint32_t count = c->bcd ? from_bcd(value) : value;
    if (!count)
        count = modulus(c);
    if (count == 1 && periodic(c))
        count = 2; // 1 is illegal there
    settle(c, now);
    bool later = c->loaded && (periodic(c) ? counting(c) : triggered_by_gate(c));
    if (later) {
        if (periodic(c)) // the period that runs now comes to its end
            c->start += elapsed(c, now) / c->count * c->count;
        c->next_count = count;
        return;
    }
    c->count = count;
    c->loaded = true;
    start(c, now);
}

void channel_control(struct pit_channel *c, uint8_t word, uint64_t now) {
    c->access = word >> 4 & 3;
    c->mode = word >> 1 & 7;
    if (c->mode > 5)
        c->mode &= 3; // bit 2 is ignored in modes 2 and 3
    c->bcd = word & 1;
    c->loaded = c->triggered = c->paused = false;
    c->next_count = 0;
    c->write_high = c->read_high = false;
    c->latched_bytes = 0;
    c->status_latched = false;
    if (c->count > modulus(c))
        c->count = modulus(c);
    (void)now;
}

void channel_latch_count(struct pit_channel *c, uint64_t now) {
    if (c->latched_bytes) // until it was read
        return;
    c->latched = current(c, now);
    c->latched_bytes = c->access == 3 ? 2 : 1;
}

void channel_latch_status(struct pit_channel *c, uint64_t now) {
    if (c->status_latched)
        return;
    c->status_latched = true;
    bool null_count = !c->loaded || c->next_count || (counting(c) && now < c->start);
    c->status = channel_output(c, now) << 7 | null_count << 6 | c->access << 4 | c->mode << 1 |
                c->bcd;
}

void channel_write(struct pit_channel *c, uint8_t value, uint64_t now) {
    if (c->access == 1) {
        load(c, value, now);
    } else if (c->access == 2) {
        load(c, value << 8, now);
    } else if (!c->write_high) {
        c->write_low = value;
        c->write_high = true;
        if (c->mode == TERMINAL_COUNT) // the first byte stops the counting
            c->loaded = false;
    } else {
        c->write_high = false;
        load(c, value << 8 | c->write_low, now);
    }
}

uint8_t channel_read(struct pit_channel *c, uint64_t now) {
    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    uint16_t value = c->latched_bytes ? c->latched : current(c, now);
    bool high = c->access == 2 || (c->access == 3 && c->read_high);
    if (c->access == 3)
        c->read_high = !c->read_high;
    if (c->latched_bytes)
        c->latched_bytes--;
    return high ? value >> 8 : value;
}

void channel_set_gate(struct pit_channel *c, bool gate, uint64_t now) {
    if (gate == c->gate)
        return;
    settle(c, now);
    if (!periodic(c) && !triggered_by_gate(c)) { // the gate only enables counting
        if (!gate)
            c->held = elapsed(c, now);
        else
            c->start = now - c->held;
        c->paused = !gate;
        c->gate = gate;
        return;
    }
    c->gate = gate;
    if (!gate)
        return;
    if (c->next_count)
        c->count = c->next_count;
    c->next_count = 0;
    c->triggered = true;
    c->start = now + 1;
}

void channel_reset(struct pit_channel *c, bool gate) {
    *c = (struct pit_channel){.mode = SQUARE, .access = 3, .gate = gate, .count = 0x10000};
}

void channel_state(struct pit_channel *c, struct state_visitor *v) {
    STATE(v, c, mode);
    STATE(v, c, bcd);
    STATE(v, c, access);
    STATE(v, c, gate);
    STATE(v, c, count);
    STATE(v, c, next_count);
    STATE(v, c, loaded);
    STATE(v, c, triggered);
    STATE(v, c, paused);
    STATE(v, c, start);
    STATE(v, c, held);
    STATE(v, c, write_high);
    STATE(v, c, read_high);
    STATE(v, c, write_low);
    STATE(v, c, latched_bytes);
    STATE(v, c, latched);
    STATE(v, c, status_latched);
    STATE(v, c, status);
}
