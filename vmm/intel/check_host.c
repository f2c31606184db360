// SDM vol. 3, "Checks on the Host-State Area", and "Checks Related to Address-Space Size".
#include "vmm/intel/check.h"
#include "vmm/intel/vmcs.h"

static bool check_registers(struct vmcs_check *c) {
    const struct vmx_controls *k = c->controls;
    uint64_t cr0 = check_read(c, HOST_CR0), cr4 = check_read(c, HOST_CR4);
    return RULE(c, HOST_CR0, (cr0 & k->cr0_must) == k->cr0_must && !(cr0 & ~k->cr0_may),
                "bits as IA32_VMX_CR0_FIXED0 and FIXED1 want them") ||
           RULE(c, HOST_CR4, (cr4 & k->cr4_must) == k->cr4_must && !(cr4 & ~k->cr4_may),
                "bits as IA32_VMX_CR4_FIXED0 and FIXED1 want them") ||
           RULE(c, HOST_CR3, check_read(c, HOST_CR3) >> c->physical_bits == 0,
                "no bits above the physical address") ||
           RULE(c, HOST_SYSENTER_ESP, canonical(check_read(c, HOST_SYSENTER_ESP)), "canonical") ||
           RULE(c, HOST_SYSENTER_EIP, canonical(check_read(c, HOST_SYSENTER_EIP)), "canonical");
}

static bool check_msrs(struct vmcs_check *c) {
    uint64_t exit = check_read(c, EXIT_CONTROLS), efer = check_read(c, HOST_EFER);
    bool host64 = exit & EXIT_HOST_64;
    if ((exit & EXIT_LOAD_PAT) &&
        RULE(c, HOST_PAT, valid_pat(check_read(c, HOST_PAT)), "each byte is 0, 1, 4, 5, 6 or 7"))
        return true;
    if (!(exit & EXIT_LOAD_EFER))
        return false;
    return RULE(c, HOST_EFER, !(efer & ~0xd01ull), "only SCE, LME, LMA, NXE") ||
           RULE(c, HOST_EFER, !!(efer & BIT(10)) == host64 && !!(efer & BIT(8)) == host64,
                "LMA and LME are as exit control \"host address-space size\"");
}

static bool check_selectors(struct vmcs_check *c) {
    static const struct {
        uint32_t field;
        const char *name;
    } selectors[] = {
        {HOST_ES_SELECTOR, "HOST_ES_SELECTOR"}, {HOST_CS_SELECTOR, "HOST_CS_SELECTOR"},
        {HOST_SS_SELECTOR, "HOST_SS_SELECTOR"}, {HOST_DS_SELECTOR, "HOST_DS_SELECTOR"},
        {HOST_FS_SELECTOR, "HOST_FS_SELECTOR"}, {HOST_GS_SELECTOR, "HOST_GS_SELECTOR"},
        {HOST_TR_SELECTOR, "HOST_TR_SELECTOR"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(selectors); i++) {
        uint64_t value = check_read(c, selectors[i].field);
        if (value & 7)
            return check_broken(c, selectors[i].field, selectors[i].name, value,
                                "RPL and table indicator are 0");
    }
    return RULE(c, HOST_CS_SELECTOR, check_read(c, HOST_CS_SELECTOR) != 0, "not 0") ||
           RULE(c, HOST_TR_SELECTOR, check_read(c, HOST_TR_SELECTOR) != 0, "not 0");
}

static bool check_bases(struct vmcs_check *c) {
    return RULE(c, HOST_FS_BASE, canonical(check_read(c, HOST_FS_BASE)), "canonical") ||
           RULE(c, HOST_GS_BASE, canonical(check_read(c, HOST_GS_BASE)), "canonical") ||
           RULE(c, HOST_GDTR_BASE, canonical(check_read(c, HOST_GDTR_BASE)), "canonical") ||
           RULE(c, HOST_IDTR_BASE, canonical(check_read(c, HOST_IDTR_BASE)), "canonical") ||
           RULE(c, HOST_TR_BASE, canonical(check_read(c, HOST_TR_BASE)), "canonical");
}

static bool check_address_space(struct vmcs_check *c) {
    return RULE(
               c, EXIT_CONTROLS, check_read(c, EXIT_CONTROLS) & EXIT_HOST_64,
               "\"host address-space size\" (bit 9) is 1 where the entry comes from 64-bit mode") ||
           RULE(c, HOST_CR4, check_read(c, HOST_CR4) & BIT(5), "PAE (bit 5) for a 64-bit host") ||
           RULE(c, HOST_RIP, canonical(check_read(c, HOST_RIP)), "canonical");
}

bool vmcs_check_host(struct vmcs_check *c) {
    return check_address_space(c) || check_registers(c) || check_msrs(c) || check_selectors(c) ||
           check_bases(c);
}
