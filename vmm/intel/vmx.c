// VT-x on each processor, and the life of a VMCS: VMXON, one VMCS per vCPU, moved between processors.
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

// cpu->vmm points to this.
struct vmx_cpu {
    void *vmxon;         // region
    bool on;             // in VMX operation
    struct vcpu *loaded; // whose VMCS is current here
};

static bool vmxon(paddr_t region) {
    bool failed;
    __asm__ volatile("vmxon %1" : "=@ccna"(failed) : "m"(region) : "memory");
    return !failed;
}
static void vmclear(paddr_t region) {
    bool failed;
    __asm__ volatile("vmclear %1" : "=@ccna"(failed) : "m"(region) : "memory");
    ASSERT(!failed);
}
static void vmptrld(paddr_t region) {
    bool failed;
    __asm__ volatile("vmptrld %1" : "=@ccna"(failed) : "m"(region) : "memory");
    ASSERT(!failed);
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

// Puts the VMCS back into memory on the processor that holds it. Interrupts off there.
static void clear_here(void *arg) {
    struct vcpu *v = arg;
    struct vmx_cpu *x = this_cpu()->vmm;
    if (v->hw_cpu != (int)this_cpu()->id)
        return;
    vmclear(vmx_of(v)->vmcs);
    if (x->loaded == v)
        x->loaded = NULL;
    vmx_of(v)->passage.launched = 0;
    __atomic_store_n(&v->hw_cpu, -1, __ATOMIC_RELEASE);
}

// The vCPU's lock is held, so it runs nowhere; its VMCS may still be active on another processor.
static void vmx_vcpu_unload(struct vcpu *v) {
    irq_push();
    bool here = v->hw_cpu == (int)this_cpu()->id;
    if (here)
        clear_here(v);
    irq_pop();
    if (v->hw_cpu >= 0)
        smp_call_others(clear_here, v);
}

static void make_current(struct vcpu *v) {
    struct vmx_cpu *x = this_cpu()->vmm;
    bool moved = v->hw_cpu != (int)this_cpu()->id;
    ASSERTF(!moved || v->hw_cpu < 0, "the VMCS of a vCPU is still active on processor %d",
            v->hw_cpu);
    vmptrld(vmx_of(v)->vmcs);
    x->loaded = v;
    if (moved) {
        v->hw_cpu = this_cpu()->id;
        vmx_write_host_state(v);
        vmx_flush_vpid(vmx_of(v)->vpid); // what an earlier stay here left behind
    }
}

static void vmx_vcpu_load(struct vcpu *v) {
    vmx_load_guest_msrs(v);
    if (unlikely(((struct vmx_cpu *)this_cpu()->vmm)->loaded != v))
        make_current(v);
    vmx_set_host_state(v);
}

// VPIDs in use, a bit each; 0 is the host's (SDM vol. 3, "Virtual-Processor Identifiers").
#define VPID_COUNT 65536u
static uint64_t vpids[VPID_COUNT / 64] = {1};
static struct spinlock vpid_lock = SPINLOCK_INIT;

// 0: none is left.
static uint16_t vpid_alloc(void) {
    uint16_t vpid = 0;
    spin_lock(&vpid_lock);
    for (unsigned i = 0; i < ARRAY_SIZE(vpids) && !vpid; i++)
        if (~vpids[i]) {
            vpid = i * 64 + __builtin_ctzll(~vpids[i]);
            vpids[i] |= BIT(vpid % 64);
        }
    spin_unlock(&vpid_lock);
    return vpid;
}

static void vpid_free(uint16_t vpid) {
    spin_lock(&vpid_lock);
    vpids[vpid / 64] &= ~BIT(vpid % 64);
    spin_unlock(&vpid_lock);
}

static int vmx_vcpu_init(struct vcpu *v) {
    struct vmx_vcpu *x = kzalloc(sizeof(*x));
    void *region = pages_alloc(0), *bitmap = pages_alloc(0);
    uint16_t vpid = vpid_alloc();
    if (!x || !region || !bitmap || !vpid) {
        if (vpid)
            vpid_free(vpid);
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
    vmclear(x->vmcs); // initialises a new region
    make_current(v);  // and flushes what the last user of this VPID left
    vmx_vmcs_init(v);
    irq_pop();
    return 0;
}

static void vmx_vcpu_free(struct vcpu *v) {
    struct vmx_vcpu *x = v->arch;
    vmx_vcpu_unload(v);
    pages_free(phys_to_virt(x->vmcs));
    pages_free(x->msr_bitmap);
    vpid_free(x->vpid);
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
    .run_on = vmx_run_on,
    .flush_stage2 = vmx_flush_stage2,
    .flush_guest = vmx_flush_guest,
    .cr_limits = vmx_cr_limits,
    .pass_msr = vmx_pass_msr,
    .explain = vmx_explain,
};
