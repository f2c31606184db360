// A machine and its history in a few lines, behind the functions of replay/timeline.h and replay/remote.h: its state
// is a function of how many instructions it has executed. For what is built upon a timeline.
#pragma once
#include "replay/timeline.h"

enum {
    FAKE_CODE = 0x1000, // RIP runs through 256 addresses from here on, one a step
    FAKE_MEMORY =
        0x8000, // readable: 8 bytes, count / 16 (a write every 16th step), then 4 KB that count up
    FAKE_END = 100000, // the recording's last count
    FAKE_CPUS = 2      // vCPU 1 stands still, with RIP 0x2000
};
struct fake {
    struct target_info info;
    struct position now;
    struct target_registers registers; // of vCPU 0, as far as they are not a function of the count
    struct breakpoint points[BREAKPOINTS_MAX];
    unsigned point_count;
    struct remote_attention attention;
    uint64_t patience; // a run that meets nothing asks for attention after so many steps
    bool endless;      // it runs until it is interrupted
    unsigned freed;    // calls of timeline_free()
    char live_record[64];
    bool stepped_over_interrupts; // by the last step
};
extern struct fake fake;
// A fresh machine at count 1000 of its history.
void fake_reset(enum target_kind kind);
