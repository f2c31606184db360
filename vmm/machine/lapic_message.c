// Interrupt messages: who is addressed, and what arrives there.
#include "vmm/machine/lapic_internal.h"

#define BROADCAST_X2APIC 0xffffffffu
#define BROADCAST_XAPIC  0xffu

static bool bit_of(const uint32_t *set, uint8_t vector) {
    return set[vector >> 5] >> (vector & 31) & 1;
}

// ---- addressing --------------------------------------------------------------------------------
static bool logical_match(const struct lapic *l, uint32_t destination) {
    if (lapic_x2apic(l))
        return l->ldr >> 16 == destination >> 16 && (l->ldr & destination & 0xffff);
    uint8_t mine = l->ldr >> 24, wanted = destination;
    if (l->dfr >> 28 == 0xf) // flat model: a bit per processor
        return mine & wanted;
    return mine >> 4 == wanted >> 4 && (mine & wanted & 0xf); // cluster model
}

static bool addressed(const struct lapic *l, const struct apic_message *message) {
    uint32_t destination = message->destination;
    if (!(l->base & APIC_BASE_ENABLE))
        return false;
    if (destination == (message->x2apic ? BROADCAST_X2APIC : BROADCAST_XAPIC))
        return true;
    return message->logical ? logical_match(l, destination) : l->id == destination;
}

// ---- arrival -----------------------------------------------------------------------------------
static bool arrive(struct lapic *l, const struct apic_message *message) {
    struct cpu *c = l->cpu;
    switch (message->delivery) {
    case APIC_FIXED:
    case APIC_LOWEST:
        if (!lapic_enabled(l))
            return false;
        lapic_accept(l, message->vector, message->level_triggered);
        return true;
    case APIC_NMI: c->nmi_pending = true; return true;
    case APIC_INIT:
        if (message->level || !message->level_triggered) // a de-assertion does nothing
            c->init_pending = true;
        return true;
    case APIC_STARTUP:
        if (!c->waiting_for_sipi && !c->init_pending)
            return false;
        c->sipi_pending = true;
        c->sipi_vector = message->vector;
        return true;
    case APIC_SMI:
    case APIC_EXTINT:
    case APIC_RESERVED: break; // no system management mode here; external interrupts come by wire
    }
    return false;
}

// Lowest priority: the processor that has the interrupt already (focus), else the one with the lowest
// processor priority, else the one with the lowest index.
static struct lapic *arbitrate(struct machine *m, const struct apic_message *message) {
    struct lapic *best = NULL;
    for (unsigned i = 0; i < m->cpu_count; i++) {
        struct lapic *l = m->cpus[i].lapic;
        if (!addressed(l, message) || !lapic_enabled(l))
            continue;
        if (!(l->svr & SVR_NOFOCUS) &&
            (bit_of(l->irr, message->vector) || bit_of(l->isr, message->vector)))
            return l;
        if (!best || lapic_ppr(l) < lapic_ppr(best))
            best = l;
    }
    return best;
}

bool lapic_send(struct machine *m, const struct apic_message *message) {
    if (message->delivery == APIC_LOWEST) {
        struct lapic *l = arbitrate(m, message);
        return l && arrive(l, message);
    }
    bool taken = false;
    for (unsigned i = 0; i < m->cpu_count; i++)
        if (addressed(m->cpus[i].lapic, message))
            taken |= arrive(m->cpus[i].lapic, message);
    return taken;
}

// ---- the interrupt command register ------------------------------------------------------------
enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

void lapic_command(struct lapic *l) {
    struct machine *m = l->device.machine;
    bool x2apic = lapic_x2apic(l);
    struct apic_message message = {
        .destination = x2apic ? l->icr_high : l->icr_high >> 24,
        .x2apic = x2apic,
        .logical = l->icr_low & 1u << 11,
        .level = l->icr_low & 1u << 14,
        .level_triggered = l->icr_low & 1u << 15,
        .delivery = l->icr_low >> 8 & 7,
        .vector = l->icr_low,
    };
    bool has_vector = message.delivery == APIC_FIXED || message.delivery == APIC_LOWEST;
    if (has_vector && message.vector < 16) {
        lapic_error(l, ESR_SEND_ILLEGAL);
        return;
    }
    if (has_vector)
        message.level_triggered =
            false; // IPIs are edges (SDM vol. 3, "Interrupt Command Register")
    unsigned shorthand = l->icr_low >> 18 & 3;
    if (shorthand == SHORTHAND_NONE) {
        lapic_send(m, &message);
        return;
    }
    for (unsigned i = 0; i < m->cpu_count; i++) {
        struct lapic *other = m->cpus[i].lapic;
        bool self = other == l;
        if (shorthand == SHORTHAND_SELF ? self : shorthand == SHORTHAND_ALL || !self)
            if (other->base & APIC_BASE_ENABLE)
                arrive(other, &message);
    }
}
