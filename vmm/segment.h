// Descriptors of the guest's tables, for task switches and system instructions.
#pragma once
#include "vmm/vcpu.h"

// Descriptor types of system segments (SDM vol. 3, "System Descriptor Types").
enum {
    TYPE_TSS_16 = 1,
    TYPE_LDT = 2,
    TYPE_TSS_32 = 9,
    TYPE_TSS_BUSY = 2
}; // BUSY: added to the TSS types

// A descriptor as a segment register would hold it; `raw` are its 8 bytes (16 of system segments in
// 64-bit mode: base_high are the upper ones).
struct descriptor {
    struct kvm_segment segment;
    uint64_t raw;
    uint64_t linear; // where it is
};

// What the eight bytes of a descriptor say.
struct kvm_segment descriptor_unpack(uint16_t selector, uint64_t raw);
// Reads the descriptor of a selector from GDT or LDT. 0; 1: an exception was injected (`vector` with the
// selector when it is outside of its table); negative errno. PART_SEGMENTS is current.
int descriptor_read(struct vcpu *v, uint16_t selector, uint8_t vector, struct descriptor *d);
// Sets bits in its access byte, in memory and in d (accessed, busy), or clears the busy bit of a TSS.
int descriptor_set_type(struct vcpu *v, struct descriptor *d, uint8_t type);
// Injects an exception whose error code is a selector. Returns 1.
int selector_fault(struct vcpu *v, uint8_t vector, uint16_t selector);
// Loads a segment register as a task switch does (SDM vol. 3, "Task Switching"): checks by `cpl`, sets the
// accessed bit. 0; 1: an exception was injected; negative errno.
int segment_load_for_task(struct vcpu *v, unsigned seg, uint16_t selector, unsigned cpl);
// The same for LDTR.
int segment_load_ldt(struct vcpu *v, uint16_t selector, uint8_t vector);
