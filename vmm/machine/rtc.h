// MC146818 real-time clock and CMOS memory, ports 70h and 71h.
#pragma once
#include <stdint.h>
struct machine;
void rtc_create(struct machine *m);
// Sets a byte of CMOS memory (14..127) as firmware would, for loaders and disks. Kept over resets.
void rtc_set_cmos(struct machine *m, unsigned index, uint8_t value);
