// Which vCPU's VMCS is current, or active, on which processor (SDM vol. 3, "Overview of VMCS"), and what must be
// invalidated when it moves.
#include "vmm/intel/vmx.h"
#include "vmm/intel/invalidate.h"
#include "cpu/smp.h"
#include "sync/spinlock.h"

// Puts the VMCS back into memory on the processor that holds it. Interrupts off there.
static void clear_here(void *arg) {
    struct vcpu *v = arg;
    struct vmx_cpu *x = this_cpu()->vmm;
    if (v->hw_cpu != (int)this_cpu()->id)
        return;
    vmclear(vmx_of(v)->vmcs);
    if (x->loaded == v)
        x->loaded = NULL;
    v->passage.launched = 0;
    __atomic_store_n(&v->hw_cpu, -1, __ATOMIC_RELEASE);
}

// The vCPU's lock is held, so it runs nowhere; its VMCS may still be active on another processor.
void vmx_vcpu_unload(struct vcpu *v) {
    irq_push();
    bool here = v->hw_cpu == (int)this_cpu()->id;
    if (here)
        clear_here(v);
    irq_pop();
    if (v->hw_cpu >= 0)
        smp_call_others(clear_here, v);
}

void vmx_make_current(struct vcpu *v) {
    struct vmx_cpu *x = this_cpu()->vmm;
    bool moved = v->hw_cpu != (int)this_cpu()->id;
    ASSERTF(!moved || v->hw_cpu < 0, "the VMCS of a vCPU is still active on processor %d",
            v->hw_cpu);
    vmptrld(vmx_of(v)->vmcs);
    x->loaded = v;
    if (moved) {
        v->hw_cpu = this_cpu()->id;
        v->attention = true; // the next entry is vmx_run()'s, not another one like the last
        vmx_write_host_state(v);
        vmx_flush_vpid(vmx_of(v)->vpid); // what an earlier stay here left behind
    }
}

// VPIDs in use, a bit each; 0 is the host's (SDM vol. 3, "Virtual-Processor Identifiers").
#define VPID_COUNT 65536u
static uint64_t vpids[VPID_COUNT / 64] = {1};
static struct spinlock vpid_lock = SPINLOCK_INIT;

uint16_t vmx_vpid_alloc(void) {
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

void vmx_vpid_free(uint16_t vpid) {
    spin_lock(&vpid_lock);
    vpids[vpid / 64] &= ~BIT(vpid % 64);
    spin_unlock(&vpid_lock);
}
