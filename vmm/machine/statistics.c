#include "vmm/machine/statistics.h"
#include <stdio.h>
#include <sys/ioctl.h>
#include "vmm/machine/cpu.h"
#include "vmm/machine/machine.h"

static void report_exits(struct machine *m, struct cpu *c) {
    struct chrono_exit_counts counts;
    struct chrono_costs costs;
    if (ioctl(c->fd, CHRONO_GET_EXITS, &counts) < 0 || ioctl(c->fd, CHRONO_GET_COSTS, &costs) < 0)
        return;       // a KVM without our extension
    if (!costs.exits) // it never ran
        return;
    char text[400] = "";
    int used = 0;
    for (unsigned i = 0; i < counts.kinds; i++)
        if (counts.kind[i].count && used < (int)sizeof(text) - 48)
            used += snprintf(text + used, sizeof(text) - used, "%s%s %llu", used ? ", " : "",
                             counts.kind[i].name, counts.kind[i].count);
    machine_trace(m, "vCPU %u: %llu exits (%s), %llu to vmx", c->index, costs.exits, text,
                  costs.user_exits);
}

void statistics_start(struct machine *m) {
    uint64_t v = m->exact || m->by_exits ? vtime_now(m) : m->anchor + plain_count();
    machine_trace(m, "the guest starts with TSC %llu", (unsigned long long)v);
}

void statistics_report(struct machine *m) {
    for (unsigned i = 0; i < m->cpu_count; i++)
        if (m->cpus[i].run)
            report_exits(m, &m->cpus[i]);
}
