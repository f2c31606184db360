// MSRs that the VMCS does not switch. The guest's stay in the processor from its first entry until the
// world returns to user mode or another world runs, so that exits which the kernel finishes itself
// cost no MSR access. Their use by the kernel is between user mode and kernel mode alone.
#include "cpu/msr.h"
#include "cpu/x86.h"
#include "sched/world.h"
#include "syscall/dispatch.h"
#include "vmm/intel/vmx.h"

enum { KERNEL_GS_BASE = 4, TSC_AUX = 5 };
static const uint32_t numbers[SWITCHED_MSRS] = {
    MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_KERNEL_GS_BASE, MSR_TSC_AUX,
};

// How many of them this processor has: without RDTSCP there is no TSC_AUX.
static unsigned used(void) {
    return vmx_controls.secondary & CPU2_RDTSCP ? SWITCHED_MSRS : SWITCHED_MSRS - 1;
}

static struct vmx_msrs guest_msrs(const struct vcpu *v) {
    return (struct vmx_msrs){{v->msr.star, v->msr.lstar, v->msr.cstar, v->msr.fmask,
                              v->msr.kernel_gs_base, v->msr.tsc_aux}};
}

static struct vmx_msrs host_msrs(void) {
    return (struct vmx_msrs){
        {SYSCALL_STAR, (uint64_t)syscall_entry, 0, SYSCALL_FMASK, current->gs_base, 0}};
}

// WRMSR is dear: only what differs is written.
static void replace(struct vcpu *v, const struct vmx_msrs *from, const struct vmx_msrs *to) {
    for (unsigned i = 0; i < used(); i++)
        if (from->value[i] != to->value[i]) {
            wrmsr(numbers[i], to->value[i]);
            v->costs.msr_accesses++;
        }
}

void vmx_load_guest_msrs(struct vcpu *v) {
    struct vmx_vcpu *x = vmx_of(v);
    if (likely(x->msrs_loaded))
        return;
    x->msrs_loaded = true;
    struct vmx_msrs host = host_msrs();
    x->msrs = guest_msrs(v);
    replace(v, &host, &x->msrs);
}

void vmx_msrs_changed(struct vcpu *v) {
    struct vmx_vcpu *x = vmx_of(v);
    if (!x->msrs_loaded)
        return;
    struct vmx_msrs now = guest_msrs(v);
    // What the guest did itself since (SWAPGS, WRMSR without exit) is not in x->msrs.
    x->msrs.value[KERNEL_GS_BASE] = rdmsr(MSR_KERNEL_GS_BASE);
    v->costs.msr_accesses++;
    replace(v, &x->msrs, &now);
    x->msrs = now;
}

void vmx_read_kernel_gs_base(struct vcpu *v) {
    if (!vmx_of(v)->msrs_loaded)
        return;
    v->msr.kernel_gs_base = rdmsr(MSR_KERNEL_GS_BASE);
    v->costs.msr_accesses++;
}

void vmx_vcpu_put(struct vcpu *v) {
    struct vmx_vcpu *x = vmx_of(v);
    if (!x->msrs_loaded)
        return;
    vmx_read_kernel_gs_base(v); // SWAPGS changes it without an exit
    x->msrs.value[KERNEL_GS_BASE] = v->msr.kernel_gs_base;
    x->msrs_loaded = false;
    struct vmx_msrs host = host_msrs();
    replace(v, &x->msrs, &host);
    vmx_restore_table_limits();
}
