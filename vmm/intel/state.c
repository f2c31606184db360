// Guest registers: from the VMCS into struct vcpu on demand, and back when software changed them.
#include "vmm/intel/pmc.h"
#include "vmm/intel/vmx.h"

// The four fields of a segment lie two apart in every group, in the SDM's order ES..TR, which is that
// of SEG_*.
#define SEGMENT_FIELD(first, i) ((first) + 2 * (i))

static void read_segment(struct vcpu *v, unsigned i) {
    struct kvm_segment *s = &v->seg[i];
    uint32_t r = vmcs_read32(v, SEGMENT_FIELD(GUEST_ES_RIGHTS, i));
    s->selector = vmcs_read16(v, SEGMENT_FIELD(GUEST_ES_SELECTOR, i));
    s->base = vmcs_read_natural(v, SEGMENT_FIELD(GUEST_ES_BASE, i));
    s->limit = vmcs_read32(v, SEGMENT_FIELD(GUEST_ES_LIMIT, i));
    s->type = r & 15;
    s->s = r >> 4 & 1;
    s->dpl = r >> 5 & 3;
    s->present = r >> 7 & 1;
    s->avl = r >> 12 & 1;
    s->l = r >> 13 & 1;
    s->db = r >> 14 & 1;
    s->g = r >> 15 & 1;
    s->unusable = r >> 16 & 1;
}

// SDM vol. 3, "Guest Register State": format of access rights.
static uint32_t segment_rights(const struct kvm_segment *s, unsigned i) {
    // User space may hand over code and data segments that nobody has accessed yet, as at reset; an
    // entry wants them accessed.
    uint32_t type = s->type | (i <= SEG_GS ? 1 : 0);
    if (s->unusable || !s->present) // of SS the DPL counts still: it is the privilege level
        return 1u << 16 | (uint32_t)s->dpl << 5;
    return type | (uint32_t)s->s << 4 | (uint32_t)s->dpl << 5 | (uint32_t)s->present << 7 |
           (uint32_t)s->avl << 12 | (uint32_t)s->l << 13 | (uint32_t)s->db << 14 |
           (uint32_t)s->g << 15;
}

static void write_segment(struct vcpu *v, unsigned i) {
    const struct kvm_segment *s = &v->seg[i];
    vmcs_write16(v, SEGMENT_FIELD(GUEST_ES_SELECTOR, i), s->selector);
    vmcs_write_natural(v, SEGMENT_FIELD(GUEST_ES_BASE, i), s->base);
    vmcs_write32(v, SEGMENT_FIELD(GUEST_ES_LIMIT, i), s->limit);
    vmcs_write32(v, SEGMENT_FIELD(GUEST_ES_RIGHTS, i), segment_rights(s, i));
}

static void read_segments(struct vcpu *v) {
    for (unsigned i = 0; i < SEG_COUNT; i++)
        read_segment(v, i);
    v->gdt.base = vmcs_read_natural(v, GUEST_GDTR_BASE);
    v->gdt.limit = vmcs_read32(v, GUEST_GDTR_LIMIT);
    v->idt.base = vmcs_read_natural(v, GUEST_IDTR_BASE);
    v->idt.limit = vmcs_read32(v, GUEST_IDTR_LIMIT);
}

static void write_segments(struct vcpu *v) {
    for (unsigned i = 0; i < SEG_COUNT; i++)
        write_segment(v, i);
    vmcs_write_natural(v, GUEST_GDTR_BASE, v->gdt.base);
    vmcs_write32(v, GUEST_GDTR_LIMIT, v->gdt.limit);
    vmcs_write_natural(v, GUEST_IDTR_BASE, v->idt.base);
    vmcs_write32(v, GUEST_IDTR_LIMIT, v->idt.limit);
}

// CR0 bits that the host owns: the guest sees the read shadow. NE must be set in VMX operation; caching
// is EPT's business, and with CD set in hardware the guest would only be slow.
#define CR0_HOST_OWNED (CR0_NE | CR0_CD | CR0_NW)

static void read_control_registers(struct vcpu *v) {
    uint64_t cr4_owned = ~v->cr4_guest_owned;
    v->cr0 = (vmcs_read_natural(v, GUEST_CR0) & ~CR0_HOST_OWNED) |
             (vmcs_read_natural(v, CR0_READ_SHADOW) & CR0_HOST_OWNED);
    v->cr4 = (vmcs_read_natural(v, GUEST_CR4) & ~cr4_owned) |
             (vmcs_read_natural(v, CR4_READ_SHADOW) & cr4_owned);
    v->cr3 = vmcs_read_natural(v, GUEST_CR3);
    v->efer = vmcs_read64(v, GUEST_EFER);
    if ((v->cr0 & CR0_PG) && (v->cr4 & CR4_PAE) && !(v->efer & EFER_LMA))
        for (unsigned i = 0; i < 4; i++)
            v->pdpte[i] = vmcs_read64(v, GUEST_PDPTE0 + 2 * i);
}

static void write_control_registers(struct vcpu *v) {
    vmcs_write_natural(v, GUEST_CR0, (v->cr0 & ~(CR0_CD | CR0_NW)) | CR0_NE);
    vmcs_write_natural(v, CR0_READ_SHADOW, v->cr0);
    vmcs_write_natural(v, CR0_MASK, CR0_HOST_OWNED);
    vmcs_write_natural(v, GUEST_CR4, v->cr4 | vmx_controls.cr4_must);
    vmcs_write_natural(v, CR4_READ_SHADOW, v->cr4);
    vmcs_write_natural(v, CR4_MASK, ~v->cr4_guest_owned);
    vmcs_write_natural(v, GUEST_CR3, v->cr3);
    vmcs_write64(v, GUEST_EFER, v->efer);
    uint32_t entry = vmx_controls.entry | (vmx_pmc_on ? ENTRY_LOAD_PERF : 0) |
                     (v->efer & EFER_LMA ? ENTRY_GUEST_64 : 0);
    vmcs_write32(v, ENTRY_CONTROLS, entry);
    for (unsigned i = 0; i < 4; i++)
        vmcs_write64(v, GUEST_PDPTE0 + 2 * i, v->pdpte[i]);
    if ((v->efer & EFER_SCE) != (vmx_of(v)->syscall_loaded ? EFER_SCE : 0))
        vmx_msrs_changed(v);
}

static void read_msrs(struct vcpu *v) {
    v->msr.sysenter_cs = vmcs_read32(v, GUEST_SYSENTER_CS);
    v->msr.sysenter_esp = vmcs_read_natural(v, GUEST_SYSENTER_ESP);
    v->msr.sysenter_eip = vmcs_read_natural(v, GUEST_SYSENTER_EIP);
    v->msr.debugctl = vmcs_read64(v, GUEST_DEBUGCTL);
    vmx_read_kernel_gs_base(v);
}

static void write_msrs(struct vcpu *v) {
    vmcs_write32(v, GUEST_SYSENTER_CS, v->msr.sysenter_cs);
    vmcs_write_natural(v, GUEST_SYSENTER_ESP, v->msr.sysenter_esp);
    vmcs_write_natural(v, GUEST_SYSENTER_EIP, v->msr.sysenter_eip);
    vmcs_write64(v, GUEST_DEBUGCTL, v->msr.debugctl);
    vmx_msrs_changed(v);
}

static void read_blocking(struct vcpu *v) {
    v->interruptibility = vmcs_read32(v, GUEST_INTERRUPTIBILITY);
}

static void read_activity(struct vcpu *v) {
    v->activity = vmcs_read32(v, GUEST_ACTIVITY);
    v->pending_debug = vmcs_read_natural(v, GUEST_PENDING_DEBUG);
}

static void write_blocking(struct vcpu *v) {
    vmcs_write32(v, GUEST_INTERRUPTIBILITY, v->interruptibility);
}

static void write_activity(struct vcpu *v) {
    vmcs_write32(v, GUEST_ACTIVITY, v->activity);
    vmcs_write_natural(v, GUEST_PENDING_DEBUG, v->pending_debug);
}

static void read_mode(struct vcpu *v) {
    uint32_t cs = vmcs_read32(v, GUEST_CS_RIGHTS), ss = vmcs_read32(v, GUEST_SS_RIGHTS);
    v->mode.cs_l = cs >> 13 & 1;
    v->mode.cs_db = cs >> 14 & 1;
    v->mode.cpl = ss >> 5 & 3;
    v->mode.lma = vmcs_read64(v, GUEST_EFER) & EFER_LMA;
    v->mode.cr3 = vmcs_read_natural(v, GUEST_CR3);
}

void vmx_sync(struct vcpu *v, uint32_t parts) {
    parts &= v->stale;
    v->stale &= ~parts;
    if (parts & PART_RIP)
        v->rip = vmcs_read_natural(v, GUEST_RIP);
    if (parts & PART_RSP)
        v->gpr[GPR_RSP] = vmcs_read_natural(v, GUEST_RSP);
    if (parts & PART_RFLAGS)
        v->rflags = vmcs_read_natural(v, GUEST_RFLAGS);
    if (parts & PART_CR)
        read_control_registers(v);
    if (parts & PART_SEGMENTS)
        read_segments(v);
    if (parts & PART_MODE)
        read_mode(v);
    if (parts & PART_SYSMSR)
        read_msrs(v);
    if (parts & PART_BLOCKING)
        read_blocking(v);
    if (parts & PART_ACTIVITY)
        read_activity(v);
}

static noinline void write_rarer_parts(struct vcpu *v, uint32_t parts) {
    if (parts & PART_CR)
        write_control_registers(v);
    if (parts & PART_SEGMENTS)
        write_segments(v);
    if (parts & PART_SYSMSR)
        write_msrs(v);
    if (parts & PART_DEBUG)
        vmcs_write_natural(v, GUEST_DR7, v->hw_dr7);
    if (parts & PART_BLOCKING)
        write_blocking(v);
    if (parts & PART_ACTIVITY)
        write_activity(v);
    if (parts & PART_TRANSLATIONS)
        vmx_flush_vpid(vmx_of(v)->vpid);
}

#define OFTEN_WRITTEN (PART_RIP | PART_RSP | PART_RFLAGS | PART_PAT)

void vmx_write_parts(struct vcpu *v, uint32_t parts) {
    if (parts & PART_RIP)
        vmcs_write_natural(v, GUEST_RIP, v->rip);
    if (parts & PART_RSP)
        vmcs_write_natural(v, GUEST_RSP, v->gpr[GPR_RSP]);
    if (parts & PART_RFLAGS)
        vmcs_write_natural(v, GUEST_RFLAGS, v->rflags | RFLAGS_FIXED);
    if (parts & PART_PAT)
        vmcs_write64(v, GUEST_PAT, v->msr.pat);
    if (parts & ~OFTEN_WRITTEN)
        write_rarer_parts(v, parts);
}
