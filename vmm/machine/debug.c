// The operations of a machine for the debugger: what it is, where it stands, its memory.
#include "vmm/machine/debug.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "replay/inputs.h"
#include "vmm/machine/config.h"
#include "vmm/machine/debug_internal.h"
#include "vmm/machine/hash.h"
#include "vmm/machine/life.h"
#include "vmm/machine/recording.h"

static void info(void *target, struct target_info *i) {
    const struct machine *m = target;
    *i = (struct target_info){.kind = m->debug->kind,
                              .cpus = m->cpu_count,
                              .hz = m->hz,
                              .ram_size = m->ram_size,
                              .low_size = m->low_size,
                              .events = inputs_events(m->inputs)};
    snprintf(i->name, sizeof(i->name), "%s", m->config->name);
}

// ---- places --------------------------------------------------------------------------------------------
unsigned debug_delivered(const struct debug *d, uint64_t count) {
    return d->delivered.count == count ? d->delivered.n : 0;
}

// What happens without a tick makes another place of the same count.
void debug_switches(struct machine *m) {
    struct debug *d = m->debug;
    d->delivered.n = debug_delivered(d, m->count) + 1;
    d->delivered.count = m->count;
}

// Interrupts, NMIs and turns are known here, exceptions to the kernel. What still waits for the next entry is not
// delivered.
unsigned debug_deliveries(struct machine *m) {
    unsigned n = debug_delivered(m->debug, m->count);
    for (unsigned i = 0; i < m->cpu_count; i++)
        if (m->cpus[i].chrono->count == m->count)
            n += m->cpus[i].chrono->injected;
    if (!n)
        return 0;
    struct kvm_vcpu_events e = {0};
    ioctl(m->current->fd, KVM_GET_VCPU_EVENTS, &e);
    unsigned waiting = e.interrupt.injected + e.exception.injected +
                       (e.nmi.injected || e.nmi.pending);
    return n > waiting ? n - waiting : 0;
}

void debug_where(void *target, struct position *p) {
    struct machine *m = target;
    struct kvm_regs regs = {0};
    cpu_get_regs(m->current, &regs);
    *p = (struct position){.v = vtime_now(m),
                           .count = m->count,
                           .rip = regs.rip,
                           .rcx = regs.rcx,
                           .cpu = m->current->index,
                           .deliveries = debug_deliveries(m),
                           .event = inputs_event(m->inputs)};
}

static void interrupt(void *target) {
    const struct machine *m = target;
    m->debug->interrupted = true;
}

// ---- memory --------------------------------------------------------------------------------------------
static bool changeable(const struct machine *m) {
    return m->debug->kind == TARGET_LIVE;
}

static struct cpu *vcpu(struct machine *m, unsigned cpu) {
    return &m->cpus[cpu < m->cpu_count ? cpu : 0];
}

static long read_memory(void *target, unsigned cpu, enum target_space space, uint64_t address,
                        void *buf, size_t n) {
    struct machine *m = target;
    struct space s = space == SPACE_PHYSICAL ? debug_physical_space : debug_space(vcpu(m, cpu));
    size_t done = debug_read(m, &s, address, buf, n);
    return done || !n ? (long)done : -EFAULT;
}

static long write_memory(void *target, unsigned cpu, enum target_space space, uint64_t address,
                         const void *buf, size_t n) {
    struct machine *m = target;
    struct space s = debug_space(vcpu(m, cpu));
    size_t done = 0;
    if (!changeable(m))
        return -EPERM;
    while (done < n) {
        uint64_t at = address + done, gpa = at;
        size_t part = SPACE_PAGE - at % SPACE_PAGE;
        if (part > n - done)
            part = n - done;
        if (space == SPACE_LINEAR && !debug_translate(m, &s, at, &gpa))
            break;
        void *ram = guest_memory(m, gpa, part);
        if (!ram)
            break;
        memcpy(ram, (const uint8_t *)buf + done, part);
        done += part;
    }
    return done || !n ? (long)done : -EFAULT;
}

static int translate(void *target, unsigned cpu, uint64_t linear, uint64_t *physical) {
    struct space s = debug_space(vcpu(target, cpu));
    return debug_translate(target, &s, linear, physical) ? 0 : -EFAULT;
}

// ---- history -------------------------------------------------------------------------------------------
static uint64_t event_v(void *target, uint64_t event) {
    const struct machine *m = target;
    return inputs_event_v(m->inputs, event);
}

static uint64_t hash(void *target, bool memory) {
    return memory ? machine_hash_memory(target) : machine_hash_state(target);
}

static int go_live(void *target, const char *record, char error[256]) {
    struct machine *m = target;
    struct debug *d = m->debug;
    if (d->kind != TARGET_REPLAYING || m->end != MACHINE_RUNNING) {
        snprintf(error, 256, "only a replay that is not at its end can go on as a live VM");
        return -ENOTSUP;
    }
    struct position now;
    debug_where(m, &now);
    struct landmark at = {.count = now.count, .rip = now.rip, .rcx = now.rcx, .cpu = now.cpu};
    int r = inputs_go_live(m->inputs, *record ? record : NULL, &at, error);
    if (r)
        return r;
    d->kind = *record ? TARGET_RECORDING : TARGET_LIVE;
    inputs_hold(m->inputs);
    return 0;
}

// A child of fork() has its own memory, but its descriptors are its parent's VM: in their place come those of
// a copy. Disk images need nothing: they are read at positions, and what the guest of a replay wrote is memory.
static int adopt(struct machine *m, const struct chrono_clone *clone) {
    int size = ioctl(m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    for (unsigned i = 0; i < m->cpu_count; i++) {
        struct cpu *c = &m->cpus[i];
        if (size <= 0 || mmap(c->run, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                              clone->vcpu_fds[i], 0) == MAP_FAILED)
            return -errno;
        close(c->fd);
        c->fd = clone->vcpu_fds[i];
    }
    close(m->vm_fd);
    m->vm_fd = clone->vm_fd;
    return 0;
}

static int after_fork(void *target) {
    struct machine *m = target;
    m->trace = NULL; // one process writes it
    struct chrono_clone clone = {.vcpu_count = sizeof(clone.vcpu_fds) / sizeof(clone.vcpu_fds[0])};
    if (ioctl(m->vm_fd, CHRONO_CLONE, &clone) < 0)
        return -errno;
    return clone.vcpu_count == m->cpu_count ? adopt(m, &clone) : -EINVAL;
}

const struct target_ops debug_ops = {
    .info = info,
    .where = debug_where,
    .run = debug_run,
    .interrupt = interrupt,
    .read_registers = debug_read_registers,
    .write_registers = debug_write_registers,
    .read_memory = read_memory,
    .write_memory = write_memory,
    .translate = translate,
    .event_v = event_v,
    .hash = hash,
    .text = debug_text,
    .go_live = go_live,
    .after_fork = after_fork,
};

// ---- begin and end -------------------------------------------------------------------------------------
int debug_create(struct machine *m, int *status) {
    if (!m->exact) {
        machine_log(
            m, "a debugger needs a clock that counts the guest's instructions (clock=auto where "
               "that can be had): under clock none or host nothing can stop between two exits");
        return -ENOTSUP;
    }
    struct debug *d = calloc(1, sizeof(*d));
    if (!d) {
        machine_log(m, "no memory for the debugger");
        return -ENOMEM;
    }
    d->machine = m;
    d->status = status;
    d->delivered.count = UINT64_MAX;
    d->kind = m->config->replay   ? TARGET_REPLAYING
              : m->config->record ? TARGET_RECORDING
                                  : TARGET_LIVE;
    m->debug = d;
    inputs_hold(m->inputs);
    return 0;
}

void debug_finish(struct machine *m) {
    struct debug *d = m->debug;
    bool at_end = m->end != MACHINE_RUNNING;
    if (d->finished || (!at_end && d->kind == TARGET_REPLAYING))
        return;
    machine_stop(m, MACHINE_QUIT, "left by the debugger");
    d->finished = true;
    int status = recording_finish(m, life_status(m));
    d->differs = d->kind == TARGET_REPLAYING && status == EXIT_DIFFERS;
    *d->status = status;
}
