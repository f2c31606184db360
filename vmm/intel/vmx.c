// VT-x on each processor, and the life of a vCPU: VMXON, one VMCS each.
#include "vmm/intel/vmx.h"
#include "vmm/intel/invalidate.h"
#include "cpu/msr.h"
#include "cpu/smp.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/heap.h"
#include "sync/spinlock.h"
#include "vmm/clock.h"

#define FEATURE_LOCKED BIT(0)
#define FEATURE_VMX    BIT(2) // VMXON outside SMX operation

static bool vmxon(paddr_t region) {
    bool failed;
    __asm__ volatile("vmxon %1" : "=@ccna"(failed) : "m"(region) : "memory");
    return !failed;
}
// One per processor, before any of them enables: nothing is allocated with interrupts off.
static int allocate_regions(void) {
    for (unsigned i = 0; i < cpu_count; i++) {
        struct vmx_cpu *x = kzalloc(sizeof(*x));
        if (!x || !(x->vmxon = pages_alloc(0)))
            return -ENOMEM;
        *(uint32_t *)x->vmxon = vmx_controls.revision;
        cpus[i]->vmm = x;
    }
    return 0;
}

static int vmx_probe(void) {
    if (!(cpuid(1, 0).ecx & BIT(5)))
        return -ENODEV;
    uint64_t control = rdmsr(MSR_FEATURE_CONTROL);
    if ((control & FEATURE_LOCKED) && !(control & FEATURE_VMX)) {
        log_error(
            "vmm: VT-x is switched off and locked by the firmware: enable it in the BIOS set-up");
        return -ENODEV;
    }
    int err = vmx_negotiate();
    return err ? err : allocate_regions();
}

// SDM vol. 3, "Restrictions on VMX Operation": bits of CR0 and CR4 that VMXON wants set and clear.
static bool control_registers_suit(void) {
    const struct vmx_controls *c = &vmx_controls;
    uint64_t cr0 = read_cr0(), cr4 = read_cr4() | CR4_VMXE;
    return (cr0 & c->cr0_must) == c->cr0_must && !(cr0 & ~c->cr0_may) &&
           (cr4 & c->cr4_must) == c->cr4_must && !(cr4 & ~c->cr4_may);
}

static int vmx_cpu_enable(void) {
    struct cpu *c = this_cpu();
    uint64_t control = rdmsr(MSR_FEATURE_CONTROL);
    struct vmx_cpu *x = c->vmm;
    if (!(control & FEATURE_LOCKED))
        wrmsr(MSR_FEATURE_CONTROL, control |= FEATURE_VMX | FEATURE_LOCKED);
    if (!(control & FEATURE_VMX) || !control_registers_suit()) {
        log_error("vmm: processor %u: VT-x is %s (CR0 %#lx, CR4 %#lx)", c->id,
                  control & FEATURE_VMX ? "refused by its control registers"
                                        : "locked off by the firmware",
                  read_cr0(), read_cr4());
        return -EIO;
    }
    write_cr4(read_cr4() | CR4_VMXE);
    __asm__ volatile("sgdt %0" : "=m"(x->gdt));
    __asm__ volatile("sidt %0" : "=m"(x->idt));
    x->on = vmxon(virt_to_phys(x->vmxon));
    if (!x->on) {
        write_cr4(read_cr4() & ~CR4_VMXE);
        log_error("vmm: processor %u refuses VMXON", c->id);
        return -EIO;
    }
    // Whatever ran in VMX operation here before us (firmware, another VMM) left nothing behind.
    vmx_invept(INVEPT_ALL, 0);
    if (vmx_controls.secondary & CPU2_VPID)
        vmx_invvpid(INVVPID_ALL, 0, 0);
    return 0;
}

static void vmx_cpu_disable(void) {
    struct vmx_cpu *x = this_cpu()->vmm;
    if (!x || !x->on)
        return;
    ASSERT(!x->loaded);
    __asm__ volatile("vmxoff");
    write_cr4(read_cr4() & ~CR4_VMXE);
    x->on = false;
}

static int vmx_vcpu_init(struct vcpu *v) {
    struct vmx_vcpu *x = kzalloc(sizeof(*x));
    void *region = pages_alloc(0), *bitmap = pages_alloc(0);
    uint16_t vpid = vmx_vpid_alloc();
    if (!x || !region || !bitmap || !vpid) {
        if (vpid)
            vmx_vpid_free(vpid);
        kfree(x);
        pages_free(region);
        pages_free(bitmap);
        return -ENOMEM;
    }
    *(uint32_t *)region = vmx_controls.revision;
    memset(bitmap, 0xff, PAGE_SIZE); // every MSR exits until pass_msr() says otherwise
    x->vmcs = virt_to_phys(region);
    x->msr_bitmap = bitmap;
    x->vpid = vpid;
    v->arch = x;
    v->hw_cpu = -1;
    irq_push();
    vmclear(x->vmcs);    // initialises a new region
    vmx_make_current(v); // and flushes what the last user of this VPID left
    vmx_vmcs_init(v);
    irq_pop();
    return 0;
}

static void vmx_vcpu_free(struct vcpu *v) {
    struct vmx_vcpu *x = v->arch;
    vmx_vcpu_unload(v);
    pages_free(phys_to_virt(x->vmcs));
    pages_free(x->msr_bitmap);
    vmx_vpid_free(x->vpid);
    kfree(x);
    v->arch = NULL;
}

static bool vmx_has(enum vmm_ability a) {
    const struct vmx_controls *c = &vmx_controls;
    switch (a) {
    case ABILITY_STEP: return (c->primary_may & CPU_MONITOR_TRAP) && vmm_clock.step_works;
    case ABILITY_EXECUTE_ONLY: return c->ept_vpid & BIT(0);
    case ABILITY_DIRTY_BITS: return c->ept_vpid & BIT(21);
    }
    return false;
}

static void vmx_cr_limits(uint64_t *cr0_must, uint64_t *cr0_may, uint64_t *cr4_must,
                          uint64_t *cr4_may) {
    // An unrestricted guest may clear PE and PG (SDM vol. 3, "Unrestricted Guests"); NE and VMXE are set
    // by us behind the guest's back.
    *cr0_must = 0;
    *cr0_may = vmx_controls.cr0_may;
    *cr4_must = 0;
    *cr4_may = vmx_controls.cr4_may & ~CR4_VMXE;
}

// SDM vol. 3, "MSR-Bitmap Address": reads of low and high MSRs, then writes of low and high.
static void vmx_pass_msr(struct vcpu *v, uint32_t msr, bool read, bool write) {
    uint8_t *map = vmx_of(v)->msr_bitmap;
    ASSERT(msr < 0x2000 || (msr >= 0xc0000000 && msr < 0xc0002000));
    unsigned bit = (msr & 0x1fff) + (msr >= 0xc0000000 ? 0x2000 : 0);
    for (unsigned w = 0; w < 2; w++) {
        uint8_t *byte = map + w * 2048 + bit / 8, mask = 1u << bit % 8;
        *byte = (w ? write : read) ? *byte & ~mask : *byte | mask;
    }
}

const struct vmm_vendor vmx_vendor = {
    .name = "VT-x",
    .stage2 = &ept_format,
    .probe = vmx_probe,
    .cpu_enable = vmx_cpu_enable,
    .cpu_disable = vmx_cpu_disable,
    .has = vmx_has,
    .vcpu_init = vmx_vcpu_init,
    .vcpu_free = vmx_vcpu_free,
    .vcpu_load = vmx_vcpu_load,
    .vcpu_unload = vmx_vcpu_unload,
    .vcpu_put = vmx_vcpu_put,
    .sync = vmx_sync,
    .run = vmx_run,
    .run_for = vmx_run_for,
    .run_on = vmx_run_on,
    .flush_stage2 = vmx_flush_stage2,
    .flush_guest = vmx_flush_guest,
    .cr_limits = vmx_cr_limits,
    .pass_msr = vmx_pass_msr,
    .explain = vmx_explain,
};
