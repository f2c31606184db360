// The CMOS clock's formats (MC146818A data sheet) and the calendar.
#include "drivers/rtc.h"

#define B_24_HOURS 0x02
#define B_BINARY   0x04
#define HOUR_PM    0x80

static unsigned from_bcd(uint8_t v) {
    return (v >> 4) * 10 + (v & 15);
}
static uint8_t to_bcd(unsigned v) {
    return v / 10 << 4 | v % 10;
}

static bool leap(unsigned year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static unsigned days_in(unsigned month, unsigned year) {
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && leap(year));
}

bool rtc_decode(const struct rtc_registers *r, struct rtc_time *t) {
    bool binary = r->b & B_BINARY;
#define NUMBER(v) (binary ? (v) : from_bcd(v))
    t->second = NUMBER(r->second);
    t->minute = NUMBER(r->minute);
    t->hour = NUMBER(r->hour & ~HOUR_PM);
    t->day = NUMBER(r->day);
    t->month = NUMBER(r->month);
    t->year = NUMBER(r->year);
    unsigned century = NUMBER(r->century);
#undef NUMBER
    if (!(r->b & B_24_HOURS)) {
        if (t->hour < 1 || t->hour > 12)
            return false;
        t->hour = t->hour % 12 + (r->hour & HOUR_PM ? 12 : 0);
    }
    // A register that holds no century: the clock was never built to show more than 1970–2069.
    t->year += century >= 19 && century <= 29 ? century * 100 : t->year < 70 ? 2000 : 1900;
    return t->month >= 1 && t->month <= 12 && t->day >= 1 && t->day <= days_in(t->month, t->year) &&
           t->hour < 24 && t->minute < 60 && t->second < 60;
}

void rtc_encode(const struct rtc_time *t, struct rtc_registers *r) {
    bool binary = r->b & B_BINARY;
    bool half = !(r->b & B_24_HOURS);
    unsigned hour = half ? (t->hour % 12 ? t->hour % 12 : 12) : t->hour;
#define CODE(v) (binary ? (uint8_t)(v) : to_bcd(v))
    r->second = CODE(t->second);
    r->minute = CODE(t->minute);
    r->hour = CODE(hour) | (half && t->hour >= 12 ? HOUR_PM : 0);
    r->day = CODE(t->day);
    r->month = CODE(t->month);
    r->year = CODE(t->year % 100);
    r->century = CODE(t->year / 100);
#undef CODE
}

// Days since 1970 of the first of January of a year.
static int64_t days_before(unsigned year) {
    int64_t y = (int64_t)year - 1;
    return y * 365 + y / 4 - y / 100 + y / 400 - 719162;
}

int64_t rtc_to_seconds(const struct rtc_time *t) {
    int64_t days = days_before(t->year) + t->day - 1;
    for (unsigned m = 1; m < t->month; m++)
        days += days_in(m, t->year);
    return ((days * 24 + t->hour) * 60 + t->minute) * 60 + t->second;
}

void rtc_from_seconds(int64_t seconds, struct rtc_time *t) {
    int64_t days = seconds / 86400, rest = seconds % 86400;
    t->hour = rest / 3600;
    t->minute = rest / 60 % 60;
    t->second = rest % 60;
    t->year = 1970 + days / 366; // at most a few years too early
    while (days_before(t->year + 1) <= days)
        t->year++;
    days -= days_before(t->year);
    t->month = 1;
    while (days >= days_in(t->month, t->year))
        days -= days_in(t->month++, t->year);
    t->day = days + 1;
}
