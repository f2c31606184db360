#include "vmm/machine/until.h"
#include <stdio.h>
#include "replay/inputs.h"
#include "vmm/machine/config.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/life.h"
#include "vmm/machine/recording.h"
#include "vmm/machine/report.h"

#define LL(x) (unsigned long long)(x)

static void print_place(struct machine *m) {
    struct position p;
    debug_ops.where(m, &p);
    machine_log(m, "stopped at count %llu, V %llu, event %llu, vCPU %u, rip 0x%llx", LL(p.count),
                LL(p.v), LL(p.event), p.cpu, LL(p.rip));
    for (unsigned i = 0; i < m->cpu_count; i++)
        report_registers(m, i);
}

// What is asked for as a request; false: the log does not have it.
static bool request(struct machine *m, struct run_request *q) {
    const struct config *c = m->config;
    *q = (struct run_request){.until_count = c->until};
    if (c->until_event) {
        q->until_count = 0;
        q->until_v = inputs_event_v(m->inputs, c->until);
    }
    return q->until_v != UINT64_MAX;
}

// Goes on from here without the log that brought it here. Returns vmx's exit status.
static int leave_log(struct machine *m, int *status) {
    static const struct run_request to_the_end = {.until_count = UINT64_MAX, .until_v = UINT64_MAX};
    const struct config *c = m->config;
    struct run_result r;
    char error[256];
    if (debug_ops.go_live(m, c->record ? c->record : "", error)) {
        machine_log(m, "%s", error);
        return EXIT_NOT_STARTED;
    }
    if (c->go_live)
        debug_ops.run(m, &to_the_end, &r);
    else
        machine_stop(m, MACHINE_QUIT, "the log is cut off here");
    debug_finish(m);
    return !c->go_live && *status == EXIT_LEFT ? 0 : *status;
}

int until_run(struct machine *m) {
    const struct config *c = m->config;
    struct run_request q;
    struct run_result r;
    int status = EXIT_NOT_STARTED;
    if (debug_create(m, &status))
        return status;
    if (!request(m, &q)) {
        machine_log(m, "until: the log has no event %llu", LL(c->until));
        return EXIT_NOT_STARTED;
    }
    debug_ops.run(m, &q, &r);
    if (r.end != RAN_TO_PLACE) {
        machine_log(m, "until: the replay ended before that place: %s", r.text);
        return status ? status : EXIT_FAILED;
    }
    print_place(m);
    return c->go_live || c->record ? leave_log(m, &status) : 0;
}
