// A VMCS for unit tests of vmm/intel: fields in a table.
#pragma once
#include <stdint.h>

struct vmcs_host {
    uint64_t value[0x8000];
    unsigned reads[0x8000], writes[0x8000];
};
extern struct vmcs_host vmcs_host;

void vmcs_host_clear(void);
// Fills in controls, host state and a 64-bit guest that an entry accepts; and vmx_controls to suit.
void vmcs_host_good(void);
