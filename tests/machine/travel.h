// What programs that drive a timeline over a replayed machine share: the machine's process, places, travel.
#pragma once
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "replay/server.h"
#include "replay/timeline.h"
#include "tests/machine/check.h"
#include "vmm/machine/config.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/options.h"

static struct timeline *t;

static inline uint64_t random_below(uint64_t n) {
    static uint64_t state = 1;
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 16) % n;
}

// ---- the machine's process ----------------------------------------------------------------------------
static inline void serve(int socket, int argc, char **argv) {
    struct config config;
    static int status;
    config_init(&config);
    if (options_parse(&config, argc, argv) != OPTIONS_RUN)
        _exit(2);
    struct machine *m = machine_create(&config);
    if (!m || debug_create(m, &status) || machine_power_on(m))
        _exit(2);
    server_run(socket, &debug_ops, m);
    _exit(0);
}

// argv[1] and on: vmx's options.
static inline struct remote start_machine(int argc, char **argv) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        exit(2);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        serve(ends[1], argc, argv);
    }
    close(ends[1]);
    return (struct remote){ends[0], pid};
}

// ---- places -------------------------------------------------------------------------------------------
static inline struct position now(void) {
    return *timeline_now(t);
}

static inline int compare(const struct position *a, const struct position *b) {
    if (a->v != b->v)
        return a->v < b->v ? -1 : 1;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return (int)a->deliveries - (int)b->deliveries;
}

static inline bool step(void) {
    struct run_result r;
    timeline_step(t, now().cpu, false, &r);
    return r.end == RAN_STEP;
}

// ---- breakpoints on the handlers of the guest's 64-bit IDT ---------------------------------------------
#define VECTOR_PF      14
#define VECTOR_DEVICES 32
#define VECTORS        256

// 0: there is none.
static inline uint64_t handler_address(uint64_t idt, unsigned vector) {
    uint8_t gate[16] = {0};
    uint64_t address;
    remote_read_memory(timeline_machine(t), 0, SPACE_LINEAR, idt + vector * 16, gate, 16);
    address = gate[0] | gate[1] << 8 | gate[6] << 16 | (uint64_t)gate[7] << 24;
    memcpy((char *)&address + 4, gate + 8, 4);
    return address;
}

static inline bool break_at(uint64_t address, enum break_kind kind) {
    struct breakpoint b = {.kind = kind, .address = address, .cr3 = ANY_CR3};
    return address && timeline_add_breakpoint(t, &b) == 0;
}

// How many handlers there are.
static inline unsigned break_at_vectors(uint64_t idt, unsigned first, unsigned last) {
    unsigned n = 0;
    for (unsigned i = first; i <= last; i++)
        n += break_at(handler_address(idt, i), BREAK_SOFTWARE);
    return n;
}
