// The local APIC's registers, and its interrupt requests and priorities.
#include "vmm/machine/lapic_internal.h"
#include <stdlib.h>
#include <string.h>
#include "vmm/machine/ioapic.h"

#define MSR_APIC_BASE    0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC       0x800
#define BASE_WRITABLE    (0xffffffffff000ull | APIC_BASE_BSP | APIC_BASE_X2APIC | APIC_BASE_ENABLE)

// Register numbers: offset in the page / 16, MSR number - 800h.
enum {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_APR = 0x09,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_RRD = 0x0c,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_ICR = 0x30,
    REG_ICR_HIGH = 0x31,
    REG_LVT = 0x32,
    REG_LVT_LAST = 0x37,
    REG_INITIAL = 0x38,
    REG_CURRENT = 0x39,
    REG_DIVIDE = 0x3e,
    REG_SELF_IPI = 0x3f,
};
#define VERSION ((LVT_COUNT - 1) << 16 | 0x14)

static const uint32_t lvt_writable[LVT_COUNT] = {
    [LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PERFORMANCE] = 0x107ff,
    [LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff,   [LVT_ERROR] = 0x100ff,
};
#define ICR_WRITABLE 0xccfffu // without delivery status

// ---- requests and priorities -------------------------------------------------------------------
static int highest(const uint32_t *set) {
    for (int i = 7; i >= 0; i--)
        if (set[i])
            return i * 32 + 31 - __builtin_clz(set[i]);
    return -1;
}

static bool is_empty(const uint32_t *set) {
    return !(set[0] | set[1] | set[2] | set[3] | set[4] | set[5] | set[6] | set[7]);
}

static void set_bit(uint32_t *set, uint8_t vector, bool value) {
    uint32_t bit = 1u << (vector & 31);
    set[vector >> 5] = value ? set[vector >> 5] | bit : set[vector >> 5] & ~bit;
}

uint8_t lapic_ppr(const struct lapic *l) {
    int serving = highest(l->isr);
    if (serving < 0 || l->tpr >> 4 >= (unsigned)serving >> 4)
        return l->tpr;
    return serving & 0xf0;
}

int lapic_pending(const struct lapic *l) {
    if (is_empty(l->irr)) // asked before every entry
        return -1;
    int vector = highest(l->irr);
    if (!(l->base & APIC_BASE_ENABLE) || vector >> 4 <= lapic_ppr(l) >> 4)
        return -1;
    return vector;
}

int lapic_acknowledge(struct lapic *l) {
    int vector = lapic_pending(l);
    if (vector >= 0) {
        set_bit(l->irr, vector, false);
        set_bit(l->isr, vector, true);
    }
    return vector;
}

static void end_of_interrupt(struct lapic *l) {
    int vector = highest(l->isr);
    if (vector < 0)
        return;
    set_bit(l->isr, vector, false);
    if (l->tmr[vector >> 5] >> (vector & 31) & 1)
        ioapic_eoi(l->device.machine->ioapic, vector);
}

void lapic_error(struct lapic *l, uint32_t bits) {
    l->esr_collected |= bits;
    if (lapic_enabled(l) &&
        (l->lvt[LVT_ERROR] & 0xff) >= 16) // else the report would be an error itself
        lapic_local_event(l, LVT_ERROR);
}

void lapic_accept(struct lapic *l, uint8_t vector, bool level_triggered) {
    if (vector < 16) {
        lapic_error(l, ESR_RECEIVE_ILLEGAL);
        return;
    }
    set_bit(l->irr, vector, true);
    set_bit(l->tmr, vector, level_triggered);
}

void lapic_local_event(struct lapic *l, unsigned lvt) {
    uint32_t entry = l->lvt[lvt];
    if ((entry & LVT_MASKED) || !(l->base & APIC_BASE_ENABLE))
        return;
    bool fixed = lvt == LVT_TIMER || lvt == LVT_ERROR || LVT_DELIVERY(entry) == APIC_FIXED;
    if (fixed)
        lapic_accept(l, entry & 0xff, false);
    else if (LVT_DELIVERY(entry) == APIC_NMI)
        l->cpu->nmi_pending = true;
    else if (LVT_DELIVERY(entry) == APIC_INIT)
        l->cpu->init_pending = true;
}

bool lapic_accepts_extint(const struct lapic *l) {
    if (!(l->base &
          APIC_BASE_ENABLE)) // without local APIC the 8259s are wired to the boot processor
        return l->cpu->index == 0;
    return !(l->lvt[LVT_LINT0] & LVT_MASKED) && LVT_DELIVERY(l->lvt[LVT_LINT0]) == APIC_EXTINT;
}

void lapic_set_lint0(struct lapic *l, bool level) {
    bool rises = level && !l->lint0;
    l->lint0 = level;
    if (rises && LVT_DELIVERY(l->lvt[LVT_LINT0]) != APIC_EXTINT)
        lapic_local_event(l, LVT_LINT0);
}

uint8_t lapic_cr8(const struct lapic *l) {
    return l->tpr >> 4;
}

void lapic_set_cr8(struct lapic *l, uint8_t cr8) {
    if (l->tpr >> 4 != cr8)
        l->tpr = cr8 << 4;
}

uint32_t lapic_id(const struct lapic *l) {
    return l->id;
}

uint64_t lapic_base(const struct lapic *l) {
    return l->base;
}

bool lapic_claims(const struct lapic *l, uint64_t gpa) {
    return (l->base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_ENABLE &&
           (l->base & ~0xfffull) == (gpa & ~0xfffull);
}

// ---- registers ---------------------------------------------------------------------------------
// False: there is no such register, or it cannot be read.
static bool read_register(const struct lapic *l, unsigned reg, uint32_t *value) {
    bool x2apic = lapic_x2apic(l);
    switch (reg) {
    case REG_ID: *value = x2apic ? l->id : l->id << 24; return true;
    case REG_VERSION: *value = VERSION; return true;
    case REG_TPR: *value = l->tpr; return true;
    case REG_APR:
    case REG_RRD: *value = 0; return !x2apic;
    case REG_PPR: *value = lapic_ppr(l); return true;
    case REG_EOI: *value = 0; return !x2apic;
    case REG_LDR: *value = l->ldr; return true;
    case REG_DFR: *value = l->dfr; return !x2apic;
    case REG_SVR: *value = l->svr; return true;
    case REG_ISR ... REG_ISR + 7: *value = l->isr[reg - REG_ISR]; return true;
    case REG_TMR ... REG_TMR + 7: *value = l->tmr[reg - REG_TMR]; return true;
    case REG_IRR ... REG_IRR + 7: *value = l->irr[reg - REG_IRR]; return true;
    case REG_ESR: *value = l->esr; return true;
    case REG_ICR: *value = l->icr_low; return true;
    case REG_ICR_HIGH: *value = l->icr_high; return !x2apic;
    case REG_LVT ... REG_LVT_LAST: *value = l->lvt[reg - REG_LVT]; return true;
    case REG_INITIAL: *value = l->initial; return true;
    case REG_CURRENT: *value = lapic_timer_current(l); return true;
    case REG_DIVIDE: *value = l->divide; return true;
    }
    *value = 0;
    return false;
}

// It may take interrupts now that it refused before.
static void takes_more(struct lapic *l) {
    ioapic_retry(l->device.machine->ioapic);
}

static void write_svr(struct lapic *l, uint32_t value) {
    l->svr = value & 0x3ff;
    if (!(l->svr & SVR_ENABLE))
        for (unsigned i = 0; i < LVT_COUNT; i++)
            l->lvt[i] |= LVT_MASKED;
    takes_more(l);
}

static void write_lvt(struct lapic *l, unsigned i, uint32_t value) {
    value &= lvt_writable[i];
    if (!(l->svr & SVR_ENABLE))
        value |= LVT_MASKED;
    if (i == LVT_TIMER)
        lapic_timer_set_lvt(l, value);
    else
        l->lvt[i] = value;
}

// False: there is no such register, or it cannot be written.
static bool write_register(struct lapic *l, unsigned reg, uint32_t value) {
    switch (reg) {
    case REG_ID: return !lapic_x2apic(l); // ours is fixed
    case REG_TPR: l->tpr = value & 0xff; return true;
    case REG_EOI: end_of_interrupt(l); return true;
    case REG_LDR:
        if (lapic_x2apic(l))
            return false;
        l->ldr = value & 0xff000000;
        takes_more(l);
        return true;
    case REG_DFR:
        if (lapic_x2apic(l))
            return false;
        l->dfr = value | 0x0fffffff;
        takes_more(l);
        return true;
    case REG_SVR: write_svr(l, value); return true;
    case REG_ESR: // a write makes the errors since the last one readable
        l->esr = l->esr_collected;
        l->esr_collected = 0;
        return true;
    case REG_ICR:
        l->icr_low = value & ICR_WRITABLE;
        lapic_command(l);
        return true;
    case REG_ICR_HIGH: l->icr_high = value & 0xff000000; return true;
    case REG_LVT ... REG_LVT_LAST: write_lvt(l, reg - REG_LVT, value); return true;
    case REG_INITIAL: lapic_timer_set_initial(l, value); return true;
    case REG_DIVIDE: lapic_timer_set_divide(l, value); return true;
    }
    return false;
}

uint64_t lapic_read(struct lapic *l, unsigned offset, unsigned width) {
    uint32_t value;
    if (!read_register(l, offset >> 4, &value))
        lapic_error(l, ESR_REGISTER);
    unsigned byte = offset &
                    15; // bytes of the 32-bit register; the rest of the 16 is undefined, zero here
    return byte < 4 ? (uint64_t)value >> byte * 8 : 0;
}

void lapic_write(struct lapic *l, unsigned offset, unsigned width, uint64_t value) {
    if (offset & 15) // undefined by the manual; processors ignore it
        return;
    if (!write_register(l, offset >> 4, value))
        lapic_error(l, ESR_REGISTER);
}

// ---- MSRs --------------------------------------------------------------------------------------
// Bits that must be zero in a write through an MSR.
static uint64_t reserved_bits(unsigned reg) {
    switch (reg) {
    case REG_TPR:
    case REG_SELF_IPI: return ~0xffull;
    case REG_EOI:
    case REG_ESR: return ~0ull;
    case REG_SVR: return ~0x3ffull;
    case REG_DIVIDE: return ~0xbull;
    case REG_ICR: return ~(0xffffffff00000000ull | ICR_WRITABLE | 1u << 12);
    case REG_LVT ... REG_LVT_LAST:
        return ~(uint64_t)(lvt_writable[reg - REG_LVT] | 1u << 12 | 1u << 14);
    }
    return ~0xffffffffull;
}

static bool write_x2apic(struct lapic *l, unsigned reg, uint64_t value) {
    if (value & reserved_bits(reg))
        return false;
    if (reg == REG_SELF_IPI) {
        if (value < 16)
            lapic_error(l, ESR_SEND_ILLEGAL);
        else if (lapic_enabled(l))
            lapic_accept(l, value, false);
        return true;
    }
    if (reg == REG_ICR)
        l->icr_high = value >> 32;
    return reg != REG_ICR_HIGH && write_register(l, reg, value);
}

static bool write_base(struct lapic *l, uint64_t value) {
    uint64_t modes = APIC_BASE_ENABLE | APIC_BASE_X2APIC, old = l->base & modes,
             wanted = value & modes;
    // Allowed: off to xAPIC, xAPIC to x2APIC, any to off (SDM vol. 3, "x2APIC State Transitions").
    bool allowed = wanted == old || wanted == 0 || (old == 0 && wanted == APIC_BASE_ENABLE) ||
                   (old == APIC_BASE_ENABLE && wanted == modes);
    if ((value & ~BASE_WRITABLE) || !allowed)
        return false;
    l->base = (value & ~APIC_BASE_BSP) | (l->base & APIC_BASE_BSP);
    if (wanted == 0 && old)
        lapic_init_reset(l);
    if (wanted == modes)
        l->ldr = l->id >> 4 << 16 | 1u << (l->id & 15);
    takes_more(l);
    return true;
}

bool lapic_write_msr(struct lapic *l, uint32_t index, uint64_t value) {
    if (index == MSR_APIC_BASE)
        return write_base(l, value);
    if (index == MSR_TSC_DEADLINE) {
        lapic_timer_set_deadline(l, value);
        return true;
    }
    return lapic_x2apic(l) && index - MSR_X2APIC < 0x100 &&
           write_x2apic(l, index - MSR_X2APIC, value);
}

bool lapic_read_msr(struct lapic *l, uint32_t index, uint64_t *value) {
    if (index == MSR_APIC_BASE) {
        *value = l->base;
        return true;
    }
    if (index == MSR_TSC_DEADLINE) {
        *value = l->tsc_deadline;
        return true;
    }
    uint32_t low;
    if (!lapic_x2apic(l) || index - MSR_X2APIC >= 0x100 ||
        !read_register(l, index - MSR_X2APIC, &low))
        return false;
    *value = low | (index - MSR_X2APIC == REG_ICR ? (uint64_t)l->icr_high << 32 : 0);
    return true;
}

// ---- device ------------------------------------------------------------------------------------
void lapic_init_reset(struct lapic *l) {
    l->tpr = l->esr = l->esr_collected = l->icr_low = l->icr_high = 0;
    l->ldr = lapic_x2apic(l) ? l->id >> 4 << 16 | 1u << (l->id & 15) : 0;
    l->dfr = 0xffffffff;
    l->svr = 0xff;
    memset(l->isr, 0, sizeof(l->isr));
    memset(l->tmr, 0, sizeof(l->tmr));
    memset(l->irr, 0, sizeof(l->irr));
    lapic_timer_reset(l);
    for (unsigned i = 0; i < LVT_COUNT; i++)
        l->lvt[i] = LVT_MASKED;
}

static void reset(struct device *d) {
    struct lapic *l = (struct lapic *)d;
    bool boot = l->cpu->index == 0;
    l->id = l->cpu->index;
    l->base = LAPIC_BASE | APIC_BASE_ENABLE | (boot ? APIC_BASE_BSP : 0);
    l->lint0 = false;
    lapic_init_reset(l);
    if (boot) { // "virtual wire" mode, which firmware leaves: the 8259s reach the boot processor
        l->lvt[LVT_LINT0] = APIC_EXTINT << 8;
        l->lvt[LVT_LINT1] = APIC_NMI << 8;
    }
}

static void state(struct device *d, struct state_visitor *v) {
    struct lapic *l = (struct lapic *)d;
    STATE(v, l, base);
    STATE(v, l, id);
    STATE(v, l, tpr);
    STATE(v, l, ldr);
    STATE(v, l, dfr);
    STATE(v, l, svr);
    STATE(v, l, esr);
    STATE(v, l, esr_collected);
    STATE(v, l, icr_low);
    STATE(v, l, icr_high);
    STATE(v, l, isr);
    STATE(v, l, tmr);
    STATE(v, l, irr);
    STATE(v, l, lvt);
    STATE(v, l, lint0);
    STATE(v, l, initial);
    STATE(v, l, divide);
    STATE(v, l, start);
    STATE(v, l, tsc_deadline);
    STATE(v, l, timer.deadline);
}

static void loaded(struct device *d) {
    struct lapic *l = (struct lapic *)d;
    vtimer_restore(&l->timer);
}

static const struct device_ops ops = {
    .name = "lapic",
    .reset = reset,
    .state = state,
    .loaded = loaded,
    .nondeterminism =
        "none: the timer counts virtual time, everything else is asked for by the guest",
};

void lapic_create(struct cpu *c) {
    struct lapic *l = calloc(1, sizeof(*l));
    l->cpu = c;
    c->lapic = l;
    device_register(c->machine, &l->device, &ops);
    lapic_timer_init(l);
}
