#include "vmm/machine/acpi_pm.h"
#include <stdlib.h>
#include "vmm/machine/machine.h"

#define PM_TIMER_HZ      3579545
#define HALF_PERIOD_BITS 31 // TMR_STS is set when bit 31 of the timer changes

// PM1 status and enable bits (ACPI 6.4, 4.8.4.1).
#define PM1_TIMER        (1u << 0)
#define PM1_GLOBAL       (1u << 5)
#define PM1_POWER_BUTTON (1u << 8)
#define PM1_SLEEP_BUTTON (1u << 9)
#define PM1_RTC          (1u << 10)
#define PM1_WAKE         (1u << 15)
#define PM1_EVENTS       (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_SLEEP_BUTTON | PM1_RTC)

#define CONTROL_SCI_ENABLE (1u << 0)
#define CONTROL_BUS_MASTER (1u << 1)
#define CONTROL_SLEEP      (1u << 13)
#define CONTROL_WRITABLE   (CONTROL_BUS_MASTER | 7u << 10)
#define CONTROL_TYPE(v)    ((v) >> 10 & 7)

struct acpi_pm {
    struct device device;
    uint16_t status, enable, control;
    uint8_t reset_control;
    uint64_t halves_seen; // half periods of the timer that have set TMR_STS
    struct vtimer timer;
    struct bus_range registers;
};

static uint64_t ticks(const struct acpi_pm *a) {
    struct machine *m = a->device.machine;
    return vtime_scale(m, vtime_now(m), PM_TIMER_HZ);
}

static void update_timer_status(struct acpi_pm *a) {
    uint64_t halves = ticks(a) >> HALF_PERIOD_BITS;
    if (halves != a->halves_seen)
        a->status |= PM1_TIMER;
    a->halves_seen = halves;
}

// The interrupt line, and the stop at which the timer will raise it.
static void update(struct acpi_pm *a) {
    struct machine *m = a->device.machine;
    update_timer_status(a);
    irq_set(m, IRQ_SCI, (a->status & a->enable & PM1_EVENTS) != 0);
    uint64_t next = UINT64_MAX;
    if (a->enable & PM1_TIMER)
        next = vtime_unscale(m, (a->halves_seen + 1) << HALF_PERIOD_BITS, PM_TIMER_HZ);
    vtimer_arm(&a->timer, next);
}

static void expired(void *o) {
    update(o);
}

static void write_control(struct acpi_pm *a, uint16_t value) {
    a->control = (value & CONTROL_WRITABLE) | CONTROL_SCI_ENABLE;
    if (!(value & CONTROL_SLEEP))
        return;
    if (CONTROL_TYPE(value) == ACPI_SLP_TYP_S5)
        machine_stop(a->device.machine, MACHINE_POWERED_OFF, "powered off by the guest");
    else
        machine_trace(a->device.machine, "the guest asks for sleep type %u, which does not exist",
                      CONTROL_TYPE(value));
}

// All registers as 32-bit words: 0 status and enable, 1 control, 2 timer.
static uint32_t read_word(struct acpi_pm *a, unsigned word) {
    switch (word) {
    case 0: update_timer_status(a); return a->status | (uint32_t)a->enable << 16;
    case 1: return a->control;
    }
    return (uint32_t)ticks(a);
}

static uint64_t registers_read(void *o, uint64_t offset, unsigned width) {
    uint64_t word = read_word(o, offset / 4);
    return word >> offset % 4 * 8 & ((1ull << width * 8) - 1);
}

static void registers_write(void *o, uint64_t offset, unsigned width, uint64_t value) {
    struct acpi_pm *a = o;
    unsigned byte = offset % 4;
    uint32_t bits = (uint32_t)value << byte * 8,
             mask = (uint32_t)(((1ull << width * 8) - 1) << byte * 8);
    if (offset < 4) {
        update_timer_status(a);
        a->status &= ~(uint16_t)bits; // status bits are cleared by writing ones
        a->enable = ((a->enable & ~(mask >> 16)) | bits >> 16) & PM1_EVENTS;
        update(a);
    } else if (offset < 8) {
        write_control(a, (a->control & ~mask) | bits);
    }
}

// Reset control register of Intel's chip sets: bit 2 going up resets; bits 1 and 3 say how.
uint8_t reset_control_read(struct machine *m) {
    return m->acpi_pm->reset_control;
}

void reset_control_write(struct machine *m, uint8_t value) {
    struct acpi_pm *a = m->acpi_pm;
    bool rises = (value & 4) && !(a->reset_control & 4);
    a->reset_control = value & 0xe;
    if (rises)
        machine_stop(m, MACHINE_RESET, "reset by the guest (port 0xcf9)");
}

// ---- device ------------------------------------------------------------------------------------
static void reset(struct device *d) {
    struct acpi_pm *a = (struct acpi_pm *)d;
    a->status = a->enable = 0;
    a->control = CONTROL_SCI_ENABLE;
    a->reset_control = 0;
    a->halves_seen = ticks(a) >> HALF_PERIOD_BITS;
    vtimer_cancel(&a->timer);
}

static void state(struct device *d, struct state_visitor *v) {
    struct acpi_pm *a = (struct acpi_pm *)d;
    STATE(v, a, status);
    STATE(v, a, enable);
    STATE(v, a, control);
    STATE(v, a, reset_control);
    STATE(v, a, halves_seen);
    STATE(v, a, timer.deadline);
}

static void loaded(struct device *d) {
    struct acpi_pm *a = (struct acpi_pm *)d;
    vtimer_restore(&a->timer);
}

static const struct device_ops ops = {
    .name = "acpi-pm",
    .reset = reset,
    .state = state,
    .loaded = loaded,
    .nondeterminism = "none: it counts virtual time, and there are no buttons",
};

void acpi_pm_create(struct machine *m) {
    struct acpi_pm *a = calloc(1, sizeof(*a));
    m->acpi_pm = a;
    device_register(m, &a->device, &ops);
    vtimer_init(m, &a->timer, expired, a);
    a->registers = (struct bus_range){.space = BUS_PORT,
                                      .base = ACPI_PM_BASE,
                                      .size = 12,
                                      .name = "acpi-pm",
                                      .max_width = 4,
                                      .read = registers_read,
                                      .write = registers_write,
                                      .opaque = a};
    bus_add(m, &a->registers);
}
