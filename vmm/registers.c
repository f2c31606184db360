// KVM_GET/SET_REGS, SREGS, SREGS2 and their forms in kvm_run (KVM_CAP_SYNC_REGS).
#include "vmm/registers.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/uaccess.h"
#include "vmm/cpuid.h"
#include "vmm/cr.h"
#include "vmm/msr.h"
#include "vmm/run.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

void registers_get(const struct vcpu *v, struct kvm_regs *r) {
    const uint64_t *g = v->gpr;
    *r = (struct kvm_regs){.rax = g[GPR_RAX],
                           .rbx = g[GPR_RBX],
                           .rcx = g[GPR_RCX],
                           .rdx = g[GPR_RDX],
                           .rsi = g[GPR_RSI],
                           .rdi = g[GPR_RDI],
                           .rsp = g[GPR_RSP],
                           .rbp = g[GPR_RBP],
                           .r8 = g[8],
                           .r9 = g[9],
                           .r10 = g[10],
                           .r11 = g[11],
                           .r12 = g[12],
                           .r13 = g[13],
                           .r14 = g[14],
                           .r15 = g[15],
                           .rip = v->rip,
                           .rflags = v->rflags};
}

void registers_set(struct vcpu *v, const struct kvm_regs *r) {
    const uint64_t g[16] = {r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
                            r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15};
    memcpy(v->gpr, g, sizeof(g));
    v->rip = r->rip;
    v->rflags = (r->rflags & RFLAGS_KNOWN) | RFLAGS_FIXED;
    v->event.exception_pending = false; // as KVM: the new state has not caused it
    vcpu_changed(v, PART_RIP | PART_RSP | PART_RFLAGS);
}

// ---- system registers ----------------------------------------------------------------------------
static void get_common(const struct vcpu *v, struct kvm_sregs *s) {
    s->es = v->seg[SEG_ES];
    s->cs = v->seg[SEG_CS];
    s->ss = v->seg[SEG_SS];
    s->ds = v->seg[SEG_DS];
    s->fs = v->seg[SEG_FS];
    s->gs = v->seg[SEG_GS];
    s->ldt = v->seg[SEG_LDTR];
    s->tr = v->seg[SEG_TR];
    s->gdt = v->gdt;
    s->idt = v->idt;
    s->cr0 = v->cr0;
    s->cr2 = v->cr2;
    s->cr3 = v->cr3;
    s->cr4 = v->cr4;
    s->cr8 = v->cr8;
    s->efer = v->efer;
    s->apic_base = v->msr.apic_base;
}

void sregs_get(const struct vcpu *v, struct kvm_sregs *s) {
    memset(s, 0, sizeof(*s));
    get_common(v, s);
    if (v->event.interrupt_pending && !v->event.interrupt_soft)
        s->interrupt_bitmap[v->event.interrupt_vector / 64] |= BIT(v->event.interrupt_vector % 64);
}

static bool valid(const struct vcpu *v, const struct kvm_sregs *s) {
    if (s->cr0 >> 32 || ((s->cr0 & CR0_PG) && !(s->cr0 & CR0_PE)) ||
        ((s->cr0 & CR0_NW) && !(s->cr0 & CR0_CD)))
        return false;
    if (s->cr4 & ~v->cr4_allowed)
        return false;
    bool paging = s->cr0 & CR0_PG;
    if ((s->efer & EFER_LME) && paging) { // IA-32e mode
        if (!(s->cr4 & CR4_PAE) || !(s->efer & EFER_LMA) || s->cr3 >> cpuid_physical_bits(v))
            return false;
    } else if ((s->efer & EFER_LMA) || (paging && s->cs.l)) {
        return false;
    }
    if (s->efer & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
        return false;
    return s->cr8 < 16;
}

static void set_common(struct vcpu *v, const struct kvm_sregs *s) {
    v->seg[SEG_ES] = s->es;
    v->seg[SEG_CS] = s->cs;
    v->seg[SEG_SS] = s->ss;
    v->seg[SEG_DS] = s->ds;
    v->seg[SEG_FS] = s->fs;
    v->seg[SEG_GS] = s->gs;
    v->seg[SEG_LDTR] = s->ldt;
    v->seg[SEG_TR] = s->tr;
    for (unsigned i = 0; i < SEG_COUNT; i++) // as KVM: a segment that is not present cannot be used
        v->seg[i].unusable |= !v->seg[i].present;
    v->gdt = s->gdt;
    v->idt = s->idt;
    v->cr0 = s->cr0 | CR0_ET;
    v->cr2 = s->cr2;
    v->cr3 = s->cr3;
    v->cr4 = s->cr4;
    v->cr8 = v->run->cr8 = s->cr8;
    v->efer = s->efer;
    v->msr.apic_base = s->apic_base;
    vcpu_changed(v, PART_CR | PART_SEGMENTS);
    vcpu_features_changed(v);
    vmm_vendor->flush_guest(v);
}

int sregs_set(struct vcpu *v, const struct kvm_sregs *s) {
    if (!valid(v, s))
        return -EINVAL;
    set_common(v, s);
    if (cr_is_pae(v))
        cr_load_pdptes(v, v->cr3); // memory that is not there yet: CR3 will be written again
    for (unsigned vector = 0; vector < 256; vector++)
        if (s->interrupt_bitmap[vector / 64] >> vector % 64 & 1) {
            v->event.interrupt_pending = true;
            v->event.interrupt_soft = false;
            v->event.interrupt_vector = vector;
        }
    return 0;
}

// SREGS2 carries the PDPTEs instead of the pending interrupt.
long sregs2_ioctl_get(struct vcpu *v, unsigned long arg) {
    struct kvm_sregs s = {0};
    get_common(v, &s);
    struct kvm_sregs2 s2 = {.cr0 = s.cr0,
                            .cr2 = s.cr2,
                            .cr3 = s.cr3,
                            .cr4 = s.cr4,
                            .cr8 = s.cr8,
                            .efer = s.efer,
                            .apic_base = s.apic_base,
                            .gdt = s.gdt,
                            .idt = s.idt,
                            .cs = s.cs,
                            .ds = s.ds,
                            .es = s.es,
                            .fs = s.fs,
                            .gs = s.gs,
                            .ss = s.ss,
                            .tr = s.tr,
                            .ldt = s.ldt};
    if (cr_is_pae(v)) {
        s2.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
        memcpy(s2.pdptrs, v->pdpte, sizeof(s2.pdptrs));
    }
    return copy_to_user((void __user *)arg, &s2, sizeof(s2));
}

long sregs2_ioctl_set(struct vcpu *v, unsigned long arg) {
    struct kvm_sregs2 s2;
    if (copy_from_user(&s2, (void __user *)arg, sizeof(s2)))
        return -EFAULT;
    if (s2.flags & ~KVM_SREGS2_FLAGS_PDPTRS_VALID)
        return -EINVAL;
    struct kvm_sregs s = {.cr0 = s2.cr0,
                          .cr2 = s2.cr2,
                          .cr3 = s2.cr3,
                          .cr4 = s2.cr4,
                          .cr8 = s2.cr8,
                          .efer = s2.efer,
                          .apic_base = s2.apic_base,
                          .gdt = s2.gdt,
                          .idt = s2.idt,
                          .cs = s2.cs,
                          .ds = s2.ds,
                          .es = s2.es,
                          .fs = s2.fs,
                          .gs = s2.gs,
                          .ss = s2.ss,
                          .tr = s2.tr,
                          .ldt = s2.ldt};
    bool pae = (s.cr0 & CR0_PG) && (s.cr4 & CR4_PAE) && !(s.efer & EFER_LMA);
    if (!valid(v, &s) || (s2.flags && !pae))
        return -EINVAL;
    set_common(v, &s);
    if (!pae)
        return 0;
    if (s2.flags)
        memcpy(v->pdpte, s2.pdptrs, sizeof(v->pdpte));
    else
        cr_load_pdptes(v, v->cr3);
    return 0;
}

// ---- through kvm_run -----------------------------------------------------------------------------
#define SYNC_KNOWN (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS)

int vcpu_sync_regs_in(struct vcpu *v) {
    uint64_t dirty = v->run->kvm_dirty_regs;
    if ((v->run->kvm_valid_regs | dirty) & ~SYNC_KNOWN)
        return -EINVAL;
    if (!dirty)
        return 0;
    vcpu_fetch(v, PART_ALL);
    struct kvm_sync_regs s = v->run->s.regs; // a copy: the page is the user's
    int err = 0;
    if (dirty & KVM_SYNC_X86_REGS)
        registers_set(v, &s.regs);
    if (dirty & KVM_SYNC_X86_SREGS)
        err = sregs_set(v, &s.sregs);
    if (!err && (dirty & KVM_SYNC_X86_EVENTS))
        err = events_set(v, &s.events);
    if (!err)
        v->run->kvm_dirty_regs &= ~SYNC_KNOWN;
    return err;
}

void vcpu_sync_regs_out(struct vcpu *v) {
    uint64_t wanted = v->run->kvm_valid_regs;
    struct kvm_sync_regs *s = &v->run->s.regs;
    vcpu_sync(v, PART_ALL);
    if (wanted & KVM_SYNC_X86_REGS)
        registers_get(v, &s->regs);
    if (wanted & KVM_SYNC_X86_SREGS)
        sregs_get(v, &s->sregs);
    if (wanted & KVM_SYNC_X86_EVENTS)
        events_get(v, &s->events);
}
