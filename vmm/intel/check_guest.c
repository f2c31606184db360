// SDM vol. 3, "Checks on the Guest State Area", but for the segments (check_segments.c).
#include "vmm/intel/check.h"
#include "vmm/intel/check_segments.h"
#include "vmm/intel/vmcs.h"
#include "vmm/x86.h"

static bool has_unrestricted(struct vmcs_check *c) {
    return (check_read(c, PRIMARY_CONTROLS) & CPU_SECONDARY) &&
           (check_read(c, SECONDARY_CONTROLS) & CPU2_UNRESTRICTED);
}

static bool check_control_registers(struct vmcs_check *c) {
    const struct vmx_controls *k = c->controls;
    bool guest64 = check_read(c, ENTRY_CONTROLS) & ENTRY_GUEST_64;
    uint64_t cr0 = check_read(c, GUEST_CR0), cr4 = check_read(c, GUEST_CR4);
    uint64_t must = k->cr0_must & ~(has_unrestricted(c) ? CR0_PE | CR0_PG : 0);
    // NW and CD are not checked.
    return RULE(c, GUEST_CR0, (cr0 & must) == must, "bits that IA32_VMX_CR0_FIXED0 wants are 1") ||
           RULE(c, GUEST_CR0, !(cr0 & ~k->cr0_may & ~(CR0_NW | CR0_CD)),
                "bits that IA32_VMX_CR0_FIXED1 forbids are 0") ||
           RULE(c, GUEST_CR0, !(cr0 & CR0_PG) || (cr0 & CR0_PE), "PG (bit 31) needs PE (bit 0)") ||
           RULE(c, GUEST_CR4, (cr4 & k->cr4_must) == k->cr4_must,
                "bits that IA32_VMX_CR4_FIXED0 wants are 1") ||
           RULE(c, GUEST_CR4, !(cr4 & ~k->cr4_may),
                "bits that IA32_VMX_CR4_FIXED1 forbids are 0") ||
           RULE(c, GUEST_CR0, !guest64 || (cr0 & CR0_PG), "a 64-bit guest has PG (bit 31)") ||
           RULE(c, GUEST_CR4, !guest64 || (cr4 & CR4_PAE), "a 64-bit guest has PAE (bit 5)") ||
           RULE(c, GUEST_CR4, guest64 || !(cr4 & CR4_PCIDE),
                "PCIDE (bit 17) only in a 64-bit guest") ||
           RULE(c, GUEST_CR3, check_read(c, GUEST_CR3) >> c->physical_bits == 0,
                "no bits above the physical address");
}

static bool check_msrs(struct vmcs_check *c) {
    uint64_t entry = check_read(c, ENTRY_CONTROLS), efer = check_read(c, GUEST_EFER);
    bool guest64 = entry & ENTRY_GUEST_64;
    if (entry & ENTRY_LOAD_DEBUG)
        if (RULE(c, GUEST_DEBUGCTL, !(check_read(c, GUEST_DEBUGCTL) & ~0xffc3ull),
                 "bits 5:2 and 63:16 are 0") ||
            RULE(c, GUEST_DR7, check_read(c, GUEST_DR7) >> 32 == 0, "bits 63:32 are 0"))
            return true;
    if (RULE(c, GUEST_SYSENTER_ESP, canonical(check_read(c, GUEST_SYSENTER_ESP)), "canonical") ||
        RULE(c, GUEST_SYSENTER_EIP, canonical(check_read(c, GUEST_SYSENTER_EIP)), "canonical"))
        return true;
    if ((entry & ENTRY_LOAD_PAT) &&
        RULE(c, GUEST_PAT, valid_pat(check_read(c, GUEST_PAT)), "each byte is 0, 1, 4, 5, 6 or 7"))
        return true;
    if (!(entry & ENTRY_LOAD_EFER))
        return false;
    bool lma = efer & EFER_LMA, lme = efer & BIT(8), pg = check_read(c, GUEST_CR0) & CR0_PG;
    return RULE(c, GUEST_EFER, !(efer & ~0xd01ull), "only SCE, LME, LMA, NXE") ||
           RULE(c, GUEST_EFER, lma == guest64, "LMA is as entry control \"IA-32e mode guest\"") ||
           RULE(c, GUEST_EFER, !pg || lma == lme, "LMA is LME while paging is on");
}

static bool check_tables(struct vmcs_check *c) {
    return RULE(c, GUEST_GDTR_BASE, canonical(check_read(c, GUEST_GDTR_BASE)), "canonical") ||
           RULE(c, GUEST_GDTR_LIMIT, check_read(c, GUEST_GDTR_LIMIT) < 0x10000,
                "bits 31:16 are 0") ||
           RULE(c, GUEST_IDTR_BASE, canonical(check_read(c, GUEST_IDTR_BASE)), "canonical") ||
           RULE(c, GUEST_IDTR_LIMIT, check_read(c, GUEST_IDTR_LIMIT) < 0x10000, "bits 31:16 are 0");
}

static bool check_rip_rflags(struct vmcs_check *c) {
    bool guest64 = check_read(c, ENTRY_CONTROLS) & ENTRY_GUEST_64;
    bool code64 = guest64 && (check_read(c, GUEST_CS_RIGHTS) & BIT(13));
    uint64_t rip = check_read(c, GUEST_RIP), flags = check_read(c, GUEST_RFLAGS);
    uint64_t info = check_read(c, ENTRY_INTERRUPTION_INFO);
    bool injects_irq = (info & BIT(31)) && (info >> 8 & 7) == 0;
    return RULE(c, GUEST_RIP, code64 || rip >> 32 == 0, "bits 63:32 are 0 outside 64-bit code") ||
           RULE(c, GUEST_RIP, !code64 || (int64_t)rip >> 48 == 0 || (int64_t)rip >> 48 == -1,
                "bits 63:48 are all equal") ||
           RULE(c, GUEST_RFLAGS, !(flags & ~0x3f7fd7ull),
                "reserved bits (63:22, 15, 5, 3) are 0") ||
           RULE(c, GUEST_RFLAGS, flags & BIT(1), "bit 1 is 1") ||
           RULE(c, GUEST_RFLAGS,
                !(flags & RFLAGS_VM) || (!guest64 && (check_read(c, GUEST_CR0) & CR0_PE)),
                "VM (bit 17) only in protected mode, not in a 64-bit guest") ||
           RULE(c, GUEST_RFLAGS, !injects_irq || (flags & RFLAGS_IF),
                "IF (bit 9) is 1 where an external interrupt is injected");
}

enum { ACTIVE, HALTED, SHUTDOWN, WAIT_FOR_SIPI };

// Events that may be injected into a processor that is halted or shut down.
static bool suits_activity(uint64_t activity, uint64_t info) {
    unsigned type = info >> 8 & 7, vector = info & 0xff;
    if (activity == HALTED)
        return type == 0 || type == 2 || (type == 3 && (vector == 1 || vector == 18)) ||
               (type == 7 && vector == 0);
    if (activity == SHUTDOWN)
        return type == 2 || (type == 3 && vector == 18);
    return activity == ACTIVE;
}

static bool check_activity(struct vmcs_check *c) {
    uint64_t activity = check_read(c, GUEST_ACTIVITY),
             blocking = check_read(c, GUEST_INTERRUPTIBILITY);
    uint64_t info = check_read(c, ENTRY_INTERRUPTION_INFO);
    bool shadow = blocking & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
    return RULE(c, GUEST_ACTIVITY,
                activity <= WAIT_FOR_SIPI &&
                    (activity == ACTIVE || (c->controls->misc >> 5 & BIT(activity))),
                "0, or a state that IA32_VMX_MISC has") ||
           RULE(c, GUEST_ACTIVITY,
                activity != HALTED || (check_read(c, GUEST_SS_RIGHTS) >> 5 & 3) == 0,
                "HLT only at privilege level 0 (DPL of SS)") ||
           RULE(c, GUEST_ACTIVITY, activity == ACTIVE || !shadow,
                "active while STI or MOV SS blocks") ||
           RULE(c, GUEST_ACTIVITY, !(info & BIT(31)) || suits_activity(activity, info),
                "a state that the event being injected may find");
}

static bool check_interruptibility(struct vmcs_check *c) {
    uint64_t blocking = check_read(c, GUEST_INTERRUPTIBILITY),
             info = check_read(c, ENTRY_INTERRUPTION_INFO);
    bool valid = info & BIT(31);
    unsigned type = info >> 8 & 7;
    bool sti = blocking & BLOCKED_BY_STI, mov_ss = blocking & BLOCKED_BY_MOV_SS;
    bool virtual_nmis = check_read(c, PIN_CONTROLS) & PIN_VIRTUAL_NMI;
    return RULE(c, GUEST_INTERRUPTIBILITY, !(blocking & ~0x1full), "bits 31:5 are 0") ||
           RULE(c, GUEST_INTERRUPTIBILITY, !sti || !mov_ss, "not both STI and MOV SS block") ||
           RULE(c, GUEST_INTERRUPTIBILITY, !sti || (check_read(c, GUEST_RFLAGS) & RFLAGS_IF),
                "blocking by STI (bit 0) needs RFLAGS.IF") ||
           RULE(c, GUEST_INTERRUPTIBILITY, !(valid && type == 0) || (!sti && !mov_ss),
                "no blocking by STI or MOV SS where an external interrupt is injected") ||
           RULE(c, GUEST_INTERRUPTIBILITY, !(valid && type == 2) || !mov_ss,
                "no blocking by MOV SS where an NMI is injected") ||
           RULE(c, GUEST_INTERRUPTIBILITY, !(blocking & BIT(2)),
                "no blocking by SMI (bit 2) outside SMM") ||
           RULE(c, GUEST_INTERRUPTIBILITY,
                !(valid && type == 2 && virtual_nmis) || !(blocking & BLOCKED_BY_NMI),
                "no blocking by NMI (bit 3) where an NMI is injected") ||
           RULE(c, GUEST_INTERRUPTIBILITY, !(blocking & BIT(4)), "no enclave (bit 4)");
}

static bool check_pending_debug(struct vmcs_check *c) {
    uint64_t pending = check_read(c, GUEST_PENDING_DEBUG), flags = check_read(c, GUEST_RFLAGS);
    bool shadow = (check_read(c, GUEST_INTERRUPTIBILITY) & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) ||
                  check_read(c, GUEST_ACTIVITY) == HALTED;
    bool steps = (flags & RFLAGS_TF) && !(check_read(c, GUEST_DEBUGCTL) & BIT(1));
    bool pending_step = pending & BIT(14);
    // RTM: a breakpoint was met in a transaction.
    bool in_transaction = pending & BIT(16);
    bool mov_ss = check_read(c, GUEST_INTERRUPTIBILITY) & BLOCKED_BY_MOV_SS;
    return RULE(c, GUEST_PENDING_DEBUG, !(pending & ~0x1500full),
                "bits 11:4, 13, 15 and 63:17 are 0") ||
           RULE(c, GUEST_PENDING_DEBUG, !shadow || pending_step == steps,
                "BS (bit 14) is RFLAGS.TF (without BTF) while halted or in a shadow") ||
           RULE(c, GUEST_PENDING_DEBUG,
                !in_transaction || (pending == (BIT(16) | BIT(12)) && !mov_ss),
                "RTM (bit 16) comes with bit 12 alone, and not while MOV SS blocks");
}

// SDM vol. 3, "Checks on Guest Page-Directory-Pointer-Table Entries".
static bool check_pdptes(struct vmcs_check *c) {
    bool pae = (check_read(c, GUEST_CR0) & CR0_PG) && (check_read(c, GUEST_CR4) & CR4_PAE) &&
               !(check_read(c, ENTRY_CONTROLS) & ENTRY_GUEST_64);
    if (!pae)
        return false;
    static const char *const names[] = {"GUEST_PDPTE0", "GUEST_PDPTE1", "GUEST_PDPTE2",
                                        "GUEST_PDPTE3"};
    for (unsigned i = 0; i < 4; i++) {
        uint64_t entry = check_read(c, GUEST_PDPTE0 + 2 * i);
        if ((entry & 1) && ((entry & 0x1e6) || entry >> c->physical_bits))
            return check_broken(c, GUEST_PDPTE0 + 2 * i, names[i], entry,
                                "bits 2:1, 8:5 and those above the physical address are 0");
    }
    return false;
}

bool vmcs_check_guest(struct vmcs_check *c) {
    return check_control_registers(c) || check_msrs(c) ||
           vmcs_check_segments(c, has_unrestricted(c)) || check_tables(c) || check_rip_rflags(c) ||
           check_activity(c) || check_interruptibility(c) || check_pending_debug(c) ||
           RULE(c, VMCS_LINK_POINTER, check_read(c, VMCS_LINK_POINTER) == UINT64_MAX,
                "all ones: no VMCS is linked here") ||
           check_pdptes(c);
}
