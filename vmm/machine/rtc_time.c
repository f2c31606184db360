#include "vmm/machine/rtc_time.h"

#define DAY       86400
#define PM        0x80 // bit of the hours in 12-hour mode
#define DONT_CARE 0xc0 // alarm registers with both bits set match everything

static uint8_t encode(unsigned v, uint8_t b) {
    return b & RTC_B_BINARY ? v : v / 10 << 4 | v % 10;
}

static unsigned decode(uint8_t v, uint8_t b) {
    return b & RTC_B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hours(unsigned h, uint8_t b) {
    if (b & RTC_B_24_HOURS)
        return encode(h, b);
    return encode(h % 12 ? h % 12 : 12, b) | (h >= 12 ? PM : 0);
}

static unsigned decode_hours(uint8_t v, uint8_t b) {
    if (b & RTC_B_24_HOURS)
        return decode(v, b) % 24;
    return decode(v & ~PM, b) % 12 + (v & PM ? 12 : 0);
}

// Days since 1970-01-01 of a date of the Gregorian calendar. The year is counted from March, so that the
// leap day is its last; an era has 400 years.
static int64_t days_from_date(int64_t year, unsigned month, unsigned day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned year_of_era = year - era * 400;
    unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static void date_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned day_of_era = days - era * 146097;
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
                            day_of_era / 146096) /
                           365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned m = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = era * 400 + year_of_era + (*month <= 2);
}

void rtc_time_to_registers(int64_t seconds, uint8_t *cmos, uint8_t b) {
    int64_t days = seconds / DAY, year;
    int64_t rest = seconds % DAY;
    if (rest < 0) {
        rest += DAY;
        days--;
    }
    unsigned month, day;
    date_from_days(days, &year, &month, &day);
    cmos[RTC_SECONDS] = encode(rest % 60, b);
    cmos[RTC_MINUTES] = encode(rest / 60 % 60, b);
    cmos[RTC_HOURS] = encode_hours(rest / 3600, b);
    cmos[RTC_WEEKDAY] = encode(((days + 4) % 7 + 7) % 7 + 1,
                               b); // 1970-01-01 was a Thursday; Sunday is 1
    cmos[RTC_DAY] = encode(day, b);
    cmos[RTC_MONTH] = encode(month, b);
    cmos[RTC_YEAR] = encode(((year % 100) + 100) % 100, b);
    cmos[RTC_CENTURY] = encode((unsigned)(year / 100) % 100, b);
}

int64_t rtc_time_from_registers(const uint8_t *cmos, uint8_t b) {
    unsigned month = decode(cmos[RTC_MONTH], b), day = decode(cmos[RTC_DAY], b);
    unsigned year = decode(cmos[RTC_CENTURY], b) % 100 * 100 + decode(cmos[RTC_YEAR], b) % 100;
    month = month < 1 ? 1 : month > 12 ? 12 : month;
    day = day < 1 ? 1 : day > 31 ? 31 : day;
    return days_from_date(year, month, day) * DAY + decode_hours(cmos[RTC_HOURS], b) * 3600 +
           decode(cmos[RTC_MINUTES], b) % 60 * 60 + decode(cmos[RTC_SECONDS], b) % 60;
}

int64_t rtc_next_alarm(int64_t from, const uint8_t *cmos, uint8_t b) {
    uint8_t hour = cmos[RTC_HOURS_ALARM], minute = cmos[RTC_MINUTES_ALARM],
            second = cmos[RTC_SECONDS_ALARM];
    for (int64_t t = from; t < from + 2 * DAY;) {
        int64_t rest = (t % DAY + DAY) % DAY;
        if (hour < DONT_CARE && hour != encode_hours(rest / 3600, b))
            t += 3600 - rest % 3600;
        else if (minute < DONT_CARE && minute != encode(rest / 60 % 60, b))
            t += 60 - rest % 60;
        else if (second < DONT_CARE && second != encode(rest % 60, b))
            t++;
        else
            return t;
    }
    return INT64_MAX;
}
