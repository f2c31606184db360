// The counter of the pmc clock (vmm/clock_pmc.h). Never seen on hardware.
#pragma once
#include "vmm/clock_pmc.h"
#include "vmm/vcpu.h"

// Set by clock_pmc_prove(): the VMCS of each vCPU switches the counter on at entries and off at exits.
extern bool vmx_pmc_on;

// Around a passage, interrupts off: sets the counter for at most `branches`, and true when it must be a
// single step; afterwards, what the guest executed.
bool vmx_pmc_arm(struct vcpu *v, uint64_t branches);
uint64_t vmx_pmc_collect(struct vcpu *v);

// msr_safe.S: false when the processor has no such MSR or refuses the value.
bool msr_read_safe(uint32_t msr, uint64_t *value);
bool msr_write_safe(uint32_t msr, uint64_t value);
