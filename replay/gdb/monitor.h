// Commands behind gdb's `monitor`: for what its protocol has no packets.
#pragma once
#include "replay/gdb/debugger_internal.h"

#define MONITOR_WORDS 4
// A line in words; those that are not there are "".
struct words {
    unsigned count;
    const char *word[MONITOR_WORDS];
};
typedef void monitor_function(struct debugger *d, const struct words *w);

// monitor.c: what several of them need.
// Decimal, or hexadecimal after 0x; false after a sentence.
bool monitor_number(struct debugger *d, const char *word, uint64_t *value);
const char *monitor_error(int error); // -errno in a few words

// monitor_travel.c
monitor_function monitor_when, monitor_goto, monitor_checkpoint, monitor_list, monitor_delete,
    monitor_restart, monitor_costs, monitor_go_live;
// monitor_show.c
monitor_function monitor_events, monitor_exits, monitor_devices, monitor_memory, monitor_translate,
    monitor_arch, monitor_address_space;
