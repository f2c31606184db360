// A vCPU: creation, reset state, what exit handlers do to its registers.
#include "vmm/vcpu_parts.h"
#include "cpu/fpu.h"
#include "cpu/smp.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/heap.h"
#include "vmm/clock.h"
#include "vmm/cpuid.h"
#include "vmm/emulate.h"
#include "vmm/msr.h"
#include "vmm/skip.h"
#include "vmm/vendor.h"
#include "vmm/vm.h"
#include "vmm/wake.h"
#include "vmm/x86.h"

// MSRs that the hardware switches with the guest, or that stay the guest's while it runs: no exit.
static const uint32_t passed_msrs[] = {MSR_FS_BASE,     MSR_GS_BASE,      MSR_KERNEL_GS_BASE,
                                       MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP};

void vcpu_pass_msrs(struct vcpu *v) {
    for (unsigned i = 0; i < ARRAY_SIZE(passed_msrs); i++) {
        uint32_t msr = passed_msrs[i];
        vmm_vendor->pass_msr(v, msr, msr_filter_allows(v->vm, msr, false),
                             msr_filter_allows(v->vm, msr, true));
    }
}

static struct kvm_segment code_or_data(uint16_t selector, uint64_t base, uint8_t type) {
    return (struct kvm_segment){
        .selector = selector, .base = base, .limit = 0xffff, .type = type, .present = 1, .s = 1};
}

void vcpu_reset(struct vcpu *v) {
    memset(v->gpr, 0, sizeof(v->gpr));
    v->gpr[GPR_RDX] = CPUID_SIGNATURE;
    v->rip = 0xfff0;
    v->rflags = RFLAGS_FIXED;
    v->cr0 = CR0_CD | CR0_NW | CR0_ET;
    v->cr2 = v->cr3 = v->cr4 = v->cr8 = v->efer = 0;
    memset(v->pdpte, 0, sizeof(v->pdpte));
    v->xcr0 = 1;
    memset(v->dr, 0, sizeof(v->dr));
    v->dr6 = DR6_FIXED;
    v->dr7 = DR7_FIXED;
    for (unsigned i = 0; i < SEG_LDTR; i++)
        v->seg[i] = code_or_data(0, 0, 3);
    v->seg[SEG_CS] = code_or_data(0xf000, 0xffff0000, 11);
    v->seg[SEG_LDTR] = (struct kvm_segment){.limit = 0xffff, .type = 2, .present = 1};
    v->seg[SEG_TR] = (struct kvm_segment){.limit = 0xffff, .type = 11, .present = 1};
    v->gdt = v->idt = (struct kvm_dtable){.limit = 0xffff};
    memset(&v->msr, 0, sizeof(v->msr));
    v->msr.pat = MSR_PAT_RESET;
    v->msr.misc_enable = MISC_ENABLE_FAST_STRINGS;
    v->msr.apic_base = APIC_BASE_RESET | (v->id == 0 ? APIC_BASE_BSP : 0);
    v->interruptibility = v->activity = 0;
    v->pending_debug = 0;
    memset(&v->event, 0, sizeof(v->event));
    v->mp_state = KVM_MP_STATE_RUNNABLE;
    fpu_init_area(v->fpu);
    v->stale = 0;
    v->dirty = PART_ALL;
    vcpu_debug_changed(v);
    vcpu_features_changed(v);
}

static bool allocate(struct vcpu *v) {
    v->fpu = kzalloc(fpu_area_size());
    v->run = pages_alloc(0);
    v->pio_data = pages_alloc(0);
    v->chrono = pages_alloc(0);
    return v->fpu && v->run && v->pio_data && v->chrono;
}

static void release(struct vcpu *v) {
    kfree(v->fpu);
    pages_free(v->run);
    pages_free(v->pio_data);
    pages_free(v->chrono);
    kfree(v->cpuid);
    kfree(v);
}

struct vcpu *vcpu_create(struct vm *vm, unsigned id) {
    struct vcpu *v = kzalloc(sizeof(*v));
    if (!v)
        return NULL;
    v->vm = vm;
    v->id = id;
    v->hw_cpu = -1;
    vcpu_link_recent(v);
    mutex_init(&v->lock);
    if (!allocate(v)) {
        release(v);
        return NULL;
    }
    vcpu_reset(v);
    v->tsc_offset = -(int64_t)rdtsc(); // a TSC starts at 0
    if (vmm_vendor->vcpu_init(v)) {
        release(v);
        return NULL;
    }
    return v;
}

void vcpu_free(struct vcpu *v) {
    wake_source_set(v, NULL);
    emulation_free(v);
    vmm_vendor->vcpu_free(v);
    release(v);
}

// ---- registers and the hardware ----------------------------------------------------------------
void vcpu_bring_here(struct vcpu *v) {
    for (;;) {
        if (v->hw_cpu >= 0 && v->hw_cpu != (int)this_cpu()->id)
            vmm_vendor->vcpu_unload(v); // waits for the other processor
        irq_disable();
        if (v->hw_cpu < 0 || v->hw_cpu == (int)this_cpu()->id)
            break;
        irq_enable(); // moved meanwhile
    }
    vmm_vendor->vcpu_load(v);
}

void vcpu_fetch(struct vcpu *v, uint32_t parts) {
    if (!(v->stale & parts))
        return;
    vcpu_bring_here(v);
    vmm_vendor->sync(v, parts);
    vmm_vendor->vcpu_put(v);
    irq_enable();
}

void vcpu_features_changed(struct vcpu *v) {
    v->cr4_allowed = cpuid_cr4_allowed(v);
    v->cr4_guest_owned = v->cr4_allowed &
                         (CR4_TSD | CR4_DE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE);
    // Without CR4.OSXSAVE nothing in the guest depends on XCR0.
    v->xcr0_hw = (v->cr4 & CR4_OSXSAVE) && v->xcr0 != fpu_features() ? v->xcr0 : 0;
    v->has_rdrand = cpuid_bits(v, 1, 0, CPUID_ECX) & BIT(30);
    v->has_rdseed = cpuid_bits(v, 7, 0, CPUID_EBX) & BIT(18);
    v->traps_rand = !v->has_rdrand || !v->has_rdseed;
    v->attention = true; // xcr0_hw, traps_rand
    cpuid_update(v);
    v->dirty |= ~v->stale & PART_CR;
}

void vcpu_debug_changed(struct vcpu *v) {
    if (v->guest_debug.control & KVM_GUESTDBG_USE_HW_BP) {
        memcpy(v->hw_dr, v->guest_debug.arch.debugreg, sizeof(v->hw_dr));
        v->hw_dr7 = v->guest_debug.arch.debugreg[7] | DR7_FIXED;
    } else {
        memcpy(v->hw_dr, v->dr, sizeof(v->hw_dr));
        v->hw_dr7 = v->dr7;
    }
    vcpu_changed(v, PART_DEBUG);
    v->attention = true; // the processor's registers
}

// Outside 64-bit mode RIP is 32 bits wide.
static void wrap_rip(struct vcpu *v, uint64_t before) {
    if (!((before ^ v->rip) & BIT(32)))
        return;
    vcpu_sync(v, PART_CR | PART_SEGMENTS);
    if (!((v->efer & EFER_LMA) && v->seg[SEG_CS].l))
        v->rip = (uint32_t)v->rip;
}

// The shadow of STI and MOV SS and RF last for one instruction; TF makes a trap after it.
void vcpu_skip_slow(struct vcpu *v, uint64_t before) {
    wrap_rip(v, before);
    v->interruptibility &= ~(BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
    v->rflags &= ~RFLAGS_RF;
    vcpu_changed(v, PART_RFLAGS | PART_BLOCKING);
    if (v->rflags & RFLAGS_TF) {
        vcpu_sync(v, PART_ACTIVITY);
        v->pending_debug |= PENDING_DEBUG_BS;
        vcpu_changed(v, PART_ACTIVITY);
    }
}

void vcpu_kick(struct vcpu *v) {
    __atomic_store_n(&v->wake_requested, true, __ATOMIC_RELAXED);
    __atomic_store_n(&v->attention, true, __ATOMIC_SEQ_CST);
    int cpu = __atomic_load_n(&v->hw_cpu, __ATOMIC_SEQ_CST);
    if (cpu >= 0 && cpu != (int)this_cpu()->id)
        smp_reschedule(cpu);
}

// ---- exceptions --------------------------------------------------------------------------------
// SDM vol. 3, "Conditions for Generating a Double Fault".
enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };
static enum fault_class fault_class(uint8_t vector) {
    switch (vector) {
    case VECTOR_DE:
    case VECTOR_TS:
    case VECTOR_NP:
    case VECTOR_SS:
    case VECTOR_GP: return CONTRIBUTORY;
    case VECTOR_PF: return PAGE_FAULT;
    case VECTOR_DF: return DOUBLE_FAULT;
    }
    return BENIGN;
}

static void queue_exception(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error) {
    v->injected = v->injected_at == v->count ? v->injected + 1 : 1;
    v->injected_at = v->count;
    v->event.exception_pending = true;
    v->event.exception_vector = vector;
    v->event.exception_has_error = has_error;
    v->event.exception_error = error;
    v->event.soft_length = 0;
}

void vcpu_inject_exception(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error) {
    if (unlikely(v->event.exception_pending)) { // one was being delivered
        enum fault_class first = fault_class(v->event.exception_vector),
                         second = fault_class(vector);
        if (first == DOUBLE_FAULT) {
            v->event.triple_fault = true;
            return;
        }
        if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
            (first == PAGE_FAULT && second != BENIGN)) {
            vector = VECTOR_DF;
            has_error = true;
            error = 0;
        }
    }
    // Faults save RF set, so that an instruction breakpoint does not hit again (SDM vol. 3, "Resume Flag").
    if (vector != VECTOR_DB && vector != VECTOR_BP && vector != VECTOR_OF && vector != VECTOR_DF) {
        vcpu_sync(v, PART_RFLAGS);
        v->rflags |= RFLAGS_RF;
        vcpu_changed(v, PART_RFLAGS);
    }
    queue_exception(v, vector, has_error, error);
}

void vcpu_inject_page_fault(struct vcpu *v, uint64_t address, uint32_t error) {
    v->cr2 = address;
    vcpu_inject_exception(v, VECTOR_PF, true, error);
}
