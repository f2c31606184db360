// MSRs that the VMCS does not switch. The guest's stay in the processor from its first entry until the
// world returns to user mode or another world runs, so that exits which the kernel finishes itself
// cost no MSR access. Their use by the kernel is between user mode and kernel mode alone.
#include "cpu/msr.h"
#include "cpu/x86.h"
#include "sched/world.h"
#include "syscall/dispatch.h"
#include "vmm/intel/vmx.h"

static inline void change(struct vcpu *v, uint32_t msr, uint64_t from, uint64_t to) {
    if (from != to) { // WRMSR is dear
        wrmsr(msr, to);
        v->costs.msr_accesses++;
    }
}

static bool has_tsc_aux(void) {
    return vmx_controls.secondary & CPU2_RDTSCP;
}

// SYSCALL and SYSRET fault in a guest whose EFER.SCE is clear, and RDMSR exits: then the processor may
// keep the kernel's values of their MSRs.
static noinline void load_syscall_msrs(struct vcpu *v) {
    struct vmx_vcpu *x = vmx_of(v);
    struct vmx_syscall_msrs *m = &x->syscall_msrs;
    *m = (struct vmx_syscall_msrs){v->msr.star, v->msr.lstar, v->msr.cstar, v->msr.fmask};
    x->syscall_loaded = true;
    change(v, MSR_STAR, SYSCALL_STAR, m->star);
    change(v, MSR_LSTAR, (uint64_t)syscall_entry, m->lstar);
    change(v, MSR_CSTAR, 0, m->cstar);
    change(v, MSR_SFMASK, SYSCALL_FMASK, m->fmask);
}

static noinline void unload_syscall_msrs(struct vcpu *v) {
    struct vmx_vcpu *x = vmx_of(v);
    const struct vmx_syscall_msrs *m = &x->syscall_msrs;
    x->syscall_loaded = false;
    change(v, MSR_STAR, m->star, SYSCALL_STAR);
    change(v, MSR_LSTAR, m->lstar, (uint64_t)syscall_entry);
    change(v, MSR_CSTAR, m->cstar, 0);
    change(v, MSR_SFMASK, m->fmask, SYSCALL_FMASK);
}

static inline void load_guest_msrs(struct vcpu *v) {
    struct vmx_vcpu *x = vmx_of(v);
    if (x->msrs_loaded)
        return;
    x->msrs_loaded = true;
    change(v, MSR_KERNEL_GS_BASE, current->gs_base, v->msr.kernel_gs_base);
    x->tsc_aux = v->msr.tsc_aux;
    if (unlikely(x->tsc_aux) && has_tsc_aux())
        change(v, MSR_TSC_AUX, 0, x->tsc_aux);
    if (v->efer & EFER_SCE)
        load_syscall_msrs(v);
}

void vmx_vcpu_load(struct vcpu *v) {
    load_guest_msrs(v);
    if (unlikely(((struct vmx_cpu *)this_cpu()->vmm)->loaded != v))
        vmx_make_current(v);
    uint64_t fs = current->fs_base;
    if (unlikely(fs != vmx_of(v)->host_fs_base)) // of another thread
        vmcs_write_natural(v, HOST_FS_BASE, vmx_of(v)->host_fs_base = fs);
}

void vmx_msrs_changed(struct vcpu *v) {
    struct vmx_vcpu *x = vmx_of(v);
    if (!x->msrs_loaded)
        return;
    change(v, MSR_KERNEL_GS_BASE, rdmsr(MSR_KERNEL_GS_BASE), v->msr.kernel_gs_base);
    if (has_tsc_aux())
        change(v, MSR_TSC_AUX, x->tsc_aux, v->msr.tsc_aux);
    x->tsc_aux = v->msr.tsc_aux;
    if (x->syscall_loaded)
        unload_syscall_msrs(v);
    if (v->efer & EFER_SCE)
        load_syscall_msrs(v);
}

void vmx_read_kernel_gs_base(struct vcpu *v) {
    if (!vmx_of(v)->msrs_loaded)
        return;
    v->msr.kernel_gs_base = rdmsr(MSR_KERNEL_GS_BASE);
    v->costs.msr_accesses++;
}

// An exit leaves limit 0xffff in GDTR and IDTR, and user programs could load selectors from what lies behind the GDT.
// Nothing can be reached behind the IDT, whose 256 vectors are all there are, but SIDT would tell.
static void restore_table_limits(void) {
    const struct vmx_cpu *c = this_cpu()->vmm;
    __asm__ volatile("lgdt %0" ::"m"(c->gdt));
    __asm__ volatile("lidt %0" ::"m"(c->idt));
}

void vmx_vcpu_put(struct vcpu *v) {
    struct vmx_vcpu *x = vmx_of(v);
    if (!x->msrs_loaded)
        return;
    vmx_read_kernel_gs_base(v); // SWAPGS changes it without an exit
    x->msrs_loaded = false;
    change(v, MSR_KERNEL_GS_BASE, v->msr.kernel_gs_base, current->gs_base);
    if (unlikely(x->tsc_aux) && has_tsc_aux())
        change(v, MSR_TSC_AUX, x->tsc_aux, 0);
    if (x->syscall_loaded)
        unload_syscall_msrs(v);
    restore_table_limits();
}
