// Writes of control registers that exit: CR0's NE, CD and NW, the CR4 bits that the guest does not own, CR8;
// CR3 only while the VMM wants to see it. What a processor refuses with #GP is refused here.
#include "vmm/cr.h"
#include "cpu/fpu.h"
#include "lib/errno.h"
#include "vmm/cpuid.h"
#include "vmm/skip.h"
#include "vmm/vendor.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

#define CR0_KNOWN                                                                              \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
     CR0_PG)
#define PDPTE_RESERVED (~(uint64_t)0 << 52 | 0x1e6) // and address bits above the physical width
#define XCR0_X87       1u
#define XCR0_SSE       2u
#define XCR0_AVX       4u

bool cr_is_pae(const struct vcpu *v) {
    return (v->cr0 & CR0_PG) && (v->cr4 & CR4_PAE) && !(v->efer & EFER_LMA);
}

int cr_load_pdptes(struct vcpu *v, uint64_t cr3) {
    uint64_t pdpte[4], too_high = ~(BIT(cpuid_physical_bits(v)) - 1);
    if (vm_read(v->vm, cr3 & 0xffffffe0, pdpte, sizeof(pdpte)))
        return -EINVAL;
    for (unsigned i = 0; i < 4; i++)
        if ((pdpte[i] & 1) && (pdpte[i] & (PDPTE_RESERVED | too_high)))
            return -EINVAL;
    for (unsigned i = 0; i < 4; i++)
        v->pdpte[i] = pdpte[i];
    return 0;
}

// Entering and leaving paging with EFER.LME set enters and leaves IA-32e mode.
static int set_paging(struct vcpu *v, uint64_t cr0) {
    bool long_mode = v->efer & EFER_LME;
    if (!(cr0 & CR0_PG)) {
        if ((v->efer & EFER_LMA) && v->seg[SEG_CS].l)
            return -EINVAL; // from 64-bit mode
        v->efer &= ~EFER_LMA;
        return 0;
    }
    if (!long_mode)
        return v->cr4 & CR4_PAE ? cr_load_pdptes(v, v->cr3) : 0;
    if (!(v->cr4 & CR4_PAE) || v->seg[SEG_CS].l)
        return -EINVAL;
    v->efer |= EFER_LMA;
    return 0;
}

int cr_set_cr0(struct vcpu *v, uint64_t value) {
    if (value >> 32)
        return -EINVAL;
    value = (value & CR0_KNOWN) | CR0_ET; // reserved low bits are ignored
    if (((value & CR0_NW) && !(value & CR0_CD)) || ((value & CR0_PG) && !(value & CR0_PE)))
        return -EINVAL;
    if ((value ^ v->cr0) & CR0_PG) {
        int err = set_paging(v, value);
        if (err)
            return err;
    } else if (cr_is_pae(v) && ((value ^ v->cr0) & (CR0_CD | CR0_NW)) &&
               cr_load_pdptes(v, v->cr3)) {
        return -EINVAL;
    }
    bool flush = (value ^ v->cr0) & (CR0_PG | CR0_WP);
    v->cr0 = value;
    vcpu_changed(v, PART_CR);
    if (flush)
        vmm_vendor->flush_guest(v);
    return 0;
}

int cr_set_cr3(struct vcpu *v, uint64_t value) {
    if (v->efer & EFER_LMA) {
        if (value & ~(BIT(cpuid_physical_bits(v)) - 1))
            return -EINVAL;
    } else {
        value = (uint32_t)value;
        if (cr_is_pae(v) && cr_load_pdptes(v, value))
            return -EINVAL;
    }
    v->cr3 = value;
    vcpu_changed(v, PART_CR);
    vmm_vendor->flush_guest(v);
    return 0;
}

int cr_set_cr4(struct vcpu *v, uint64_t value) {
    if (value & ~v->cr4_allowed)
        return -EINVAL;
    if ((v->efer & EFER_LMA) && !(value & CR4_PAE))
        return -EINVAL;
    uint64_t changed = value ^ v->cr4, old = v->cr4;
    v->cr4 = value;
    if ((changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) && cr_is_pae(v) &&
        cr_load_pdptes(v, v->cr3)) {
        v->cr4 = old;
        return -EINVAL;
    }
    vcpu_changed(v, PART_CR);
    if (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP | CR4_SMAP))
        vmm_vendor->flush_guest(v);
    if (changed & CR4_OSXSAVE)
        vcpu_features_changed(v);
    return 0;
}

// SDM vol. 1, "XCR0": x87 always; AVX needs SSE.
int cr_set_xcr0(struct vcpu *v, uint64_t value) {
    if (!(value & XCR0_X87) || ((value & XCR0_AVX) && !(value & XCR0_SSE)))
        return -EINVAL;
    if (value & ~(cpuid_xcr0_allowed(v) | XCR0_X87))
        return -EINVAL;
    v->xcr0 = value;
    vcpu_features_changed(v);
    return 0;
}

// ---- exits -------------------------------------------------------------------------------------
static int refuse(struct vcpu *v) {
    vcpu_inject_exception(v, VECTOR_GP, true, 0);
    return 1;
}

// CR8 is the task priority of the local APIC, which is user space's; it learns of it when the priority
// falls, since an interrupt may then be due.
static int set_cr8(struct vcpu *v, uint64_t value, uint32_t length) {
    if (value & ~15ull)
        return refuse(v);
    bool lower = value < v->cr8;
    v->cr8 = value;
    vcpu_skip(v, length);
    if (!lower)
        return 1;
    v->run->exit_reason = KVM_EXIT_SET_TPR;
    return 0;
}

static int set_cr(struct vcpu *v, unsigned number, uint64_t value, uint32_t length) {
    int err = -EINVAL;
    switch (number) {
    case 0: err = cr_set_cr0(v, value); break;
    case 3: err = cr_set_cr3(v, value); break;
    case 4: err = cr_set_cr4(v, value); break;
    case 8: return set_cr8(v, value, length);
    }
    if (err)
        return refuse(v);
    vcpu_skip(v, length);
    return 1;
}

static int get_cr(struct vcpu *v, const struct vm_exit *e) {
    uint64_t value = e->cr.number == 3   ? v->cr3
                     : e->cr.number == 8 ? v->cr8
                     : e->cr.number == 4 ? v->cr4
                                         : v->cr0;
    if (!((v->efer & EFER_LMA) && v->seg[SEG_CS].l))
        value = (uint32_t)value;
    if (e->cr.gpr == GPR_RSP)
        vcpu_changed(v, PART_RSP);
    v->gpr[e->cr.gpr] = value;
    vcpu_skip(v, e->length);
    return 1;
}

int cr_exit(struct vcpu *v, const struct vm_exit *e) {
    vcpu_sync(v, PART_CR | PART_SEGMENTS | (e->cr.gpr == GPR_RSP ? PART_RSP : 0));
    bool wide = (v->efer & EFER_LMA) && v->seg[SEG_CS].l;
    uint64_t source = wide ? v->gpr[e->cr.gpr] : (uint32_t)v->gpr[e->cr.gpr];
    switch (e->cr.access) {
    case 0: return set_cr(v, e->cr.number, source, e->length);
    case 1: return get_cr(v, e);
    case 2: return set_cr(v, 0, v->cr0 & ~CR0_TS, e->length); // CLTS
    }
    // LMSW changes the low four bits and cannot clear PE.
    return set_cr(v, 0, (v->cr0 & ~14ull) | (e->cr.lmsw & 15), e->length);
}

int xsetbv_exit(struct vcpu *v, const struct vm_exit *e) {
    uint64_t value = (uint32_t)v->gpr[GPR_RAX] | v->gpr[GPR_RDX] << 32;
    vcpu_sync(v, PART_CR);
    // CPL and CR4.OSXSAVE were checked by the processor before the exit.
    if ((uint32_t)v->gpr[GPR_RCX] != 0 || cr_set_xcr0(v, value))
        return refuse(v);
    vcpu_skip(v, e->length);
    return 1;
}
