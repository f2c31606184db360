// What a machine consists of, on one page, and its life from power-on to power-off.
#include "vmm/machine/machine.h"
#include "vmm/machine/recording.h"
#include "vmm/machine/statistics.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "replay/inputs.h"
#include "vmm/machine/acpi_pm.h"
#include "vmm/machine/chipset.h"
#include "vmm/machine/config.h"
#include "vmm/machine/cpu.h"
#include "vmm/machine/disk.h"
#include "vmm/machine/display.h"
#include "vmm/machine/exit_clock.h"
#include "vmm/machine/guest.h"
#include "vmm/machine/hash.h"
#include "vmm/machine/ide.h"
#include "vmm/machine/inject.h"
#include "vmm/machine/ioapic.h"
#include "vmm/machine/lapic.h"
#include "vmm/machine/output.h"
#include "vmm/machine/pci.h"
#include "vmm/machine/pic.h"
#include "vmm/machine/pit.h"
#include "vmm/machine/ports.h"
#include "vmm/machine/ps2.h"
#include "vmm/machine/rtc.h"
#include "vmm/machine/uart.h"
#include "vmm/machine/vga.h"
#include "vmm/machine/virtio_blk.h"
#include "vmm/machine/virtio_console.h"
#include "vmm/machine/virtio_rng.h"

#define TSS_ADDRESS 0xfffbd000ul // three pages that KVM on older Intel processors wants for itself

static struct output *open_output(struct machine *m, const char *spec) {
    char error[256];
    struct output *o = spec ? output_open(spec, error, sizeof(error)) : NULL;
    if (spec && !o)
        machine_stop(m, MACHINE_FAILED, "output %s", error);
    return o;
}

static struct disk *open_disk(struct machine *m, const struct config_disk *config) {
    struct disk_options options = {
        .path = config->path,
        .overlay = config->overlay,
        .mode = config->read_only   ? DISK_READ_ONLY
                : m->config->replay ? DISK_PRIVATE
                : config->overlay   ? DISK_OVERLAY
                : config->private   ? DISK_PRIVATE
                                    : DISK_WRITABLE,
        .errors_end_machine = m->config->record || m->config->replay,
    };
    char error[256];
    struct disk *d = disk_open(m, &options, error, sizeof(error));
    if (!d)
        machine_stop(m, MACHINE_FAILED, "%s", error);
    return d;
}

static void create_disks(struct machine *m) {
    struct disk *ide[IDE_CHANNELS * IDE_DRIVES] = {NULL};
    unsigned ide_count = 0;
    for (unsigned i = 0; i < m->config->disk_count; i++) {
        const struct config_disk *config = &m->config->disks[i];
        if (config->interface == DISK_IDE && ide_count == IDE_CHANNELS * IDE_DRIVES) {
            machine_stop(m, MACHINE_FAILED, "disk '%s': there are four IDE disks already",
                         config->path);
            return;
        }
        struct disk *d = open_disk(m, config);
        if (!d)
            return;
        if (config->interface == DISK_IDE)
            ide[ide_count++] = d;
        else
            virtio_blk_create(m, d);
    }
    if (ide_count)
        ide_create(m, ide);
}

// The whole machine, in the order of everything that has an order: reset, state, timers at one moment.
static void create_devices(struct machine *m) {
    const struct config *config = m->config;
    // Interrupts
    irq_create(m);
    pic_create(m);
    ioapic_create(m);
    for (unsigned i = 0; i < m->cpu_count; i++)
        lapic_create(&m->cpus[i]);
    // Time
    pit_create(m);
    rtc_create(m);
    acpi_pm_create(m);
    // Ports of the board
    for (unsigned i = 0; i < UART_COUNT; i++)
        uart_create(m, i, open_output(m, config->serial[i]));
    // A guest that runs back and forth, or twice side by side, has no screen to be looked at.
    bool shown = !config->gdb && !config->bisect;
    struct output *screen = open_output(m, shown ? config->display : NULL);
    ps2_create(m, screen);
    vga_create(m);
    display_create(m, screen);
    ports_create(m, open_output(m, config->debug));
    // PCI
    if (config->pci) {
        pci_create(m);
        chipset_create(m);
        virtio_rng_create(m);
        if (config->console)
            virtio_console_create(m, open_output(m, config->console));
    }
    create_disks(m);
}

// ---- creation ----------------------------------------------------------------------------------
static int open_kvm(struct machine *m) {
    m->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (m->kvm_fd < 0) {
        machine_log(m, "/dev/kvm: %s: this machine has no usable hardware virtualization",
                    strerror(errno));
        return -errno;
    }
    int version = ioctl(m->kvm_fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) {
        machine_log(m, "/dev/kvm has version %d, not %d", version, KVM_API_VERSION);
        return -EINVAL;
    }
    m->vm_fd = ioctl(m->kvm_fd, KVM_CREATE_VM, 0);
    if (m->vm_fd < 0) {
        machine_log(m, "KVM does not create a VM: %s", strerror(errno));
        return -errno;
    }
    ioctl(m->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS);
    return 0;
}

// With our extension and an exact clock the guest is stopped at counts; otherwise time is the host's, or, where a run
// is to be repeated, passes by exits. 0, or -errno after a message.
static int choose_clock(struct machine *m) {
    const struct config *c = m->config;
    struct chrono_clock clock;
    if (ioctl(m->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_CHRONO) != CHRONO_VERSION ||
        ioctl(m->kvm_fd, CHRONO_GET_CLOCK, &clock) < 0) {
        if (c->clock_none)
            machine_log(m, "clock none needs Chronovisor's /dev/kvm");
        return c->clock_none ? -ENOTSUP : 0;
    }
    m->extension = true;
    m->steps_in_shadow = clock.steps_in_shadow;
    m->exact = clock.kind != CHRONO_CLOCK_NONE && !c->clock_none && !c->clock_host;
    m->by_exits = !m->exact && (c->clock_none || c->record || c->replay);
    if (m->exact || m->by_exits)
        m->hz = clock.tick_hz;
    if (m->by_exits && !c->clock_none)
        machine_log(m, "there is no instruction clock here: time passes by exits (clock none)");
    return 0;
}

static int create_vcpus(struct machine *m) {
    for (unsigned i = 0; i < m->cpu_count; i++) {
        int error = cpu_create(m, i);
        if (error)
            return error;
    }
    if (m->by_exits)
        exit_clock_start(m);
    else if (!m->exact)
        plain_start(m);
    return 0;
}

static int create(struct machine *m) {
    int error = open_kvm(m);
    if (error)
        return error;
    if ((error = choose_clock(m)) || (error = recording_set_hz(m)) ||
        (error = memory_create(m, m->config->memory)) || (error = msr_setup(m)) ||
        (error = create_vcpus(m)))
        return error;
    if (m->config->trace && (error = exits_trace(m, m->config->trace))) {
        machine_log(m, "%s: %s", m->config->trace, strerror(-error));
        return error;
    }
    m->guest = guest_open(m, m->config);
    m->inputs = recording_open(m);
    if (!m->guest || !m->inputs)
        return -EINVAL;
    create_devices(m);
    error = inject_create(m);
    return m->end == MACHINE_RUNNING ? error : -EINVAL;
}

struct machine *machine_create(const struct config *config) {
    struct machine *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->config = config;
    m->kvm_fd = m->vm_fd = -1;
    m->cpu_count = config->cpus;
    m->current = &m->cpus[0];
    if (create(m) == 0)
        return m;
    if (m->end_reason[0])
        machine_log(m, "%s", m->end_reason);
    machine_destroy(m);
    return NULL;
}

// The process ends soon after: memory, descriptors and devices go with it.
void machine_destroy(struct machine *m) {
    statistics_report(m);
    if (m->guest)
        guest_close(m->guest);
    if (m->inputs)
        inputs_free(m->inputs);
    machine_forget_state(m);
    if (m->vm_fd >= 0)
        close(m->vm_fd);
    if (m->kvm_fd >= 0)
        close(m->kvm_fd);
    free(m);
}

int machine_power_on(struct machine *m) {
    memory_clear(m);
    m->end = MACHINE_RUNNING;
    m->current = &m->cpus[0];
    m->yield = m->woken = false;
    for (struct device *d = m->devices; d; d = d->next)
        d->ops->reset(d);
    for (unsigned i = 0; i < m->cpu_count; i++)
        cpu_reset(&m->cpus[i]);
    return guest_start(m, m->guest);
}

// ---- messages ----------------------------------------------------------------------------------
void machine_stop(struct machine *m, enum machine_end end, const char *fmt, ...) {
    if (m->end != MACHINE_RUNNING) // the first reason counts
        return;
    m->end = end;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(m->end_reason, sizeof(m->end_reason), fmt, ap);
    va_end(ap);
}

static void message(struct machine *m, const char *fmt, va_list ap) {
    char text[1536]; // a crash's last exits are long lines
    vsnprintf(text, sizeof(text), fmt, ap);
    output_flush_all(); // in order with what the guest printed
    fprintf(stderr, "%s: %s\n", m->config ? m->config->name : "vmx", text);
}

void machine_log(struct machine *m, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    message(m, fmt, ap);
    va_end(ap);
}

void machine_trace(struct machine *m, const char *fmt, ...) {
    if (!m->config || !m->config->verbose)
        return;
    va_list ap;
    va_start(ap, fmt);
    message(m, fmt, ap);
    va_end(ap);
}
