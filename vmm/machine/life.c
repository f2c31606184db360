#include "vmm/machine/life.h"
#include "vmm/machine/config.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/report.h"

bool life_goes_on(struct machine *m) {
    if (m->end != MACHINE_RESET || !m->config->reboot)
        return false;
    machine_log(m, "%s; starting again", m->end_reason);
    if (machine_power_on(m) == 0)
        return true;
    machine_stop(m, MACHINE_FAILED, "the guest cannot be loaded again");
    return false;
}

int life_status(struct machine *m) {
    switch (m->end) {
    case MACHINE_POWERED_OFF: return m->exit_status;
    case MACHINE_RESET: return EXIT_RESET;
    case MACHINE_TRIPLE_FAULT:
        machine_log(m, "%s", m->end_reason);
        report_crash(m);
        return EXIT_TRIPLE_FAULT;
    case MACHINE_SILENT:
    case MACHINE_QUIT: machine_log(m, "%s", m->end_reason); return EXIT_LEFT;
    case MACHINE_RUNNING:
    case MACHINE_CRASHED:
    case MACHINE_FAILED: break;
    }
    machine_log(m, "%s", m->end_reason);
    return EXIT_FAILED;
}
