// SDM vol. 3, "Checks on VMX Controls".
#include "vmm/intel/check.h"
#include "vmm/intel/vmcs.h"

// Bits whose setting the capability MSR forbids, or whose clearing it does.
static bool allowed(uint64_t capability, uint64_t value) {
    uint32_t must = (uint32_t)capability, may = (uint32_t)(capability >> 32);
    return (value & must) == must && !(value & ~may & UINT32_MAX);
}

static bool check_reserved(struct vmcs_check *c) {
    const struct vmx_controls *k = c->controls;
    return RULE(c, PIN_CONTROLS, allowed(k->pin_cap, check_read(c, PIN_CONTROLS)),
                "only bits that IA32_VMX_TRUE_PINBASED_CTLS allows, and all that it wants") ||
           RULE(c, PRIMARY_CONTROLS, allowed(k->primary_cap, check_read(c, PRIMARY_CONTROLS)),
                "only bits that IA32_VMX_TRUE_PROCBASED_CTLS allows, and all that it wants") ||
           RULE(c, SECONDARY_CONTROLS,
                !(check_read(c, PRIMARY_CONTROLS) & CPU_SECONDARY) ||
                    allowed(k->secondary_cap, check_read(c, SECONDARY_CONTROLS)),
                "only bits that IA32_VMX_PROCBASED_CTLS2 allows, and all that it wants") ||
           RULE(c, CR3_TARGET_COUNT,
                check_read(c, CR3_TARGET_COUNT) <= (c->controls->misc >> 16 & 0x1ff),
                "at most the number in IA32_VMX_MISC");
}

static bool check_execution(struct vmcs_check *c) {
    uint64_t pin = check_read(c, PIN_CONTROLS), primary = check_read(c, PRIMARY_CONTROLS);
    uint64_t secondary = primary & CPU_SECONDARY ? check_read(c, SECONDARY_CONTROLS) : 0;
    if (primary & CPU_IO_BITMAPS)
        if (RULE(c, IO_BITMAP_A, physical(c, check_read(c, IO_BITMAP_A), 12),
                 "a page's physical address") ||
            RULE(c, IO_BITMAP_B, physical(c, check_read(c, IO_BITMAP_B), 12),
                 "a page's physical address"))
            return true;
    if (primary & CPU_MSR_BITMAPS)
        if (RULE(c, MSR_BITMAP, physical(c, check_read(c, MSR_BITMAP), 12),
                 "a page's physical address"))
            return true;
    if (RULE(c, PIN_CONTROLS, (pin & PIN_NMI) || !(pin & PIN_VIRTUAL_NMI),
             "virtual NMIs (bit 5) need NMI exiting (bit 3)") ||
        RULE(c, PRIMARY_CONTROLS, (pin & PIN_VIRTUAL_NMI) || !(primary & CPU_NMI_WINDOW),
             "NMI-window exiting (bit 22) needs virtual NMIs"))
        return true;
    if ((secondary & CPU2_VPID) &&
        RULE(c, VPID, check_read(c, VPID) != 0, "not 0 with \"enable VPID\""))
        return true;
    if (RULE(c, SECONDARY_CONTROLS, (secondary & CPU2_EPT) || !(secondary & CPU2_UNRESTRICTED),
             "unrestricted guest (bit 7) needs EPT (bit 1)") ||
        RULE(c, SECONDARY_CONTROLS, (secondary & CPU2_EPT) || !(secondary & CPU2_PML),
             "the page-modification log (bit 17) needs EPT (bit 1)") ||
        RULE(c, TSC_MULTIPLIER, !(secondary & CPU2_TSC_SCALING) || check_read(c, TSC_MULTIPLIER),
             "not 0 with \"use TSC scaling\""))
        return true;
    return (secondary & CPU2_PML) &&
           RULE(c, PML_ADDRESS, physical(c, check_read(c, PML_ADDRESS), 12),
                "a page's physical address");
}

// SDM vol. 3, "Extended-Page-Table Pointer (EPTP)".
static bool check_ept(struct vmcs_check *c) {
    if (!(check_read(c, PRIMARY_CONTROLS) & CPU_SECONDARY) ||
        !(check_read(c, SECONDARY_CONTROLS) & CPU2_EPT))
        return false;
    uint64_t p = check_read(c, EPT_POINTER), cap = c->controls->ept_vpid;
    return RULE(c, EPT_POINTER,
                ((p & 7) == 6 && (cap & BIT(14))) || ((p & 7) == 0 && (cap & BIT(8))),
                "bits 2:0 (memory type of the tables) are one that IA32_VMX_EPT_VPID_CAP has") ||
           RULE(c, EPT_POINTER, (p >> 3 & 7) == 3, "bits 5:3 are 3: a walk of four levels") ||
           RULE(c, EPT_POINTER, !(p & BIT(6)) || (cap & BIT(21)),
                "bit 6 only where accessed and dirty flags exist") ||
           RULE(c, EPT_POINTER, !(p & 0xf80) && physical(c, p & ~0xfffull, 12),
                "bits 11:7 and those above the physical address are 0");
}

// A list of MSRs, 16 bytes each.
static bool list_fits(struct vmcs_check *c, uint32_t address_field, uint32_t count_field) {
    uint64_t address = check_read(c, address_field), count = check_read(c, count_field);
    return !count || (physical(c, address, 4) && physical(c, address + 16 * (count - 1), 4));
}
#define LIST_RULE "a physical address, 16-byte aligned, and so is the list's end"

static bool check_exit(struct vmcs_check *c) {
    uint64_t exit = check_read(c, EXIT_CONTROLS), pin = check_read(c, PIN_CONTROLS);
    return RULE(c, EXIT_CONTROLS, allowed(c->controls->exit_cap, exit),
                "only bits that IA32_VMX_TRUE_EXIT_CTLS allows, and all that it wants") ||
           RULE(c, EXIT_CONTROLS, (pin & PIN_PREEMPTION_TIMER) || !(exit & EXIT_SAVE_TIMER),
                "saving the preemption timer (bit 22) needs the timer") ||
           RULE(c, EXIT_MSR_STORE_ADDRESS,
                list_fits(c, EXIT_MSR_STORE_ADDRESS, EXIT_MSR_STORE_COUNT), LIST_RULE) ||
           RULE(c, EXIT_MSR_LOAD_ADDRESS, list_fits(c, EXIT_MSR_LOAD_ADDRESS, EXIT_MSR_LOAD_COUNT),
                LIST_RULE);
}

enum { TYPE_RESERVED = 1, TYPE_NMI = 2, TYPE_HARDWARE = 3, TYPE_SOFTWARE = 4, TYPE_OTHER = 7 };

// SDM vol. 3, "VM-Entry Control Fields": the event to be injected.
static bool check_injection(struct vmcs_check *c) {
    uint64_t info = check_read(c, ENTRY_INTERRUPTION_INFO);
    if (!(info & BIT(31)))
        return false;
    unsigned type = info >> 8 & 7, vector = info & 0xff;
    bool has_error = info & BIT(11), real = !(check_read(c, GUEST_CR0) & 1);
    // Newer processors take any exception with or without one (IA32_VMX_BASIC, bit 56).
    bool free_choice = (c->controls->basic & BIT(56)) && type == TYPE_HARDWARE && !real;
    bool wants_error = type == TYPE_HARDWARE && !real && vector < 32 &&
                       (1u << vector & (1u << 8 | 0x1fu << 10 | 1u << 17));
    if (RULE(c, ENTRY_INTERRUPTION_INFO, type != TYPE_RESERVED, "bits 10:8 (type) are not 1") ||
        RULE(c, ENTRY_INTERRUPTION_INFO,
             type != TYPE_OTHER || (vector == 0 && c->controls->primary_cap & BIT(32 + 27)),
             "type 7 has vector 0 and needs the monitor trap flag") ||
        RULE(c, ENTRY_INTERRUPTION_INFO, type != TYPE_NMI || vector == 2, "an NMI has vector 2") ||
        RULE(c, ENTRY_INTERRUPTION_INFO, type != TYPE_HARDWARE || vector < 32,
             "a hardware exception has a vector below 32") ||
        RULE(
            c, ENTRY_INTERRUPTION_INFO, has_error == wants_error || free_choice,
            "bit 11 (error code) is 1 exactly for #DF, #TS, #NP, #SS, #GP, #PF, #AC in protected mode") ||
        RULE(c, ENTRY_INTERRUPTION_INFO, !(info & 0x7ffff000), "bits 30:12 are 0"))
        return true;
    if (has_error && RULE(c, ENTRY_EXCEPTION_ERROR, check_read(c, ENTRY_EXCEPTION_ERROR) < 0x10000,
                          "bits 31:16 are 0"))
        return true;
    uint64_t length = check_read(c, ENTRY_INSTRUCTION_LENGTH);
    bool zero_allowed = c->controls->misc & BIT(30);
    return type >= TYPE_SOFTWARE && type != TYPE_OTHER &&
           RULE(c, ENTRY_INSTRUCTION_LENGTH, length <= 15 && (length > 0 || zero_allowed),
                "1 to 15 for a software interrupt or exception");
}

static bool check_entry(struct vmcs_check *c) {
    return RULE(c, ENTRY_CONTROLS, allowed(c->controls->entry_cap, check_read(c, ENTRY_CONTROLS)),
                "only bits that IA32_VMX_TRUE_ENTRY_CTLS allows, and all that it wants") ||
           check_injection(c) ||
           RULE(c, ENTRY_MSR_LOAD_ADDRESS,
                list_fits(c, ENTRY_MSR_LOAD_ADDRESS, ENTRY_MSR_LOAD_COUNT), LIST_RULE);
}

bool vmcs_check_controls(struct vmcs_check *c) {
    return check_reserved(c) || check_execution(c) || check_ept(c) || check_exit(c) ||
           check_entry(c);
}
