// The CMOS clock's hardware (MC146818A): index and data port, updates once a second.
#include "cpu/clock.h"
#include "cpu/x86.h"
#include "drivers/rtc.h"
#include "lib/log.h"
#include "lib/string.h"
#include "sync/spinlock.h"

#define PORT_INDEX 0x70 // bit 7 disables NMI
#define PORT_DATA  0x71
enum {
    REG_SECOND = 0,
    REG_MINUTE = 2,
    REG_HOUR = 4,
    REG_DAY = 7,
    REG_MONTH = 8,
    REG_YEAR = 9,
    REG_A = 0x0a,
    REG_B = 0x0b,
    REG_CENTURY = 0x32
};
#define A_UPDATING 0x80
#define B_SET      0x80 // updates stand still

static struct spinlock lock = SPINLOCK_INIT; // covers the index port

static uint8_t get(uint8_t reg) {
    outb(PORT_INDEX, reg);
    return inb(PORT_DATA);
}
static void put(uint8_t reg, uint8_t value) {
    outb(PORT_INDEX, reg);
    outb(PORT_DATA, value);
}

static void read_registers(struct rtc_registers *r) {
    r->second = get(REG_SECOND);
    r->minute = get(REG_MINUTE);
    r->hour = get(REG_HOUR);
    r->day = get(REG_DAY);
    r->month = get(REG_MONTH);
    r->year = get(REG_YEAR);
    r->century = get(REG_CENTURY);
    r->b = get(REG_B);
}

// An update takes 2 ms at most; the bounds are for machines without a clock.
static void wait_update(void) {
    for (int i = 0; i < 20000 && (get(REG_A) & A_UPDATING); i++)
        cpu_relax();
}

// Two equal readings outside an update: else a minute could be read before its carry.
static void read_consistent(struct rtc_registers *r) {
    struct rtc_registers again;
    spin_lock(&lock);
    for (int i = 0; i < 10; i++) {
        wait_update();
        read_registers(r);
        wait_update();
        read_registers(&again);
        if (memcmp(r, &again, sizeof(*r)) == 0)
            break;
    }
    spin_unlock(&lock);
}

void rtc_init(void) {
    struct rtc_registers r;
    struct rtc_time t;
    read_consistent(&r);
    if (!rtc_decode(&r, &t)) {
        log_warning("rtc: the clock holds no date, time starts at 1970");
        return;
    }
    clock_set_realtime((uint64_t)rtc_to_seconds(&t) * NSEC_PER_SEC);
    log_info("rtc: %04u-%02u-%02u %02u:%02u:%02u UTC", t.year, t.month, t.day, t.hour, t.minute,
             t.second);
}

void rtc_write_back(void) {
    struct rtc_registers r;
    struct rtc_time t;
    rtc_from_seconds(clock_realtime() / NSEC_PER_SEC, &t);
    spin_lock(&lock);
    read_registers(&r);
    bool has_century = r.century == 0x19 || r.century == 0x20 || r.century == 19 || r.century == 20;
    rtc_encode(&t, &r);
    put(REG_B, r.b | B_SET);
    put(REG_SECOND, r.second);
    put(REG_MINUTE, r.minute);
    put(REG_HOUR, r.hour);
    put(REG_DAY, r.day);
    put(REG_MONTH, r.month);
    put(REG_YEAR, r.year);
    if (has_century)
        put(REG_CENTURY, r.century);
    put(REG_B, r.b & ~B_SET);
    spin_unlock(&lock);
}
