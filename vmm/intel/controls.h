// The execution, entry and exit controls of VT-x (SDM vol. 3, "VM-Execution Control Fields",
// "VM-Exit Control Fields", "VM-Entry Control Fields") and which of them this VMM uses.
#pragma once
#include "lib/compiler.h"

enum { // pin-based
    PIN_EXTERNAL_INTERRUPT = 1u << 0,
    PIN_NMI = 1u << 3,
    PIN_VIRTUAL_NMI = 1u << 5,
    PIN_PREEMPTION_TIMER = 1u << 6,
};
enum { // primary processor-based
    CPU_IRQ_WINDOW = 1u << 2,
    CPU_TSC_OFFSETTING = 1u << 3,
    CPU_HLT = 1u << 7,
    CPU_MWAIT = 1u << 10,
    CPU_RDPMC = 1u << 11,
    CPU_RDTSC = 1u << 12,
    CPU_CR3_LOAD = 1u << 15,
    CPU_CR3_STORE = 1u << 16,
    CPU_CR8_LOAD = 1u << 19,
    CPU_CR8_STORE = 1u << 20,
    CPU_NMI_WINDOW = 1u << 22,
    CPU_MOV_DR = 1u << 23,
    CPU_UNCONDITIONAL_IO = 1u << 24,
    CPU_IO_BITMAPS = 1u << 25,
    CPU_MONITOR_TRAP = 1u << 27,
    CPU_MSR_BITMAPS = 1u << 28,
    CPU_MONITOR = 1u << 29,
    CPU_PAUSE = 1u << 30,
    CPU_SECONDARY = 1u << 31,
};
enum { // secondary processor-based
    CPU2_EPT = 1u << 1,
    CPU2_RDTSCP = 1u << 3,
    CPU2_VPID = 1u << 5,
    CPU2_WBINVD = 1u << 6,
    CPU2_UNRESTRICTED = 1u << 7,
    CPU2_RDRAND = 1u << 11,
    CPU2_RDSEED = 1u << 16,
    CPU2_PML = 1u << 17,
    CPU2_TSC_SCALING = 1u << 25,
};
enum { // exit
    EXIT_SAVE_DEBUG = 1u << 2,
    EXIT_HOST_64 = 1u << 9,
    EXIT_LOAD_PERF = 1u << 12,
    EXIT_ACK_INTERRUPT = 1u << 15,
    EXIT_SAVE_PAT = 1u << 18,
    EXIT_LOAD_PAT = 1u << 19,
    EXIT_SAVE_EFER = 1u << 20,
    EXIT_LOAD_EFER = 1u << 21,
    EXIT_SAVE_TIMER = 1u << 22,
};
enum { // entry
    ENTRY_LOAD_DEBUG = 1u << 2,
    ENTRY_GUEST_64 = 1u << 9,
    ENTRY_LOAD_PERF = 1u << 13,
    ENTRY_LOAD_PAT = 1u << 14,
    ENTRY_LOAD_EFER = 1u << 15,
};

// What negotiation arrived at (features.c); constant after boot.
struct vmx_controls {
    uint32_t revision;                             // of the VMCS region
    uint32_t pin, primary, secondary, exit, entry; // values for a new VMCS
    uint32_t primary_may, secondary_may;           // bits that may be switched on later
    uint64_t cr0_must, cr0_may, cr4_must, cr4_may; // in VMX operation (IA32_VMX_CR0_FIXED0...)
    uint64_t ept_vpid;                             // IA32_VMX_EPT_VPID_CAP
    // The capability MSRs: low half: bits that must be 1, high half: bits that may be.
    uint64_t pin_cap, primary_cap, secondary_cap, exit_cap, entry_cap, misc, basic;
    uint8_t timer_shift; // preemption timer counts at TSC >> shift
};
extern struct vmx_controls vmx_controls;
#ifdef UNIT_TEST // the test is the processor: its capability MSRs
uint64_t vmx_capability(uint32_t msr);
#endif

// Looks at the capability MSRs; logs every missing mandatory feature by name. 0 or -ENODEV.
int vmx_negotiate(void);
