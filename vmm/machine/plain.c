// Virtual time under a KVM without an instruction clock: V is the host's TSC less what it was at the start,
// as the guest's own TSC is. Stops are made by the extension, or under another KVM by a timer signal.
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>
#include "vmm/machine/cpu.h"

#define NS_PER_SECOND 1000000000ull
#define MSR_TSC       0x10

static timer_t timer;
static uint64_t armed;
static struct kvm_run *volatile running;

static void on_signal(int signal) {
    struct kvm_run *run = running;
    if (run)
        run->immediate_exit = 1; // for a signal that comes before KVM_RUN is entered
}

uint64_t plain_count(void) {
    return __rdtsc();
}

void plain_start(struct machine *m) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGALRM, &action, NULL);
    timer_create(CLOCK_MONOTONIC, NULL, &timer);
    armed = 0;
    m->count = plain_count();
    m->anchor = cpu_get_msr(&m->cpus[0], MSR_TSC) - plain_count();
}

static void arm_timer(struct machine *m, struct kvm_run *run, uint64_t stop_count) {
    running = run;
    if (stop_count == armed && plain_count() < armed)
        return;
    armed = stop_count;
    uint64_t now = plain_count(), ns = stop_count > now ? vtime_to_ns(m, stop_count - now) : 0;
    struct itimerspec when = {
        .it_value = {.tv_sec = ns / NS_PER_SECOND, .tv_nsec = ns % NS_PER_SECOND + 1}};
    timer_settime(timer, 0, &when, NULL);
}

void plain_arm(struct cpu *c, uint64_t stop_count) {
    if (!c->chrono) {
        arm_timer(c->machine, c->run, stop_count);
        return;
    }
    c->chrono->control = CHRONO_STOP_TSC;
    c->chrono->stop_count = stop_count;
}
