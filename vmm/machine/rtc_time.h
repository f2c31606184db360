// Calendar of the MC146818: seconds since 1970 and its registers, in BCD or binary, 12 or 24 hours.
#pragma once
#include <stdint.h>

enum {
    RTC_SECONDS,
    RTC_SECONDS_ALARM,
    RTC_MINUTES,
    RTC_MINUTES_ALARM,
    RTC_HOURS,
    RTC_HOURS_ALARM,
    RTC_WEEKDAY,
    RTC_DAY,
    RTC_MONTH,
    RTC_YEAR,
    RTC_CENTURY = 0x32
};
// The bits of register B that say how.
#define RTC_B_24_HOURS 0x02
#define RTC_B_BINARY   0x04

void rtc_time_to_registers(int64_t seconds, uint8_t *cmos, uint8_t b);
// Registers that make no sense are taken for the nearest time that does.
int64_t rtc_time_from_registers(const uint8_t *cmos, uint8_t b);
// The first second >= `from` that the alarm registers match; INT64_MAX: none.
int64_t rtc_next_alarm(int64_t from, const uint8_t *cmos, uint8_t b);
