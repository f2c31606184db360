// remote.h over mock machines in this process: a copy is a copy of the structure. Checks what machines demand of
// who drives them: no copy of one with breakpoints, nothing printed twice.
#pragma once
#include "replay/remote.h"
#include "target_mock.h"

struct fake {
    unsigned copies_max;  // so many machines fit in memory
    unsigned copies;      // there are now
    int fail_after;       // this fork from now on finds no memory; <0: none
    uint64_t printed_to;  // V up to which the machines have printed
    bool may_print_again; // a process died with what it had printed
};
extern struct fake fake;

void fake_reset(void);                                // ends all machines
struct remote fake_machine(const struct mock *begin); // a first one
struct mock *fake_mock(const struct remote *r);
void fake_kill(const struct remote *r); // the process dies; its next request shows it
