// What the parts of the local APIC share: lapic.c (registers), lapic_timer.c, lapic_message.c (interrupts
// between processors and from devices).
#pragma once
#include "vmm/machine/lapic.h"
#include "vmm/machine/machine.h"

enum { LVT_TIMER, LVT_THERMAL, LVT_PERFORMANCE, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

#define LVT_MASKED        (1u << 16)
#define LVT_DELIVERY(v)   ((v) >> 8 & 7)
#define LVT_TIMER_MODE(v) ((v) >> 17 & 3)
enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };

#define SVR_ENABLE  (1u << 8)
#define SVR_NOFOCUS (1u << 9)

#define APIC_BASE_BSP    (1ull << 8)
#define APIC_BASE_X2APIC (1ull << 10)
#define APIC_BASE_ENABLE (1ull << 11)

// Error status register.
#define ESR_SEND_ILLEGAL    (1u << 5)
#define ESR_RECEIVE_ILLEGAL (1u << 6)
#define ESR_REGISTER        (1u << 7)

struct lapic {
    struct device device;
    struct cpu *cpu;
    uint64_t base; // IA32_APIC_BASE
    uint32_t id, tpr, ldr, dfr, svr, esr, esr_collected, icr_low, icr_high;
    uint32_t isr[8], tmr[8], irr[8];
    uint32_t lvt[LVT_COUNT];
    bool lint0; // level of the input
    // Timer: the count went from `initial` at V = `start`, one every 1 << shift ticks.
    uint32_t initial, divide;
    uint64_t start;
    uint64_t tsc_deadline;
    struct vtimer timer;
};

static inline bool lapic_x2apic(const struct lapic *l) {
    return l->base & APIC_BASE_X2APIC;
}

static inline bool lapic_enabled(const struct lapic *l) {
    return (l->base & APIC_BASE_ENABLE) && (l->svr & SVR_ENABLE);
}

// Puts a vector into the request register. Illegal vectors (below 16) are errors.
void lapic_accept(struct lapic *l, uint8_t vector, bool level_triggered);
// What the local vector table says to do at an event.
void lapic_local_event(struct lapic *l, unsigned lvt);
void lapic_error(struct lapic *l, uint32_t bits);
// The processor priority register.
uint8_t lapic_ppr(const struct lapic *l);

// lapic_message.c: the interrupt command register was written.
void lapic_command(struct lapic *l);

// lapic_timer.c
void lapic_timer_init(struct lapic *l);
void lapic_timer_reset(struct lapic *l);
void lapic_timer_set_initial(struct lapic *l, uint32_t value);
void lapic_timer_set_divide(struct lapic *l, uint32_t value);
void lapic_timer_set_lvt(struct lapic *l, uint32_t value);
uint32_t lapic_timer_current(const struct lapic *l);
void lapic_timer_set_deadline(struct lapic *l, uint64_t tsc);
