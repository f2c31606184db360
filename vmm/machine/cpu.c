#include "vmm/machine/cpu.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "vmm/machine/debug.h"
#include "vmm/machine/exit_clock.h"
#include "vmm/machine/lapic.h"

// SDM vol. 3, "Memory Type Range Registers".
#define MSR_MTRR_PHYS_BASE0 0x200
#define MSR_MTRR_PHYS_MASK0 0x201
#define MSR_MTRR_DEF_TYPE   0x2ff
#define MTRR_UNCACHED       0
#define MTRR_WRITE_BACK     6
#define MTRR_VALID          (1u << 11)
#define MTRR_ENABLE         (1u << 11)
#define DEVICE_MEMORY       0xc0000000ull
#define DEVICE_MEMORY_SIZE  0x40000000ull

struct cpu_initial {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_fpu fpu;
    struct kvm_debugregs debug;
    struct kvm_xcrs xcrs;
    struct kvm_vcpu_events events;
};

// An ioctl that cannot fail unless the VMM or this program is wrong.
static int control(struct cpu *c, unsigned long request, void *argument, const char *name) {
    int r = ioctl(c->fd, request, argument);
    c->changes++;
    if (r < 0)
        machine_stop(c->machine, MACHINE_FAILED, "%s of vCPU %u fails: %s", name, c->index,
                     strerror(errno));
    return r;
}
#define CONTROL(c, request, argument) control(c, request, argument, #request)

void cpu_get_regs(struct cpu *c, struct kvm_regs *regs) {
    CONTROL(c, KVM_GET_REGS, regs);
}

void cpu_set_regs(struct cpu *c, const struct kvm_regs *regs) {
    CONTROL(c, KVM_SET_REGS, (void *)regs);
}

void cpu_get_sregs(struct cpu *c, struct kvm_sregs *sregs) {
    CONTROL(c, KVM_GET_SREGS, sregs);
}

void cpu_set_sregs(struct cpu *c, const struct kvm_sregs *sregs) {
    CONTROL(c, KVM_SET_SREGS, (void *)sregs);
}

union one_msr {
    struct kvm_msrs head;
    char bytes[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

uint64_t cpu_get_msr(struct cpu *c, uint32_t index) {
    union one_msr msr = {.head.nmsrs = 1};
    msr.head.entries[0].index = index;
    CONTROL(c, KVM_GET_MSRS, &msr);
    return msr.head.entries[0].data;
}

void cpu_set_msr(struct cpu *c, uint32_t index, uint64_t value) {
    union one_msr msr = {.head.nmsrs = 1};
    msr.head.entries[0].index = index;
    msr.head.entries[0].data = value;
    if (CONTROL(c, KVM_SET_MSRS, &msr) == 0)
        machine_stop(c->machine, MACHINE_FAILED, "vCPU %u: KVM refuses 0x%lx for MSR 0x%x",
                     c->index, value, index);
}

// ---- creation and reset ------------------------------------------------------------------------
static int map_run(struct cpu *c) {
    struct machine *m = c->machine;
    int size = ioctl(m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < (int)sizeof(struct kvm_run))
        return -EINVAL;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    c->run = p;
    if (m->extension && size >= CHRONO_RUN_OFFSET + (int)sizeof(struct chrono_run))
        c->chrono = (struct chrono_run *)((char *)p + CHRONO_RUN_OFFSET);
    return 0;
}

static void keep_initial(struct cpu *c) {
    struct cpu_initial *i = calloc(1, sizeof(*i));
    c->initial = i;
    cpu_get_regs(c, &i->regs);
    cpu_get_sregs(c, &i->sregs);
    CONTROL(c, KVM_GET_FPU, &i->fpu);
    CONTROL(c, KVM_GET_DEBUGREGS, &i->debug);
    CONTROL(c, KVM_GET_XCRS, &i->xcrs);
    CONTROL(c, KVM_GET_VCPU_EVENTS, &i->events);
}

static void reset_flags(struct device *d) {
    struct cpu *c = (struct cpu *)d;
    c->halted = c->nmi_pending = false;
    c->init_pending = c->sipi_pending = c->access_pending = false;
    c->waiting_for_sipi = c->index != 0;
}

static void state(struct device *d, struct state_visitor *v) {
    struct cpu *c = (struct cpu *)d;
    STATE(v, c, halted);
    STATE(v, c, waiting_for_sipi);
    STATE(v, c, nmi_pending);
    STATE(v, c, init_pending);
    STATE(v, c, sipi_pending);
    STATE(v, c, sipi_vector);
    STATE(v, c, access_pending);
}

static const struct device_ops ops = {
    .name = "cpu",
    .reset = reset_flags,
    .state = state,
    .nondeterminism = "which vCPU runs, a choice of the inputs; registers are KVM's",
};

int cpu_create(struct machine *m, unsigned index) {
    struct cpu *c = &m->cpus[index];
    device_register(m, &c->device, &ops);
    c->machine = m;
    c->index = index;
    c->fd = ioctl(m->vm_fd, KVM_CREATE_VCPU, index);
    if (c->fd < 0) {
        machine_log(m, "KVM does not create vCPU %u: %s", index, strerror(errno));
        return -errno;
    }
    int error = map_run(c);
    if (error) {
        machine_log(m, "the run structure of vCPU %u cannot be mapped: %s", index,
                    strerror(-error));
        return error;
    }
    if (!m->hz) { // no clock of our own: the guest's TSC, which is the host's
        int khz = ioctl(c->fd, KVM_GET_TSC_KHZ, 0);
        m->hz = khz > 0 ? khz * 1000ull : 0;
    }
    error = m->hz ? cpuid_setup(c) : -ENODEV;
    if (!m->hz)
        machine_log(m, "KVM does not know how fast the TSC is");
    if (error)
        return error;
    keep_initial(c);
    return m->end == MACHINE_FAILED ? -EIO : 0;
}

// What INIT and power-on have in common (SDM vol. 3, "Processor State After Reset"): INIT keeps FPU,
// XCR0 and MSRs.
static void reset_registers(struct cpu *c) {
    struct cpu_initial *i = c->initial;
    struct kvm_sregs sregs = i->sregs;
    sregs.apic_base = lapic_base(c->lapic);
    cpu_set_regs(c, &i->regs);
    cpu_set_sregs(c, &sregs);
    CONTROL(c, KVM_SET_DEBUGREGS, &i->debug);
    CONTROL(c, KVM_SET_VCPU_EVENTS, &i->events);
    c->halted = c->nmi_pending = false;
    c->run->request_interrupt_window = 0;
    c->run->ready_for_interrupt_injection = 0;
    c->run->if_flag = 0;
}

// Memory types as firmware sets them: everything write-back but for device memory below 4 GB.
static void set_mtrrs(struct cpu *c) {
    uint64_t address_mask = (1ull << c->machine->physical_bits) - 1;
    cpu_set_msr(c, MSR_MTRR_PHYS_BASE0, DEVICE_MEMORY | MTRR_UNCACHED);
    cpu_set_msr(c, MSR_MTRR_PHYS_MASK0, (address_mask & ~(DEVICE_MEMORY_SIZE - 1)) | MTRR_VALID);
    cpu_set_msr(c, MSR_MTRR_DEF_TYPE, MTRR_ENABLE | MTRR_WRITE_BACK);
}

void cpu_reset(struct cpu *c) {
    reset_registers(c);
    set_mtrrs(c);
    CONTROL(c, KVM_SET_FPU, &c->initial->fpu);
    CONTROL(c, KVM_SET_XCRS, &c->initial->xcrs);
    reset_flags(&c->device);
}

void cpu_take_signals(struct cpu *c) {
    if (c->init_pending) {
        c->init_pending = false;
        lapic_init_reset(c->lapic);
        reset_registers(c);
        c->waiting_for_sipi = c->index != 0; // the boot processor starts at the reset vector again
    }
    if (c->sipi_pending) {
        c->sipi_pending = false;
        if (!c->waiting_for_sipi)
            return;
        struct kvm_regs regs = c->initial->regs;
        struct kvm_sregs sregs;
        cpu_get_sregs(c, &sregs);
        sregs.cs.selector = c->sipi_vector << 8;
        sregs.cs.base = (uint64_t)c->sipi_vector << 12;
        regs.rip = 0;
        cpu_set_sregs(c, &sregs);
        cpu_set_regs(c, &regs);
        c->waiting_for_sipi = false;
    }
}

// ---- running -----------------------------------------------------------------------------------
bool cpu_runnable(struct cpu *c) {
    if (c->waiting_for_sipi)
        return false;
    return !c->halted || c->nmi_pending || (c->run->if_flag && irq_pending(c));
}

// Host interrupts stay masked during a slice, so that exits depend on nothing but the guest and counts.
static void set_counts(struct cpu *c, uint64_t stop_count) {
    struct machine *m = c->machine;
    c->chrono->control = CHRONO_STOP_AT | CHRONO_VTIME | CHRONO_MASK_IRQS;
    // Who waits for another processor lets it run. If none can, PAUSE is how a guest measures a delay: it would
    // take some hundred times as long.
    if (m->cpu_count > 1 && !m->alone)
        c->chrono->control |= CHRONO_TRAP_PAUSE;
    if (m->debug)
        c->chrono->control |= debug_control(c);
    c->chrono->stop_count = stop_count;
    c->chrono->vtime_base = m->anchor;
    c->chrono->count = m->count;
}

static int kvm_run(struct cpu *c) {
    return ioctl(c->fd, KVM_RUN, 0) < 0 ? -errno : 0;
}

int cpu_enter(struct cpu *c, uint64_t stop_count) {
    struct machine *m = c->machine;
    c->run->cr8 = lapic_cr8(c->lapic);
    if (m->exact)
        set_counts(c, stop_count);
    else if (!m->by_exits && !c->run->immediate_exit)
        plain_arm(c, stop_count);
    c->access_pending = false;
    c->changes++;
    int error = m->by_exits ? exit_clock_run(c) : kvm_run(c);
    m->memory_written = false;
    m->count = m->exact ? c->chrono->count : m->by_exits ? m->count + !error : plain_count();
    lapic_set_cr8(c->lapic, c->run->cr8);
    if (error && error != -EINTR && error != -EAGAIN)
        machine_stop(m, MACHINE_FAILED, "KVM_RUN of vCPU %u fails: %s", c->index, strerror(-error));
    return error == -EAGAIN ? -EINTR : error;
}

void cpu_inject(struct cpu *c, uint8_t vector) {
    struct kvm_interrupt interrupt = {.irq = vector};
    CONTROL(c, KVM_INTERRUPT, &interrupt);
}

void cpu_inject_nmi(struct cpu *c) {
    CONTROL(c, KVM_NMI, NULL);
}
