// Which controls of VT-x this VMM wants, must have and must not have, held against the capability
// MSRs in one place (SDM vol. 3, appendix "VMX Capability Reporting Facility").
#include "cpu/msr.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "vmm/intel/controls.h"

#ifndef UNIT_TEST
static uint64_t vmx_capability(uint32_t msr) {
    return rdmsr(msr);
}
#endif

#define MSR_VMX_BASIC        0x480
#define MSR_VMX_MISC         0x485
#define MSR_VMX_CR0_FIXED0   0x486
#define MSR_VMX_CR0_FIXED1   0x487
#define MSR_VMX_CR4_FIXED0   0x488
#define MSR_VMX_CR4_FIXED1   0x489
#define MSR_VMX_SECONDARY    0x48b
#define MSR_VMX_EPT_VPID     0x48c
#define MSR_VMX_TRUE_PIN     0x48d
#define MSR_VMX_TRUE_PRIMARY 0x48e
#define MSR_VMX_TRUE_EXIT    0x48f
#define MSR_VMX_TRUE_ENTRY   0x490
#define BASIC_TRUE_CONTROLS  BIT(55)

struct vmx_controls vmx_controls;

enum need {
    MANDATORY, // no VMM without it
    WANTED,    // set when possible
    SWITCHED,  // off at first; switched on for some entries when possible
};
struct control {
    uint32_t bit;
    enum need need;
    const char *name;
};

static const struct control pin_controls[] = {
    {PIN_EXTERNAL_INTERRUPT, MANDATORY, "external-interrupt exiting"},
    {PIN_NMI, MANDATORY, "NMI exiting"},
    {PIN_VIRTUAL_NMI, MANDATORY, "virtual NMIs"},
    {PIN_PREEMPTION_TIMER, MANDATORY, "VMX-preemption timer"},
};
static const struct control primary_controls[] = {
    {CPU_TSC_OFFSETTING, MANDATORY, "TSC offsetting"},
    {CPU_HLT, MANDATORY, "HLT exiting"},
    {CPU_MWAIT, MANDATORY, "MWAIT exiting"},
    {CPU_MONITOR, MANDATORY, "MONITOR exiting"},
    {CPU_RDPMC, MANDATORY, "RDPMC exiting"},
    {CPU_CR8_LOAD, MANDATORY, "CR8-load exiting"},
    {CPU_CR8_STORE, MANDATORY, "CR8-store exiting"},
    {CPU_MOV_DR, MANDATORY, "MOV-DR exiting"},
    {CPU_UNCONDITIONAL_IO, MANDATORY, "unconditional I/O exiting"},
    {CPU_MSR_BITMAPS, MANDATORY, "MSR bitmaps"},
    {CPU_SECONDARY, MANDATORY, "secondary controls"},
    {CPU_IRQ_WINDOW, SWITCHED, "interrupt-window exiting"},
    {CPU_NMI_WINDOW, SWITCHED, "NMI-window exiting"},
    {CPU_RDTSC, SWITCHED, "RDTSC exiting"},
    {CPU_PAUSE, SWITCHED, "PAUSE exiting"},
    {CPU_MONITOR_TRAP, SWITCHED, "monitor trap flag"},
};
static const struct control secondary_controls[] = {
    {CPU2_EPT, MANDATORY, "EPT"},
    {CPU2_UNRESTRICTED, MANDATORY, "unrestricted guest"},
    {CPU2_VPID, WANTED, "VPID"},
    {CPU2_RDTSCP, WANTED, "RDTSCP"},
    {CPU2_WBINVD, WANTED, "WBINVD exiting"},
    {CPU2_RDRAND, SWITCHED, "RDRAND exiting"},
    {CPU2_RDSEED, SWITCHED, "RDSEED exiting"},
};
static const struct control exit_controls[] = {
    {EXIT_SAVE_DEBUG, MANDATORY, "save debug controls"},
    {EXIT_HOST_64, MANDATORY, "64-bit host"},
    {EXIT_SAVE_PAT, MANDATORY, "save IA32_PAT"},
    {EXIT_LOAD_PAT, MANDATORY, "load host IA32_PAT"},
    {EXIT_SAVE_EFER, MANDATORY, "save IA32_EFER"},
    {EXIT_LOAD_EFER, MANDATORY, "load host IA32_EFER"},
};
static const struct control entry_controls[] = {
    {ENTRY_LOAD_DEBUG, MANDATORY, "load debug controls"},
    {ENTRY_GUEST_64, SWITCHED, "64-bit guest"},
    {ENTRY_LOAD_PAT, MANDATORY, "load guest IA32_PAT"},
    {ENTRY_LOAD_EFER, MANDATORY, "load guest IA32_EFER"},
};

// Combines the wishes with a capability MSR: low half: bits that must be 1, high half: bits that may
// be. Returns false when something mandatory is missing.
static bool negotiate(const char *group, const struct control *c, unsigned n, uint32_t msr,
                      uint32_t *value, uint32_t *may) {
    uint64_t cap = vmx_capability(msr);
    uint32_t must = (uint32_t)cap, allowed = (uint32_t)(cap >> 32), on = 0, known = 0;
    bool ok = true;
    for (unsigned i = 0; i < n; i++) {
        known |= c[i].bit;
        if (c[i].need != SWITCHED && (allowed & c[i].bit))
            on |= c[i].bit;
        else if (c[i].need == MANDATORY) {
            log_error("vmm: VT-x: this processor lacks \"%s\" (%s controls)", c[i].name, group);
            ok = false;
        }
    }
    // Bits forced on that we do not know are the reserved ones that software must copy ("default1").
    *value = on | must;
    if (may)
        *may = allowed & known;
    return ok;
}
#define NEGOTIATE(group, msr, value, may) \
    negotiate(#group, group##_controls, ARRAY_SIZE(group##_controls), msr, value, may)

static bool negotiate_ept(void) {
    struct {
        unsigned bit;
        const char *name;
    } needed[] = {{6, "EPT with 4-level walk"},  {14, "EPT write-back structures"},
                  {16, "EPT 2 MB pages"},        {20, "INVEPT"},
                  {25, "INVEPT of one context"}, {26, "INVEPT of all contexts"}};
    uint64_t cap = vmx_controls.ept_vpid = vmx_capability(MSR_VMX_EPT_VPID);
    bool ok = true;
    for (unsigned i = 0; i < ARRAY_SIZE(needed); i++)
        if (!(cap & BIT(needed[i].bit))) {
            log_error("vmm: VT-x: this processor lacks \"%s\"", needed[i].name);
            ok = false;
        }
    // VPIDs are of use only with INVVPID of one context and of all.
    uint64_t invvpid = BIT(32) | BIT(41) | BIT(42);
    if ((cap & invvpid) != invvpid)
        vmx_controls.secondary &= ~CPU2_VPID;
    return ok;
}

int vmx_negotiate(void) {
    struct vmx_controls *c = &vmx_controls;
    uint64_t basic = vmx_capability(MSR_VMX_BASIC);
    if (!(basic & BASIC_TRUE_CONTROLS)) {
        log_error("vmm: VT-x: this processor lacks the \"true\" control MSRs");
        return -ENODEV;
    }
    c->basic = basic;
    c->revision = basic & 0x7fffffff;
    bool ok = NEGOTIATE(pin, MSR_VMX_TRUE_PIN, &c->pin, NULL);
    ok &= NEGOTIATE(primary, MSR_VMX_TRUE_PRIMARY, &c->primary, &c->primary_may);
    ok &= NEGOTIATE(exit, MSR_VMX_TRUE_EXIT, &c->exit, NULL);
    ok &= NEGOTIATE(entry, MSR_VMX_TRUE_ENTRY, &c->entry, NULL);
    // Reading a capability MSR faults where the control that it belongs to does not exist.
    if (!(c->primary & CPU_SECONDARY))
        return -ENODEV;
    ok &= NEGOTIATE(secondary, MSR_VMX_SECONDARY, &c->secondary, &c->secondary_may);
    if (!(c->secondary & CPU2_EPT))
        return -ENODEV;
    ok &= negotiate_ept();
    if (c->primary & (CPU_CR3_LOAD | CPU_CR3_STORE)) {
        log_error("vmm: VT-x: CR3 exiting cannot be switched off");
        ok = false;
    }
    c->pin_cap = vmx_capability(MSR_VMX_TRUE_PIN);
    c->primary_cap = vmx_capability(MSR_VMX_TRUE_PRIMARY);
    c->secondary_cap = vmx_capability(MSR_VMX_SECONDARY);
    c->exit_cap = vmx_capability(MSR_VMX_TRUE_EXIT);
    c->entry_cap = vmx_capability(MSR_VMX_TRUE_ENTRY);
    c->misc = vmx_capability(MSR_VMX_MISC);
    c->timer_shift = c->misc & 0x1f;
    c->cr0_must = vmx_capability(MSR_VMX_CR0_FIXED0);
    c->cr0_may = vmx_capability(MSR_VMX_CR0_FIXED1);
    c->cr4_must = vmx_capability(MSR_VMX_CR4_FIXED0);
    c->cr4_may = vmx_capability(MSR_VMX_CR4_FIXED1);
    return ok ? 0 : -ENODEV;
}
