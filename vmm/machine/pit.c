// The 8254 as a PC uses it: counter 0 is IRQ 0, counter 1 once refreshed memory, counter 2 is the
// speaker's, with gate and output at port 61h.
#include "vmm/machine/pit.h"
#include <stdlib.h>
#include "vmm/machine/machine.h"
#include "vmm/machine/pit_channel.h"

#define PIT_HZ        1193182
#define REFRESH_TICKS 18 // of counter 1: bit 4 of port 61h toggles that often

struct pit {
    struct device device;
    struct pit_channel channel[3];
    uint8_t port61;      // bits 3..0 as written
    struct vtimer timer; // the next rise of counter 0's output
    struct bus_range counters, control;
};

static uint64_t now(const struct pit *p) {
    struct machine *m = p->device.machine;
    return vtime_scale(m, vtime_now(m), PIT_HZ);
}

static void arm(struct pit *p) {
    uint64_t rise = channel_next_rise(&p->channel[0], now(p));
    vtimer_arm(&p->timer,
               rise == UINT64_MAX ? rise : vtime_unscale(p->device.machine, rise, PIT_HZ));
}

// Counter 0 was programmed: its output may have changed at once.
static void reprogrammed(struct pit *p) {
    irq_set(p->device.machine, 0, channel_output(&p->channel[0], now(p)));
    arm(p);
}

// Only the rising edge matters to the interrupt controllers: the fall before it is made here.
static void rise(void *o) {
    struct pit *p = o;
    irq_set(p->device.machine, 0, false);
    irq_set(p->device.machine, 0, true);
    arm(p);
}

void pit_interrupt_wanted(struct machine *m) {
    arm(m->pit);
}

static void read_back(struct pit *p, uint8_t word) {
    for (unsigned i = 0; i < 3; i++) {
        if (!(word & 2u << i))
            continue;
        if (!(word & 0x20))
            channel_latch_count(&p->channel[i], now(p));
        if (!(word & 0x10))
            channel_latch_status(&p->channel[i], now(p));
    }
}

static void counters_write(void *o, uint64_t offset, unsigned width, uint64_t value) {
    struct pit *p = o;
    if (offset < 3) {
        channel_write(&p->channel[offset], value, now(p));
        if (offset == 0)
            reprogrammed(p);
        return;
    }
    unsigned n = value >> 6 & 3;
    if (n == 3) {
        read_back(p, value);
    } else if (!(value & 0x30)) {
        channel_latch_count(&p->channel[n], now(p));
    } else {
        channel_control(&p->channel[n], value, now(p));
        if (n == 0)
            reprogrammed(p);
    }
}

static uint64_t counters_read(void *o, uint64_t offset, unsigned width) {
    struct pit *p = o;
    return offset < 3 ? channel_read(&p->channel[offset], now(p))
                      : 0xff; // the control word is write-only
}

// Port 61h: 0 gate of counter 2, 1 speaker, 2 and 3 parity and channel check off, 4 refresh, 5 output of
// counter 2.
static uint64_t port61_read(void *o, uint64_t offset, unsigned width) {
    struct pit *p = o;
    uint64_t t = now(p);
    return p->port61 | (t / REFRESH_TICKS & 1) << 4 | channel_output(&p->channel[2], t) << 5;
}

static void port61_write(void *o, uint64_t offset, unsigned width, uint64_t value) {
    struct pit *p = o;
    p->port61 = value & 0xf;
    channel_set_gate(&p->channel[2], value & 1, now(p));
}

// ---- device ------------------------------------------------------------------------------------
// Counter 0 goes round at 18.2 Hz, as firmware leaves it. That is a function of the time: no timer runs for it before
// the guest wants its interrupt, since most guests never do.
static void reset(struct device *d) {
    struct pit *p = (struct pit *)d;
    for (unsigned i = 0; i < 3; i++)
        channel_reset(&p->channel[i], i < 2);
    channel_write(&p->channel[0], 0, now(p));
    channel_write(&p->channel[0], 0, now(p));
    p->port61 = 0;
    vtimer_cancel(&p->timer);
}

static void state(struct device *d, struct state_visitor *v) {
    struct pit *p = (struct pit *)d;
    for (unsigned i = 0; i < 3; i++) {
        STATE_PART(v, "channel", i);
        channel_state(&p->channel[i], v);
    }
    STATE_WHOLE(v);
    STATE(v, p, port61);
    STATE(v, p, timer.deadline);
}

static void loaded(struct device *d) {
    struct pit *p = (struct pit *)d;
    vtimer_restore(&p->timer);
}

static const struct device_ops ops = {
    .name = "pit",
    .reset = reset,
    .state = state,
    .loaded = loaded,
    .nondeterminism = "none: it counts virtual time",
};

void pit_create(struct machine *m) {
    struct pit *p = calloc(1, sizeof(*p));
    m->pit = p;
    device_register(m, &p->device, &ops);
    vtimer_init(m, &p->timer, rise, p);
    p->counters = (struct bus_range){.space = BUS_PORT,
                                     .base = 0x40,
                                     .size = 4,
                                     .name = "8254",
                                     .read = counters_read,
                                     .write = counters_write,
                                     .opaque = p};
    p->control = (struct bus_range){.space = BUS_PORT,
                                    .base = 0x61,
                                    .size = 1,
                                    .name = "port 61h",
                                    .read = port61_read,
                                    .write = port61_write,
                                    .opaque = p};
    bus_add(m, &p->counters);
    bus_add(m, &p->control);
}
