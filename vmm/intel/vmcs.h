// VMCS fields, named and grouped as in the SDM (vol. 3, appendix "Field Encoding in VMCS"), and the
// checked accessors, one per width. Only vmm/intel may include this header.
#pragma once
#include "lib/assert.h"
#include "vmm/vcpu.h"

// 16-bit control, guest-state, host-state fields
enum vmcs_field16 {
    VPID = 0x0000,
    GUEST_ES_SELECTOR = 0x0800,
    GUEST_CS_SELECTOR = 0x0802,
    GUEST_SS_SELECTOR = 0x0804,
    GUEST_DS_SELECTOR = 0x0806,
    GUEST_FS_SELECTOR = 0x0808,
    GUEST_GS_SELECTOR = 0x080a,
    GUEST_LDTR_SELECTOR = 0x080c,
    GUEST_TR_SELECTOR = 0x080e,
    GUEST_PML_INDEX = 0x0812,
    HOST_ES_SELECTOR = 0x0c00,
    HOST_CS_SELECTOR = 0x0c02,
    HOST_SS_SELECTOR = 0x0c04,
    HOST_DS_SELECTOR = 0x0c06,
    HOST_FS_SELECTOR = 0x0c08,
    HOST_GS_SELECTOR = 0x0c0a,
    HOST_TR_SELECTOR = 0x0c0c,
};
// 64-bit control, read-only, guest-state, host-state fields
enum vmcs_field64 {
    IO_BITMAP_A = 0x2000,
    IO_BITMAP_B = 0x2002,
    MSR_BITMAP = 0x2004,
    EXIT_MSR_STORE_ADDRESS = 0x2006,
    EXIT_MSR_LOAD_ADDRESS = 0x2008,
    ENTRY_MSR_LOAD_ADDRESS = 0x200a,
    PML_ADDRESS = 0x200e,
    TSC_OFFSET = 0x2010,
    EPT_POINTER = 0x201a,
    XSS_EXITING_BITMAP = 0x202c,
    TSC_MULTIPLIER = 0x2032,
    GUEST_PHYSICAL_ADDRESS = 0x2400,
    VMCS_LINK_POINTER = 0x2800,
    GUEST_DEBUGCTL = 0x2802,
    GUEST_PAT = 0x2804,
    GUEST_EFER = 0x2806,
    GUEST_PERF_GLOBAL_CTRL = 0x2808,
    GUEST_PDPTE0 = 0x280a,
    GUEST_PDPTE1 = 0x280c,
    GUEST_PDPTE2 = 0x280e,
    GUEST_PDPTE3 = 0x2810,
    HOST_PAT = 0x2c00,
    HOST_EFER = 0x2c02,
    HOST_PERF_GLOBAL_CTRL = 0x2c04,
};
// 32-bit control, read-only, guest-state, host-state fields
enum vmcs_field32 {
    PIN_CONTROLS = 0x4000,
    PRIMARY_CONTROLS = 0x4002,
    EXCEPTION_BITMAP = 0x4004,
    PAGE_FAULT_ERROR_MASK = 0x4006,
    PAGE_FAULT_ERROR_MATCH = 0x4008,
    CR3_TARGET_COUNT = 0x400a,
    EXIT_CONTROLS = 0x400c,
    EXIT_MSR_STORE_COUNT = 0x400e,
    EXIT_MSR_LOAD_COUNT = 0x4010,
    ENTRY_CONTROLS = 0x4012,
    ENTRY_MSR_LOAD_COUNT = 0x4014,
    ENTRY_INTERRUPTION_INFO = 0x4016,
    ENTRY_EXCEPTION_ERROR = 0x4018,
    ENTRY_INSTRUCTION_LENGTH = 0x401a,
    TPR_THRESHOLD = 0x401c,
    SECONDARY_CONTROLS = 0x401e,
    INSTRUCTION_ERROR = 0x4400,
    EXIT_REASON = 0x4402,
    EXIT_INTERRUPTION_INFO = 0x4404,
    EXIT_INTERRUPTION_ERROR = 0x4406,
    IDT_VECTORING_INFO = 0x4408,
    IDT_VECTORING_ERROR = 0x440a,
    EXIT_INSTRUCTION_LENGTH = 0x440c,
    EXIT_INSTRUCTION_INFO = 0x440e,
    GUEST_ES_LIMIT = 0x4800,
    GUEST_CS_LIMIT = 0x4802,
    GUEST_SS_LIMIT = 0x4804,
    GUEST_DS_LIMIT = 0x4806,
    GUEST_FS_LIMIT = 0x4808,
    GUEST_GS_LIMIT = 0x480a,
    GUEST_LDTR_LIMIT = 0x480c,
    GUEST_TR_LIMIT = 0x480e,
    GUEST_GDTR_LIMIT = 0x4810,
    GUEST_IDTR_LIMIT = 0x4812,
    GUEST_ES_RIGHTS = 0x4814,
    GUEST_CS_RIGHTS = 0x4816,
    GUEST_SS_RIGHTS = 0x4818,
    GUEST_DS_RIGHTS = 0x481a,
    GUEST_FS_RIGHTS = 0x481c,
    GUEST_GS_RIGHTS = 0x481e,
    GUEST_LDTR_RIGHTS = 0x4820,
    GUEST_TR_RIGHTS = 0x4822,
    GUEST_INTERRUPTIBILITY = 0x4824,
    GUEST_ACTIVITY = 0x4826,
    GUEST_SMBASE = 0x4828,
    GUEST_SYSENTER_CS = 0x482a,
    PREEMPTION_TIMER = 0x482e,
    HOST_SYSENTER_CS = 0x4c00,
};
// Natural-width control, read-only, guest-state, host-state fields
enum vmcs_field_natural {
    CR0_MASK = 0x6000,
    CR4_MASK = 0x6002,
    CR0_READ_SHADOW = 0x6004,
    CR4_READ_SHADOW = 0x6006,
    EXIT_QUALIFICATION = 0x6400,
    IO_RCX = 0x6402,
    IO_RSI = 0x6404,
    IO_RDI = 0x6406,
    IO_RIP = 0x6408,
    GUEST_LINEAR_ADDRESS = 0x640a,
    GUEST_CR0 = 0x6800,
    GUEST_CR3 = 0x6802,
    GUEST_CR4 = 0x6804,
    GUEST_ES_BASE = 0x6806,
    GUEST_CS_BASE = 0x6808,
    GUEST_SS_BASE = 0x680a,
    GUEST_DS_BASE = 0x680c,
    GUEST_FS_BASE = 0x680e,
    GUEST_GS_BASE = 0x6810,
    GUEST_LDTR_BASE = 0x6812,
    GUEST_TR_BASE = 0x6814,
    GUEST_GDTR_BASE = 0x6816,
    GUEST_IDTR_BASE = 0x6818,
    GUEST_DR7 = 0x681a,
    GUEST_RSP = 0x681c,
    GUEST_RIP = 0x681e,
    GUEST_RFLAGS = 0x6820,
    GUEST_PENDING_DEBUG = 0x6822,
    GUEST_SYSENTER_ESP = 0x6824,
    GUEST_SYSENTER_EIP = 0x6826,
    HOST_CR0 = 0x6c00,
    HOST_CR3 = 0x6c02,
    HOST_CR4 = 0x6c04,
    HOST_FS_BASE = 0x6c06,
    HOST_GS_BASE = 0x6c08,
    HOST_TR_BASE = 0x6c0a,
    HOST_GDTR_BASE = 0x6c0c,
    HOST_IDTR_BASE = 0x6c0e,
    HOST_SYSENTER_ESP = 0x6c10,
    HOST_SYSENTER_EIP = 0x6c12,
    HOST_RSP = 0x6c14,
    HOST_RIP = 0x6c16,
};

// A failing access means that no VMCS is current or the field does not exist on this processor: our bug, and the end
// (explain.c). The assembly of each access calls it, behind the function's code, so that the compiler sees no call and
// makes small functions without a stack frame. (The accessors that take a vCPU count into its costs.)
noreturn void vmcs_read_failed(uint64_t field);
noreturn void vmcs_write_failed(uint64_t field);
#define CHECKED(access, field, failed) \
    access "; jna 1f; .subsection 1; 1: mov " field ", %%rdi; call " failed "; .previous"

#ifdef UNIT_TEST // the test keeps the fields
uint64_t vmcs_read_raw(uint64_t field);
void vmcs_write_raw(uint64_t field, uint64_t value);
void vmclear(paddr_t region);
void vmptrld(paddr_t region);
#else
static inline void vmclear(paddr_t region) {
    bool failed;
    __asm__ volatile("vmclear %1" : "=@ccna"(failed) : "m"(region) : "memory");
    ASSERT(!failed);
}
static inline void vmptrld(paddr_t region) {
    bool failed;
    __asm__ volatile("vmptrld %1" : "=@ccna"(failed) : "m"(region) : "memory");
    ASSERT(!failed);
}
static inline uint64_t vmcs_read_raw(uint64_t field) {
    uint64_t value;
    __asm__ volatile(CHECKED("vmread %1, %0", "%1", "vmcs_read_failed")
                     : "=r"(value)
                     : "r"(field)
                     : "cc");
    return value;
}
static inline void vmcs_write_raw(uint64_t field, uint64_t value) {
    __asm__ volatile(CHECKED("vmwrite %0, %1", "%1", "vmcs_write_failed")
                     :
                     : "r"(value), "r"(field)
                     : "cc");
}
#endif

#define VMCS_ACCESSORS(suffix, field_type, value_type)                                           \
    static inline value_type vmcs_read##suffix(struct vcpu *v, enum field_type f) {              \
        v->costs.vmreads++;                                                                      \
        return (value_type)vmcs_read_raw(f);                                                     \
    }                                                                                            \
    static inline void vmcs_write##suffix(struct vcpu *v, enum field_type f, value_type value) { \
        v->costs.vmwrites++;                                                                     \
        vmcs_write_raw(f, value);                                                                \
    }
VMCS_ACCESSORS(16, vmcs_field16, uint16_t)
VMCS_ACCESSORS(32, vmcs_field32, uint32_t)
VMCS_ACCESSORS(64, vmcs_field64, uint64_t)
VMCS_ACCESSORS(_natural, vmcs_field_natural, uint64_t)
#undef VMCS_ACCESSORS
