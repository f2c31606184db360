#include "vmm/machine/figures.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>
#include "replay/inputs.h"
#include "vmm/machine/config.h"
#include "vmm/machine/hash.h"
#include "vmm/machine/machine.h"

#define LL(x) (unsigned long long)(x)

static struct { uint64_t tsc, ns, busy_ns; } start;

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void figures_start(struct machine *m) {
    start.busy_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    start.ns = clock_ns(CLOCK_MONOTONIC);
    start.tsc = __rdtsc();
}

// The part of `ticks` of the host's TSC in which the process had a processor: the rest it waited. The guest's TSC
// does not serve, since a replay has the frequency of the recording.
static uint64_t busy_ticks(uint64_t ticks) {
    uint64_t busy = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start.busy_ns;
    uint64_t elapsed = clock_ns(CLOCK_MONOTONIC) - start.ns;
    return elapsed ? (uint64_t)((unsigned __int128)ticks * busy / elapsed) : 0;
}

void figures_write(struct machine *m) {
    if (!m->config->stats)
        return;
    uint64_t ticks = __rdtsc() - start.tsc, busy = busy_ticks(ticks);
    const struct inputs_figures *log = inputs_get_figures(m->inputs);
    FILE *f = fopen(m->config->stats, "we");
    if (!f) {
        machine_log(m, "%s: %s", m->config->stats, strerror(errno));
        return;
    }
    fprintf(f,
            "figures: instructions %llu host_ticks %llu busy_ticks %llu exits %llu events %llu "
            "results %llu checks %llu log_bytes %llu hash_bytes %llu accessed_only %llu "
            "memory_hash %016llx state_hash %016llx\n",
            LL(m->count), LL(ticks), LL(busy), LL(m->exits.total), LL(log->events),
            LL(log->results), LL(log->checks), LL(log->log_bytes), LL(log->hash_bytes),
            LL(inputs_accessed_only(m->inputs)), LL(machine_hash_memory(m)),
            LL(machine_hash_state(m)));
    fclose(f);
}
