#include "vmm/machine/exit_clock.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include "replay/inputs.h"
#include "vmm/machine/config.h"
#include "vmm/machine/cpu.h"

static volatile sig_atomic_t quiet; // seconds since the guest's last exit

static void on_signal(int signal) {
    quiet++; // and KVM_RUN returns, so that somebody looks at it
}

void exit_clock_start(struct machine *m) {
    struct sigaction action = {.sa_handler = on_signal};
    struct itimerspec second = {.it_value.tv_sec = 1, .it_interval.tv_sec = 1};
    timer_t timer;
    if (m->config->replay)
        return; // what was recorded did not take too long
    sigaction(SIGALRM, &action, NULL);
    timer_create(CLOCK_MONOTONIC, NULL, &timer);
    timer_settime(timer, 0, &second, NULL);
}

static bool too_quiet(struct machine *m) {
    if (m->config->replay || (unsigned)quiet < m->config->silence)
        return false;
    machine_stop(m, MACHINE_SILENT,
                 "the guest has made no exit for %u s; with clock none nothing can be delivered to "
                 "it, and the run ends at its exit %llu (-silence sets the time)",
                 m->config->silence, (unsigned long long)m->count);
    return true;
}

int exit_clock_run(struct cpu *c) {
    bool finishing = c->run->immediate_exit; // an access, and nothing after it
    int error;
    c->chrono->control = CHRONO_TRAP_TSC | CHRONO_TRAP_PAUSE;
    quiet = 0;
    do
        error = ioctl(c->fd, KVM_RUN, 0) < 0 ? -errno : 0;
    while ((error == -EINTR || error == -EAGAIN) && !finishing && !too_quiet(c->machine));
    return error;
}

void exit_clock_follow(struct machine *m, const struct landmark *at) {
    uint64_t anchor = inputs_anchor(m->inputs, at, m->anchor);
    if (anchor == m->anchor)
        return;
    m->anchor = anchor;
    m->next_stop = m->count; // the end of a slice
}
