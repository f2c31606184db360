// A new VMCS: everything that stays as it is over the life of a vCPU, and the host state.
#include "cpu/gdt.h"
#include "cpu/msr.h"
#include "cpu/x86.h"
#include "sched/world.h"
#include "vmm/intel/pmc.h"
#include "vmm/intel/vmx.h"

static void init_controls(struct vcpu *v) {
    struct vmx_vcpu *x = vmx_of(v);
    const struct vmx_controls *c = &vmx_controls;
    x->primary = c->primary;
    x->secondary = c->secondary;
    x->exception_bitmap = EXCEPTIONS_ALWAYS;
    vmcs_write32(v, PIN_CONTROLS, c->pin);
    vmcs_write32(v, PRIMARY_CONTROLS, c->primary);
    vmcs_write32(v, SECONDARY_CONTROLS, c->secondary);
    vmcs_write32(v, EXIT_CONTROLS, c->exit | (vmx_pmc_on ? EXIT_LOAD_PERF : 0));
    vmcs_write32(v, ENTRY_CONTROLS, c->entry);
    if (vmx_pmc_on) { // the counter runs in the guest alone
        vmcs_write64(v, GUEST_PERF_GLOBAL_CTRL, 1);
        vmcs_write64(v, HOST_PERF_GLOBAL_CTRL, 0);
    }
    vmcs_write32(v, EXCEPTION_BITMAP, x->exception_bitmap);
    vmcs_write32(v, PAGE_FAULT_ERROR_MASK, 0);
    vmcs_write32(v, PAGE_FAULT_ERROR_MATCH, 0);
    vmcs_write32(v, CR3_TARGET_COUNT, 0);
    vmcs_write32(v, EXIT_MSR_STORE_COUNT, 0);
    vmcs_write32(v, EXIT_MSR_LOAD_COUNT, 0);
    vmcs_write32(v, ENTRY_MSR_LOAD_COUNT, 0);
    vmcs_write32(v, ENTRY_INTERRUPTION_INFO, 0);
    vmcs_write64(v, MSR_BITMAP, virt_to_phys(x->msr_bitmap));
    vmcs_write64(v, VMCS_LINK_POINTER, UINT64_MAX);
    // EPTP: write-back (6), walk of 4 levels (3 << 3), accessed and dirty bits where they exist.
    bool ad = c->ept_vpid & BIT(21);
    vmcs_write64(v, EPT_POINTER, v->vm->root | 6 | 3 << 3 | (ad ? BIT(6) : 0));
    if (c->secondary & CPU2_VPID)
        vmcs_write16(v, VPID, x->vpid);
}

// What is the same on every processor and for every world that may run the vCPU.
static void init_host_constants(struct vcpu *v) {
    vmcs_write_natural(v, HOST_CR0, read_cr0());
    // A vCPU runs in the address space that made it alone.
    vmcs_write_natural(v, HOST_CR3, read_cr3());
    vmcs_write16(v, HOST_CS_SELECTOR, KERNEL_CS);
    vmcs_write16(v, HOST_SS_SELECTOR, KERNEL_DS);
    vmcs_write16(v, HOST_DS_SELECTOR, 0);
    vmcs_write16(v, HOST_ES_SELECTOR, 0);
    vmcs_write16(v, HOST_FS_SELECTOR, 0);
    vmcs_write16(v, HOST_GS_SELECTOR, 0);
    vmcs_write16(v, HOST_TR_SELECTOR, GDT_TSS);
    vmcs_write64(v, HOST_PAT, rdmsr(MSR_PAT));
    vmcs_write64(v, HOST_EFER, rdmsr(MSR_EFER));
    vmcs_write32(v, HOST_SYSENTER_CS, 0);
    vmcs_write_natural(v, HOST_SYSENTER_ESP, 0);
    vmcs_write_natural(v, HOST_SYSENTER_EIP, 0);
    vmcs_write_natural(v, HOST_RIP, (uint64_t)vmx_exit_point);
    vmcs_write_natural(v, HOST_RSP, (uint64_t)v); // entry.S
}

void vmx_vmcs_init(struct vcpu *v) {
    init_controls(v);
    init_host_constants(v);
    v->stale = 0;
    v->dirty = PART_ALL;
}

// What belongs to this processor: at every move of the vCPU.
void vmx_write_host_state(struct vcpu *v) {
    struct vmx_cpu *c = this_cpu()->vmm;
    vmcs_write_natural(v, HOST_GDTR_BASE, c->gdt.base);
    vmcs_write_natural(v, HOST_IDTR_BASE, c->idt.base);
    vmcs_write_natural(v, HOST_TR_BASE, (uint64_t)this_cpu()->tss);
    vmcs_write_natural(v, HOST_GS_BASE, (uint64_t)this_cpu());
    vmcs_write_natural(v, HOST_CR4, read_cr4());
    vmx_of(v)->host_fs_base = UINT64_MAX; // written before the next entry
}
