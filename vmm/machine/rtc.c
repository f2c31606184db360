// MC146818A real-time clock (Motorola data sheet) with 128 bytes of CMOS memory, as a PC has them.
//
// The time is the wall clock at power-on and virtual time since; registers are made from it when read.
#include "vmm/machine/rtc.h"
#include <stdlib.h>
#include "replay/inputs.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/rtc_time.h"

enum { REG_A = 10, REG_B, REG_C, REG_D, REG_COUNT };
#define A_UPDATING 0x80
#define A_DIVIDER  0x70
#define A_RATE     0x0f
#define DIVIDER_ON 0x20 // 32.768 kHz, the only time base that counts
#define B_SET      0x80
#define B_PERIODIC 0x40
#define B_ALARM    0x20
#define B_UPDATE   0x10
#define C_IRQ      0x80 // with the same bits as B for the three events
#define D_VALID    0x80

#define CMOS_CHECKSUM_FROM 0x10
#define CMOS_CHECKSUM_TO   0x2d
#define CMOS_CHECKSUM      0x2e
#define CRYSTAL_HZ         32768
#define UPDATE_TICKS       73 // "update in progress" so long before a second ends: 244 us + 1984 us
#define IRQ_RTC            8

struct rtc {
    struct device device;
    uint8_t index;
    uint8_t cmos[128]; // time registers are valid only while the clock stands
    int64_t base;      // seconds since 1970 at V = base_ticks of the crystal
    uint64_t base_ticks;
    uint64_t flags_at; // crystal ticks up to which register C has been brought
    struct vtimer timer;
    struct bus_range ports;
};

// ---- time --------------------------------------------------------------------------------------
static uint64_t ticks(const struct rtc *r) {
    struct machine *m = r->device.machine;
    return vtime_scale(m, vtime_now(m), CRYSTAL_HZ);
}

static bool stands(const struct rtc *r) {
    return (r->cmos[REG_B] & B_SET) || (r->cmos[REG_A] & A_DIVIDER) != DIVIDER_ON;
}

static int64_t seconds_at(const struct rtc *r, uint64_t t) {
    return r->base + (int64_t)(t - r->base_ticks) / CRYSTAL_HZ;
}

// Time registers from the clock, and back. Nothing while it stands: then they are the time.
static void refresh(struct rtc *r) {
    if (!stands(r))
        rtc_time_to_registers(seconds_at(r, ticks(r)), r->cmos, r->cmos[REG_B]);
}

static void set_clock(struct rtc *r, uint64_t second_began) {
    r->base = rtc_time_from_registers(r->cmos, r->cmos[REG_B]);
    r->base_ticks = second_began;
}

static uint64_t second_began(const struct rtc *r) {
    uint64_t t = ticks(r);
    return t - (t - r->base_ticks) % CRYSTAL_HZ;
}

// ---- events: register C ------------------------------------------------------------------------
// Ticks between periodic events (data sheet, table 5); 0: none.
static uint32_t period(const struct rtc *r) {
    unsigned rate = r->cmos[REG_A] & A_RATE;
    if (!rate || (r->cmos[REG_A] & A_DIVIDER) != DIVIDER_ON)
        return 0;
    return 1u << (rate <= 2 ? rate + 6 : rate - 1);
}

// The first tick after `t` at which the event happens.
static uint64_t next_event(const struct rtc *r, uint8_t event, uint64_t t) {
    if (event == B_PERIODIC)
        return period(r) ? (t / period(r) + 1) * period(r) : UINT64_MAX;
    if (stands(r))
        return UINT64_MAX;
    int64_t next = seconds_at(r, t) + 1;
    if (event == B_ALARM)
        next = rtc_next_alarm(next, r->cmos, r->cmos[REG_B]);
    return next == INT64_MAX ? UINT64_MAX : r->base_ticks + (uint64_t)(next - r->base) * CRYSTAL_HZ;
}

static const uint8_t events[] = {B_PERIODIC, B_ALARM, B_UPDATE};

// Sets the flags of what has happened since the last time, and the stop at which an enabled one will.
static void update(struct rtc *r) {
    struct machine *m = r->device.machine;
    uint64_t now = ticks(r), first = UINT64_MAX;
    for (unsigned i = 0; i < sizeof(events); i++) {
        if (next_event(r, events[i], r->flags_at) <= now)
            r->cmos[REG_C] |= events[i];
        uint64_t next = r->cmos[REG_B] & events[i] ? next_event(r, events[i], now) : UINT64_MAX;
        first = next < first ? next : first;
    }
    r->flags_at = now;
    bool irq = r->cmos[REG_C] & r->cmos[REG_B] & (B_PERIODIC | B_ALARM | B_UPDATE);
    r->cmos[REG_C] = (r->cmos[REG_C] & ~C_IRQ) | (irq ? C_IRQ : 0);
    irq_set(m, IRQ_RTC, irq);
    vtimer_arm(&r->timer, first == UINT64_MAX ? first : vtime_unscale(m, first, CRYSTAL_HZ));
}

static void expired(void *o) {
    update(o);
}

// ---- registers ---------------------------------------------------------------------------------
static bool is_time(unsigned index) {
    return index == RTC_CENTURY || index == RTC_SECONDS || index == RTC_MINUTES ||
           index == RTC_HOURS || (index >= RTC_WEEKDAY && index <= RTC_YEAR);
}

static void write_control(struct rtc *r, unsigned index, uint8_t value) {
    bool stood = stands(r);
    refresh(r);
    uint8_t old_divider = r->cmos[REG_A] & A_DIVIDER;
    r->cmos[index] = value;
    if (index == REG_A)
        r->cmos[REG_A] &= ~A_UPDATING;
    if (!stood || stands(r))
        return;
    // The clock starts. After a reset of the divider the first second takes half of one.
    bool divider = index == REG_A && old_divider != DIVIDER_ON;
    uint64_t now = ticks(r);
    set_clock(r, divider && now > CRYSTAL_HZ / 2 ? now - CRYSTAL_HZ / 2 : now);
}

static void write_register(struct rtc *r, unsigned index, uint8_t value) {
    update(r);
    if (index == REG_A || index == REG_B) {
        write_control(r, index, value);
    } else if (is_time(index)) {
        refresh(r);
        r->cmos[index] = value;
        if (!stands(r))
            set_clock(r, second_began(r));
    } else if (index != REG_C && index != REG_D) {
        r->cmos[index] = value;
    }
    update(r);
}

static uint8_t read_register(struct rtc *r, unsigned index) {
    if (is_time(index))
        refresh(r);
    if (index == REG_A) {
        bool updating = !stands(r) &&
                        (ticks(r) - r->base_ticks) % CRYSTAL_HZ >= CRYSTAL_HZ - UPDATE_TICKS;
        return r->cmos[REG_A] | (updating ? A_UPDATING : 0);
    }
    if (index == REG_C) { // reading clears it
        update(r);
        uint8_t value = r->cmos[REG_C];
        r->cmos[REG_C] = 0;
        update(r);
        return value;
    }
    return r->cmos[index];
}

static uint64_t port_read(void *o, uint64_t offset, unsigned width) {
    struct rtc *r = o;
    return offset ? read_register(r, r->index) : 0xff; // the index is write-only
}

static void port_write(void *o, uint64_t offset, unsigned width, uint64_t value) {
    struct rtc *r = o;
    if (offset)
        write_register(r, r->index, value);
    else
        r->index = value & 0x7f; // bit 7 masks NMIs, which have no source here
}

// ---- CMOS memory as firmware fills it ----------------------------------------------------------
void rtc_set_cmos(struct machine *m, unsigned index, uint8_t value) {
    struct rtc *r = m->rtc;
    if (index < REG_COUNT || index >= sizeof(r->cmos))
        return;
    r->cmos[index] = value;
    uint16_t sum = 0;
    for (unsigned i = CMOS_CHECKSUM_FROM; i <= CMOS_CHECKSUM_TO; i++)
        sum += r->cmos[i];
    r->cmos[CMOS_CHECKSUM] = sum >> 8;
    r->cmos[CMOS_CHECKSUM + 1] = sum;
}

static void set_word(struct machine *m, unsigned index, uint64_t value) {
    uint64_t word = value > 0xffff ? 0xffff : value;
    rtc_set_cmos(m, index, word);
    rtc_set_cmos(m, index + 1, word >> 8);
}

static void fill_memory_sizes(struct machine *m) {
    uint64_t low = m->low_size, high = m->ram_size - m->low_size;
    uint64_t extended = low > 1 << 20 ? (low - (1 << 20)) >> 10 : 0;
    set_word(m, 0x15, 640);      // KB of base memory
    set_word(m, 0x17, extended); // KB above 1 MB
    set_word(m, 0x30, extended);
    set_word(m, 0x34, low > 16 << 20 ? (low - (16 << 20)) >> 16 : 0); // 64 KB units above 16 MB
    rtc_set_cmos(m, 0x5b, high >> 16);                                // 64 KB units above 4 GB
    rtc_set_cmos(m, 0x5c, high >> 24);
    rtc_set_cmos(m, 0x5d, high >> 32);
    rtc_set_cmos(m, 0x14, 0x06); // equipment: coprocessor, mouse
    rtc_set_cmos(m, 0x5f, m->cpu_count - 1);
}

// ---- device ------------------------------------------------------------------------------------
// The battery keeps time and memory; only the interrupts go.
static void reset(struct device *d) {
    struct rtc *r = (struct rtc *)d;
    r->index = 0;
    r->cmos[REG_B] &= ~(B_PERIODIC | B_ALARM | B_UPDATE);
    r->cmos[REG_C] = 0;
    update(r);
}

static void state(struct device *d, struct state_visitor *v) {
    struct rtc *r = (struct rtc *)d;
    STATE(v, r, index);
    STATE(v, r, cmos);
    STATE(v, r, base);
    STATE(v, r, base_ticks);
    STATE(v, r, flags_at);
    STATE(v, r, timer.deadline);
}

static void loaded(struct device *d) {
    struct rtc *r = (struct rtc *)d;
    vtimer_restore(&r->timer);
}

static const struct device_ops ops = {
    .name = "rtc",
    .reset = reset,
    .state = state,
    .loaded = loaded,
    .nondeterminism = "the wall clock at power-on, a result of the inputs",
};

void rtc_create(struct machine *m) {
    struct rtc *r = calloc(1, sizeof(*r));
    m->rtc = r;
    device_register(m, &r->device, &ops);
    vtimer_init(m, &r->timer, expired, r);
    r->cmos[REG_A] = DIVIDER_ON | 6; // 1024 Hz, as firmware sets it
    r->cmos[REG_B] = RTC_B_24_HOURS;
    r->cmos[REG_D] = D_VALID;
    r->base_ticks = ticks(r);
    r->flags_at = r->base_ticks;
    r->base = (int64_t)inputs_wall_clock(m->inputs);
    fill_memory_sizes(m);
    r->ports = (struct bus_range){.space = BUS_PORT,
                                  .base = 0x70,
                                  .size = 2,
                                  .name = "rtc",
                                  .read = port_read,
                                  .write = port_write,
                                  .opaque = r};
    bus_add(m, &r->ports);
}
