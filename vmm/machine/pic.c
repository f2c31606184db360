// The 8259A pair (Intel 8259A data sheet) as a PC wires it: the second chip's output is input 2 of the
// first; ports 4d0h and 4d1h choose edge or level for each input.
#include "vmm/machine/pic.h"
#include <stdlib.h>
#include "vmm/machine/lapic.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/pit.h"

#define CASCADE 2

struct chip {
    uint8_t irr, imr, isr;
    uint8_t lines;                       // levels of the inputs
    uint8_t elcr;                        // inputs that are level triggered
    uint8_t base;                        // ICW2: vector of input 0
    uint8_t expects;                     // next initialization word: 2, 3, 4; 0: initialized
    uint8_t lowest;                      // input with the lowest priority
    bool level_mode, single, wants_icw4; // ICW1
    bool nested, auto_eoi;               // ICW4
    bool rotate_on_auto_eoi, special_mask, poll, read_isr;
};

struct pic {
    struct device device;
    struct chip chip[2];
    bool output;
    struct bus_range ports[3];
};

// ---- priorities --------------------------------------------------------------------------------
// 0 is the highest priority; 8: no bit is set.
static unsigned priority(const struct chip *c, uint8_t bits) {
    unsigned p = 0;
    while (p < 8 && !(bits & 1u << ((p + c->lowest + 1) & 7)))
        p++;
    return p;
}

static uint8_t level_inputs(const struct chip *c) {
    return c->level_mode ? 0xff : c->elcr;
}

static int request(const struct pic *p, unsigned n);

static uint8_t requests(const struct pic *p, unsigned n) {
    uint8_t irr = p->chip[n].irr;
    if (n == 0 && !p->chip[0].single)
        irr = (irr & ~(1u << CASCADE)) | (request(p, 1) >= 0 ? 1u << CASCADE : 0);
    return irr;
}

// The input that chip `n` asks the processor to serve now, or -1.
static int request(const struct pic *p, unsigned n) {
    const struct chip *c = &p->chip[n];
    unsigned wanted = priority(c, requests(p, n) & ~c->imr);
    if (wanted == 8)
        return -1;
    uint8_t serving = c->isr;
    if (c->special_mask)
        serving &= ~c->imr;
    if (c->nested && n == 0) // special fully nested: the second chip may interrupt itself
        serving &= ~(1u << CASCADE);
    return wanted < priority(c, serving) ? (int)((wanted + c->lowest + 1) & 7) : -1;
}

static void update(struct pic *p) {
    bool output = request(p, 0) >= 0;
    if (output == p->output)
        return;
    p->output = output;
    struct machine *m = p->device.machine;
    for (unsigned i = 0; i < m->cpu_count; i++)
        lapic_set_lint0(m->cpus[i].lapic, output);
}

static void acknowledge_input(struct chip *c, unsigned input) {
    uint8_t bit = 1u << input;
    if (!c->auto_eoi)
        c->isr |= bit;
    else if (c->rotate_on_auto_eoi)
        c->lowest = input;
    if (!(level_inputs(c) & bit))
        c->irr &= ~bit;
}

int pic_acknowledge(struct pic *p) {
    int input = request(p, 0), vector = p->chip[0].base + 7; // spurious: no bit in service
    if (input >= 0) {
        acknowledge_input(&p->chip[0], input);
        vector = p->chip[0].base + input;
        if (input == CASCADE && !p->chip[0].single) {
            int second = request(p, 1);
            if (second >= 0)
                acknowledge_input(&p->chip[1], second);
            vector = p->chip[1].base + (second >= 0 ? second : 7);
        }
    }
    update(p);
    return vector;
}

bool pic_output(const struct pic *p) {
    return p->output;
}

void pic_set(struct pic *p, unsigned irq, bool level) {
    struct chip *c = &p->chip[irq >> 3];
    uint8_t bit = 1u << (irq & 7);
    if (level && (!(c->lines & bit) || (level_inputs(c) & bit)))
        c->irr |= bit;
    else if (!level && (level_inputs(c) & bit))
        c->irr &= ~bit;
    c->lines = level ? c->lines | bit : c->lines & ~bit;
    update(p);
}

// ---- registers ---------------------------------------------------------------------------------
static void write_icw1(struct chip *c, uint8_t value) {
    *c = (struct chip){
        .lines = c->lines,
        .elcr = c->elcr,
        .base = c->base,
        .lowest = 7,
        .level_mode = value & 8,
        .single = value & 2,
        .wants_icw4 = value & 1,
        .expects = 2,
    };
    c->irr = c->lines & level_inputs(c);
}

static void end_of_interrupt(struct chip *c, unsigned input, bool rotate) {
    c->isr &= ~(1u << input);
    if (rotate)
        c->lowest = input;
}

static void write_ocw2(struct chip *c, uint8_t value) {
    unsigned input = value & 7;
    bool rotate = value & 0x80;
    switch (value >> 5 & 3) {
    case 0: // 000, 100: rotation at automatic ends of interrupts
        c->rotate_on_auto_eoi = rotate;
        break;
    case 1: { // 001, 101: the one with the highest priority, but not a masked one in special mask mode
        unsigned p = priority(c, c->special_mask ? c->isr & ~c->imr : c->isr);
        if (p < 8)
            end_of_interrupt(c, (p + c->lowest + 1) & 7, rotate);
        break;
    }
    case 2: // 010: nothing; 110: set priority
        if (rotate)
            c->lowest = input;
        break;
    case 3: end_of_interrupt(c, input, rotate); break;
    }
}

static void write_command(struct chip *c, uint8_t value) {
    if (value & 0x10) {
        write_icw1(c, value);
    } else if (value & 8) { // OCW3
        if (value & 4)
            c->poll = true;
        if (value & 2)
            c->read_isr = value & 1;
        if (value & 0x40)
            c->special_mask = value & 0x20;
    } else {
        write_ocw2(c, value);
    }
}

static void write_data(struct chip *c, uint8_t value) {
    switch (c->expects) {
    case 0: c->imr = value; break; // OCW1
    case 2:
        c->base = value & 0xf8;
        c->expects = !c->single ? 3 : c->wants_icw4 ? 4 : 0;
        break;
    case 3: // the wiring is as it is
        c->expects = c->wants_icw4 ? 4 : 0;
        break;
    case 4:
        c->nested = value & 0x10;
        c->auto_eoi = value & 2;
        c->expects = 0;
        break;
    }
}

static void port_write(struct pic *p, unsigned n, uint64_t offset, uint64_t value) {
    if (offset)
        write_data(&p->chip[n], value);
    else
        write_command(&p->chip[n], value);
    update(p);
    if (n == 0 && offset && !p->chip[0].expects && !(p->chip[0].imr & 1))
        pit_interrupt_wanted(p->device.machine);
}

// A poll is an acknowledge cycle of this one chip.
static uint8_t read_poll(struct pic *p, unsigned n) {
    int input = request(p, n);
    p->chip[n].poll = false;
    if (input < 0)
        return 0;
    acknowledge_input(&p->chip[n], input);
    update(p);
    return 0x80 | input;
}

static uint64_t port_read(struct pic *p, unsigned n, uint64_t offset) {
    struct chip *c = &p->chip[n];
    if (c->poll)
        return read_poll(p, n);
    if (offset)
        return c->imr;
    return c->read_isr ? c->isr : requests(p, n);
}

static uint64_t first_read(void *o, uint64_t offset, unsigned width) {
    return port_read(o, 0, offset);
}

static void first_write(void *o, uint64_t offset, unsigned width, uint64_t value) {
    port_write(o, 0, offset, value);
}

static uint64_t second_read(void *o, uint64_t offset, unsigned width) {
    return port_read(o, 1, offset);
}

static void second_write(void *o, uint64_t offset, unsigned width, uint64_t value) {
    port_write(o, 1, offset, value);
}

static uint64_t elcr_read(void *o, uint64_t offset, unsigned width) {
    struct pic *p = o;
    return p->chip[offset].elcr;
}

static void elcr_write(void *o, uint64_t offset, unsigned width, uint64_t value) {
    struct pic *p = o;
    struct chip *c = &p->chip[offset];
    c->elcr = value & (offset ? 0xde : 0xf8); // inputs 0, 1, 2, 8 and 13 are always edge triggered
    c->irr = (c->irr & ~c->elcr) | (c->lines & c->elcr);
    update(p);
}

// ---- device ------------------------------------------------------------------------------------
// As firmware leaves it, so that a guest that knows nothing of it is not interrupted: vectors 08h and
// 70h, everything masked, the lines of PCI and ACPI level triggered.
static void reset(struct device *d) {
    struct pic *p = (struct pic *)d;
    for (unsigned n = 0; n < 2; n++) {
        p->chip[n] = (struct chip){.imr = 0xff,
                                   .base = n ? 0x70 : 8,
                                   .lowest = 7,
                                   .elcr = irq_level_lines() >> 8 * n & 0xff};
    }
    p->output = false;
}

static void state(struct device *d, struct state_visitor *v) {
    struct pic *p = (struct pic *)d;
    for (unsigned n = 0; n < 2; n++) {
        struct chip *c = &p->chip[n];
        STATE_PART(v, "chip", n);
        STATE(v, c, irr);
        STATE(v, c, imr);
        STATE(v, c, isr);
        STATE(v, c, lines);
        STATE(v, c, elcr);
        STATE(v, c, base);
        STATE(v, c, expects);
        STATE(v, c, lowest);
        STATE(v, c, level_mode);
        STATE(v, c, single);
        STATE(v, c, wants_icw4);
        STATE(v, c, nested);
        STATE(v, c, auto_eoi);
        STATE(v, c, rotate_on_auto_eoi);
        STATE(v, c, special_mask);
        STATE(v, c, poll);
        STATE(v, c, read_isr);
    }
    STATE_WHOLE(v);
    STATE(v, p, output);
}

static const struct device_ops ops = {
    .name = "pic",
    .reset = reset,
    .state = state,
    .nondeterminism = "none: its inputs are other devices'",
};

void pic_create(struct machine *m) {
    struct pic *p = calloc(1, sizeof(*p));
    m->pic = p;
    device_register(m, &p->device, &ops);
    p->ports[0] = (struct bus_range){.space = BUS_PORT,
                                     .base = 0x20,
                                     .size = 2,
                                     .name = "first 8259",
                                     .read = first_read,
                                     .write = first_write,
                                     .opaque = p};
    p->ports[1] = (struct bus_range){.space = BUS_PORT,
                                     .base = 0xa0,
                                     .size = 2,
                                     .name = "second 8259",
                                     .read = second_read,
                                     .write = second_write,
                                     .opaque = p};
    p->ports[2] = (struct bus_range){.space = BUS_PORT,
                                     .base = 0x4d0,
                                     .size = 2,
                                     .name = "edge/level control",
                                     .read = elcr_read,
                                     .write = elcr_write,
                                     .opaque = p};
    for (unsigned i = 0; i < 3; i++)
        bus_add(m, &p->ports[i]);
}
