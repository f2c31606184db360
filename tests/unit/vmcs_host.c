#include <string.h>
#include "vmcs_host.h"
#include "vmm/intel/controls.h"
#include "vmm/intel/vmcs.h"

struct vmcs_host vmcs_host;
struct vmx_controls vmx_controls;

void vmcs_host_clear(void) {
    memset(&vmcs_host, 0, sizeof(vmcs_host));
}

uint64_t vmcs_read_raw(uint64_t field) {
    vmcs_host.reads[field]++;
    return vmcs_host.value[field];
}
void vmcs_write_raw(uint64_t field, uint64_t value) {
    vmcs_host.writes[field]++;
    vmcs_host.value[field] = value;
}

#define ALL_ALLOWED (0xffffffffull << 32)

static void good_controls(void) {
    vmx_controls = (struct vmx_controls){.pin_cap = ALL_ALLOWED & ~(1ull << 63),
                                         .primary_cap = ALL_ALLOWED & ~(1ull << 32),
                                         .secondary_cap = ALL_ALLOWED,
                                         .exit_cap = ALL_ALLOWED,
                                         .entry_cap = ALL_ALLOWED & ~(1ull << 63),
                                         .cr0_must = 0x80000021,
                                         .cr0_may = 0xffffffff,
                                         .cr4_must = 0x2000,
                                         .cr4_may = 0x3727ff,
                                         .ept_vpid = 0xf0106734141ull,
                                         .misc = 4 << 16 | 7 << 6,
                                         .secondary = CPU2_VPID | CPU2_EPT | CPU2_UNRESTRICTED};
    static const uint64_t values[][2] = {
        {PIN_CONTROLS, PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMI | PIN_PREEMPTION_TIMER},
        {PRIMARY_CONTROLS, CPU_SECONDARY | CPU_MSR_BITMAPS | CPU_HLT},
        {SECONDARY_CONTROLS, CPU2_EPT | CPU2_UNRESTRICTED | CPU2_VPID},
        {EXIT_CONTROLS, EXIT_HOST_64 | EXIT_LOAD_PAT | EXIT_LOAD_EFER | EXIT_SAVE_DEBUG},
        {ENTRY_CONTROLS, ENTRY_GUEST_64 | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER | ENTRY_LOAD_DEBUG},
        {VPID, 1},
        {MSR_BITMAP, 0x5000},
        {EPT_POINTER, 0x10000 | 6 | 3 << 3},
        {VMCS_LINK_POINTER, UINT64_MAX}};
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
        vmcs_host.value[values[i][0]] = values[i][1];
}

static void good_host(void) {
    static const uint64_t values[][2] = {{HOST_CR0, 0x80010033},
                                         {HOST_CR3, 0x1000},
                                         {HOST_CR4, 0x2620},
                                         {HOST_EFER, 0xd01},
                                         {HOST_PAT, 0x0007040600070106},
                                         {HOST_CS_SELECTOR, 8},
                                         {HOST_SS_SELECTOR, 16},
                                         {HOST_TR_SELECTOR, 0x30},
                                         {HOST_RIP, 0xffffffff80100000},
                                         {HOST_GS_BASE, 0xffff800000001000}};
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
        vmcs_host.value[values[i][0]] = values[i][1];
}

static void good_guest(void) {
    static const uint64_t values[][2] = {{GUEST_CR0, 0x80010033},
                                         {GUEST_CR3, 0x1000},
                                         {GUEST_CR4, 0x2020},
                                         {GUEST_EFER, 0x500},
                                         {GUEST_PAT, 0x0007040600070406},
                                         {GUEST_DR7, 0x400},
                                         {GUEST_RFLAGS, 0x202},
                                         {GUEST_RIP, 0x8000},
                                         {GUEST_CS_SELECTOR, 8},
                                         {GUEST_CS_LIMIT, 0xffffffff},
                                         {GUEST_CS_RIGHTS, 0xa09b},
                                         {GUEST_TR_SELECTOR, 24},
                                         {GUEST_TR_LIMIT, 0x67},
                                         {GUEST_TR_RIGHTS, 0x8b},
                                         {GUEST_LDTR_RIGHTS, 1 << 16}};
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
        vmcs_host.value[values[i][0]] = values[i][1];
    static const unsigned data[] = {0, 2, 3, 4, 5}; // ES, SS, DS, FS, GS
    for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
        vmcs_host.value[GUEST_ES_SELECTOR + 2 * data[i]] = 16;
        vmcs_host.value[GUEST_ES_LIMIT + 2 * data[i]] = 0xffffffff;
        vmcs_host.value[GUEST_ES_RIGHTS + 2 * data[i]] = 0xc093;
    }
}

void vmcs_host_good(void) {
    vmcs_host_clear();
    good_controls();
    good_host();
    good_guest();
}
