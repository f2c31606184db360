// Model-specific registers that are the machine's: the local APIC's. All others are KVM's.
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include "vmm/machine/cpu.h"
#include "vmm/machine/lapic.h"

#define MSR_TSC          0x10 // ours when time passes by exits
#define MSR_APIC_BASE    0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC       0x800
#define X2APIC_COUNT     0x100

int msr_setup(struct machine *m) {
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_X86_USER_SPACE_MSR,
        .args = {KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
                 KVM_MSR_EXIT_REASON_FILTER},
    };
    static uint8_t none[X2APIC_COUNT / 8]; // no access without us
    struct kvm_msr_filter filter = {
        .flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
        .ranges =
            {
                {.base = MSR_APIC_BASE, .nmsrs = 1},
                {.base = MSR_TSC_DEADLINE, .nmsrs = 1},
                {.base = MSR_X2APIC, .nmsrs = X2APIC_COUNT},
                {.base = MSR_TSC, .nmsrs = m->by_exits},
            },
    };
    for (unsigned i = 0; i < 4; i++) {
        filter.ranges[i].flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
        filter.ranges[i].bitmap = none;
    }
    if (ioctl(m->vm_fd, KVM_ENABLE_CAP, &cap) < 0 ||
        ioctl(m->vm_fd, KVM_X86_SET_MSR_FILTER, &filter) < 0) {
        machine_log(m, "KVM does not hand MSR accesses to us: %s", strerror(errno));
        return -errno;
    }
    return 0;
}

static void refuse(struct cpu *c, const char *what) {
    c->run->msr.error = 1; // general-protection fault
    machine_trace(c->machine, "vCPU %u: %s of MSR 0x%x refused", c->index, what, c->run->msr.index);
}

void msr_exit_read(struct cpu *c) {
    uint64_t value = 0;
    c->run->msr.error = 0;
    if (c->run->msr.index == MSR_TSC)
        value = vtime_now(c->machine);
    else if (!lapic_read_msr(c->lapic, c->run->msr.index, &value))
        refuse(c, "read");
    c->run->msr.data = value;
}

void msr_exit_write(struct cpu *c) {
    uint32_t index = c->run->msr.index;
    c->run->msr.error = 0;
    if (index == MSR_TSC)
        machine_trace(c->machine, "vCPU %u: the TSC keeps its time", c->index);
    else if (!lapic_write_msr(c->lapic, index, c->run->msr.data))
        refuse(c, "write");
    else if (index == MSR_APIC_BASE) // CPUID follows it
        cpu_set_msr(c, index, lapic_base(c->lapic));
}
