// The CMOS clock, which runs while the machine is off. It is taken to hold UTC.
#pragma once
#include "lib/compiler.h"

// Sets the wall clock from it. Boot.
void rtc_init(void);
// Writes the wall clock back into it. May be called where one may sleep.
void rtc_write_back(void);

// What the registers hold.
struct rtc_time {
    unsigned year, month, day, hour, minute, second;
};
// Registers to a date: `b` is status register B (BCD or binary, 12 or 24 hours), `century` 0 where
// the machine has none. False: not a date.
struct rtc_registers {
    uint8_t second, minute, hour, day, month, year, century, b;
};
bool rtc_decode(const struct rtc_registers *r, struct rtc_time *t);
void rtc_encode(const struct rtc_time *t, struct rtc_registers *r); // in the format that r->b says
// Seconds since 1970, and back.
int64_t rtc_to_seconds(const struct rtc_time *t);
void rtc_from_seconds(int64_t seconds, struct rtc_time *t);
