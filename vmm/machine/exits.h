// The last exits of a machine, for reports, and all of them as a trace.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu;
struct machine;

#define EXITS_KEPT 64
struct exit_note {
    uint64_t v, count, rip;
    uint64_t place, value; // port, address or MSR, and what was written
    uint32_t reason;       // as in kvm_run
    uint8_t cpu, size;     // size: bytes of the access, 0: none
    bool write;
};
struct exits {
    struct exit_note last[EXITS_KEPT]; // a ring
    uint64_t total;
};

// Notes the exit that kvm_run of `c` describes, before anything is done about it.
void exits_note(struct cpu *c);
// One line for each exit that is kept, the newest last: "V COUNT CPU NAME RIP ...".
void exits_text(const struct machine *m, char *buf, size_t n);
// From now on every exit is written to a file, too. 0 or -errno.
int exits_trace(struct machine *m, const char *path);
