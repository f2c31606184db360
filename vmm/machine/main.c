// vmx: one virtual machine as one process. Manual: docs/man/vmx.md.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include "replay/inputs.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/options.h"
#include "vmm/machine/output.h"
#include "vmm/machine/recording.h"

enum { EXIT_NOT_STARTED = 125, EXIT_FAILED, EXIT_RESET, EXIT_TRIPLE_FAULT, EXIT_LEFT };

static struct inputs *inputs_to_leave;

static void on_signal(int signal) {
    inputs_leave(inputs_to_leave);
}

// A signal to end: the VM is left at its next stop, and the terminal is put in order.
static void catch_signals(struct machine *m) {
    struct sigaction action = {.sa_handler = on_signal};
    inputs_to_leave = m->inputs;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int run(struct machine *m) {
    for (;;) {
        if (machine_power_on(m))
            return EXIT_NOT_STARTED;
        switch (machine_run(m)) {
        case MACHINE_POWERED_OFF: return m->exit_status;
        case MACHINE_RESET:
            if (!m->config->reboot)
                return EXIT_RESET;
            machine_log(m, "%s; starting again", m->end_reason);
            break;
        case MACHINE_TRIPLE_FAULT: machine_log(m, "%s", m->end_reason); return EXIT_TRIPLE_FAULT;
        case MACHINE_QUIT: machine_log(m, "%s", m->end_reason); return EXIT_LEFT;
        case MACHINE_RUNNING:
        case MACHINE_FAILED: machine_log(m, "%s", m->end_reason); return EXIT_FAILED;
        }
    }
}

int main(int argc, char **argv) {
    struct config config;
    config_init(&config);
    enum options_result result = options_parse(&config, argc, argv);
    if (result != OPTIONS_RUN)
        return result == OPTIONS_DONE ? 0 : EXIT_NOT_STARTED;
    if (config.log && !freopen(config.log, "w", stderr)) {
        printf("vmx: %s: %s\n", config.log, strerror(errno));
        return EXIT_NOT_STARTED;
    }
    int status = EXIT_NOT_STARTED;
    struct machine *m = machine_create(&config);
    if (m) {
        catch_signals(m);
        status = recording_finish(m, run(m));
    }
    output_close_all();
    if (m)
        machine_destroy(m);
    config_free(&config);
    return status;
}
