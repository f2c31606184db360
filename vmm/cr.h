// Control registers of guests.
#pragma once
#include "vmm/vcpu.h"

int cr_exit(struct vcpu *v, const struct vm_exit *e);
int xsetbv_exit(struct vcpu *v, const struct vm_exit *e);
// The rules of MOV to CR0, CR3, CR4 (SDM vol. 2, "MOV—Move to/from Control Registers"): 0, or -EINVAL: #GP.
// PART_CR and PART_SEGMENTS are current.
int cr_set_cr0(struct vcpu *v, uint64_t value);
int cr_set_cr3(struct vcpu *v, uint64_t value);
int cr_set_cr4(struct vcpu *v, uint64_t value);
int cr_set_xcr0(struct vcpu *v, uint64_t value);
// Reads the four PDPTEs that CR3 points to in PAE mode. 0 or -EINVAL (reserved bits: #GP).
int cr_load_pdptes(struct vcpu *v, uint64_t cr3);
// True when paging is in 32-bit PAE mode.
bool cr_is_pae(const struct vcpu *v);
