// vmx: one virtual machine as one process. Manual: docs/man/vmx.md.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include "replay/inputs.h"
#include "vmm/machine/bisect.h"
#include "vmm/machine/display.h"
#include "vmm/machine/exits.h"
#include "vmm/machine/figures.h"
#include "vmm/machine/front.h"
#include "vmm/machine/life.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/options.h"
#include "vmm/machine/output.h"
#include "vmm/machine/recording.h"
#include "vmm/machine/until.h"
#include "vmm/machine/vga.h"

static struct inputs *inputs_to_leave;

static void on_signal(int signal) {
    inputs_leave(inputs_to_leave);
}

// The VM is left at its next stop, and the terminal is put in order.
void catch_signals(struct machine *m) {
    struct sigaction action = {.sa_handler = on_signal};
    inputs_to_leave = m->inputs;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int run(struct machine *m) {
    if (machine_power_on(m))
        return EXIT_NOT_STARTED;
    if (m->config->bisect)
        return bisect_run(m);
    if (m->config->until_given)
        return until_run(m);
    do
        machine_run(m);
    while (life_goes_on(m));
    int status = life_status(m);
    display_close(m);
    vga_tell(m);
    return recording_finish(m, status);
}

static int run_alone(const struct config *config) {
    int status = EXIT_NOT_STARTED;
    struct machine *m = machine_create(config);
    if (m) {
        catch_signals(m);
        status = run(m);
        figures_write(m);
    }
    output_close_all();
    if (m)
        machine_destroy(m);
    return status;
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
    int status = config.gdb ? front_run(&config) : run_alone(&config);
    config_free(&config);
    return status;
}
