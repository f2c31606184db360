// When cached translations must go (SDM vol. 3, "Caching Translation Information").
//
// Second-level entries that became less permissive: INVEPT for the VM's root on every processor, since
// any may have run its vCPUs. Entries that only gained rights need nothing: a stale refusal exits once
// more and is found mapped. Guest-linear translations: INVVPID of the vCPU before its next entry, on the
// processor where that takes place, which need not be the one that asks for it; a vCPU that moves to another
// processor may find old ones of its VPID there, so a move flushes as well (current.c).
#include "cpu/smp.h"
#include "vmm/intel/invalidate.h"
#include "vmm/intel/vmx.h"

static void invept_here(void *root) {
    // EPTP: as in the VMCS (vmcs_init.c); bits 11:0 do not take part in matching the context.
    vmx_invept(INVEPT_SINGLE, (paddr_t)root | 6 | 3 << 3);
}

void vmx_flush_stage2(struct vm *vm, paddr_t root) {
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        vm->vcpus[i]->costs.tlb_invalidations++;
    irq_push();
    invept_here((void *)root);
    irq_pop();
    smp_call_others(invept_here, (void *)root);
}

void vmx_flush_vpid(uint16_t vpid) {
    if (vmx_controls.secondary & CPU2_VPID)
        vmx_invvpid(INVVPID_SINGLE, vpid, 0);
}

void vmx_flush_guest(struct vcpu *v) {
    v->costs.tlb_invalidations++;
    vcpu_changed(v, PART_TRANSLATIONS); // vmx_write_parts()
}
