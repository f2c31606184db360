// One counter of an 8254: pure functions of the time, in ticks of its clock.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "vmm/machine/state.h"

struct pit_channel {
    uint8_t mode; // 0..5
    bool bcd;
    uint8_t access; // 1 low byte, 2 high byte, 3 low then high
    bool gate;
    uint32_t count; // the counting element counts down from this: 1..10000h (10000 in BCD)
    uint32_t
        next_count; // written, takes effect at the next period (modes 2, 3) or trigger (1, 5); 0: none
    bool loaded;    // a count was written since the mode was
    bool triggered; // modes 1 and 5: there was a rising edge of the gate
    bool paused;    // modes 0 and 4: the gate is low, `held` ticks had elapsed
    uint64_t start; // tick at which the count was loaded
    uint64_t held;
    // Register access.
    bool write_high; // the next byte written is the high one
    bool read_high;
    uint8_t write_low;     // the low byte until the high one follows
    uint8_t latched_bytes; // of the latched count still to be read
    uint16_t latched;
    bool status_latched;
    uint8_t status;
};

void channel_reset(struct pit_channel *c, bool gate);
void channel_state(struct pit_channel *c, struct state_visitor *v);
// A control word for this channel (bits 5..0), the counter latch and read-back commands.
void channel_control(struct pit_channel *c, uint8_t word, uint64_t now);
void channel_latch_count(struct pit_channel *c, uint64_t now);
void channel_latch_status(struct pit_channel *c, uint64_t now);
void channel_write(struct pit_channel *c, uint8_t value, uint64_t now);
uint8_t channel_read(struct pit_channel *c, uint64_t now);
void channel_set_gate(struct pit_channel *c, bool gate, uint64_t now);
bool channel_output(struct pit_channel *c, uint64_t now);
// The next tick after `now` at which the output rises; UINT64_MAX: never.
uint64_t channel_next_rise(struct pit_channel *c, uint64_t now);
