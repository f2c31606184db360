// A deterministic little machine behind the operations of replay/target.h: two processors, a program and a log
// made from a seed. It has what is hard about going backwards: REP instructions, shadows in which nothing stops,
// interrupts that take no tick, exceptions that take one, idle time, and switches of processors.
//
// A plain structure: a copy is a checkpoint.
#pragma once
#include "replay/target.h"

#define MOCK_CPUS           2
#define MOCK_MEMORY         64     // words of 8 bytes at linear address 0
#define MOCK_CODE           0x1000 // linear address of the program's first instruction
#define MOCK_MAIN           128    // instructions; then come the handler's
#define MOCK_HANDLER_LENGTH 6

enum mock_shadow { SHADOW_NONE, SHADOW_STI, SHADOW_MOV_SS };
struct mock_cpu {
    uint32_t rip; // number of the instruction
    uint32_t return_rip;
    uint64_t rcx, acc;
    uint32_t shadow; // enum mock_shadow
    bool halted, pending, in_handler;
};
struct mock {
    uint64_t seed, anchor, count;
    uint64_t event; // number of the log's next
    uint64_t events;
    uint32_t current, cpus, deliveries;
    bool live, differs; // differs: where the log ends, the run ends in a difference
    struct mock_cpu cpu[MOCK_CPUS];
    uint64_t memory[MOCK_MEMORY];
    // Not state: what a test wants.
    uint64_t interrupt_at; // a run is interrupted when the count reaches it; UINT64_MAX: not
    void (*on_moment)(void *opaque, const struct mock *m); // a place where something could stop
    void (*on_hit)(void *opaque, const struct run_hit *hit);
    // An interrupt was delivered (enters), or a handler has returned; `m` stands behind that.
    void (*on_handler)(void *opaque, const struct mock *m, bool enters);
    void *opaque;
};

void mock_init(struct mock *m, uint64_t seed, unsigned cpus, uint64_t events);
void mock_where(const struct mock *m, struct position *p);
uint64_t mock_state(const struct mock *m); // hash of all that is state
extern const struct target_ops mock_ops;
