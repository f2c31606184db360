// Bringing the VMM up (vmm/init.h).
#include "boot/boot_info.h"
#include "boot/main.h"
#include "cpu/smp.h"
#include "cpu/x86.h"
#include "lib/log.h"
#include "vmm/clock.h"
#include "vmm/init.h"
#include "vmm/vendor.h"

const struct vmm_vendor *vmm_vendor;

static const struct vmm_vendor *const vendors[] = {&vmx_vendor};

static uint32_t refused; // processors that could not be enabled; atomic

static void enable_here(void *arg) {
    const struct vmm_vendor *vendor = arg;
    if (vendor->cpu_enable())
        __atomic_fetch_add(&refused, 1, __ATOMIC_RELAXED);
}

static void disable_here(void *arg) {
    const struct vmm_vendor *vendor = arg;
    vendor->cpu_disable();
}

static void everywhere(void (*fn)(void *), const struct vmm_vendor *vendor) {
    irq_disable();
    fn((void *)vendor);
    irq_enable();
    smp_call_others(fn, (void *)vendor);
}

// All processors or none: a world may run a vCPU on any of them.
static bool enable(const struct vmm_vendor *vendor) {
    everywhere(enable_here, vendor);
    if (!refused)
        return true;
    everywhere(disable_here, vendor);
    return false;
}

void vmm_init(void) {
    for (unsigned i = 0; i < ARRAY_SIZE(vendors) && !vmm_vendor; i++)
        if (!vendors[i]->probe() && enable(vendors[i]))
            vmm_vendor = vendors[i];
    if (!vmm_vendor) {
        log_notice("vmm: no usable virtualization on this machine: there is no /dev/kvm");
        return;
    }
    log_info("vmm: %s on %u processor%s", vmm_vendor->name, cpu_count, cpu_count == 1 ? "" : "s");
    vmm_clock_calibrate();
    if (cmdline_has("vmm.selftest"))
        vmx_selftest();
    kvm_device_init();
}
