// The checks of a VM entry, as the SDM lists them (vol. 3, chapter "VM Entries"), in software: which
// field is wrong, what is in it, and which rule it breaks. Pure but for the callback that reads fields,
// so that unit tests feed it any VMCS.
#pragma once
#include "lib/compiler.h"
#include "vmm/intel/controls.h"

struct vmcs_check {
    uint64_t (*read)(void *arg, uint32_t field);
    void *arg;
    const struct vmx_controls *controls; // what this processor can do
    unsigned physical_bits;
    // The result: the first violation, in the SDM's order.
    uint32_t field;   // its encoding
    const char *name; // "GUEST_RFLAGS"
    uint64_t value;
    const char *rule; // "bit 1 must be 1"
};

// Each returns true when a rule is broken and then fills in the result.
bool vmcs_check_controls(struct vmcs_check *c);
bool vmcs_check_host(struct vmcs_check *c);
bool vmcs_check_guest(struct vmcs_check *c);
// All of them, in this order.
bool vmcs_check_all(struct vmcs_check *c);

// For the three: reads a field; states a rule.
static inline uint64_t check_read(struct vmcs_check *c, uint32_t field) {
    return c->read(c->arg, field);
}
bool check_broken(struct vmcs_check *c, uint32_t field, const char *name, uint64_t value,
                  const char *rule);
// True (and the result is filled in) unless `good`. Used as: if (RULE(c, FIELD, good, "...")) return true;
#define RULE(c, field, good, rule) \
    (!(good) && check_broken(c, field, #field, check_read(c, field), rule))

static inline bool canonical(uint64_t address) {
    return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}
// A physical address: aligned to 2^shift and within the processor's width.
static inline bool physical(const struct vmcs_check *c, uint64_t address, unsigned shift) {
    return !(address & (BIT(shift) - 1)) && address >> c->physical_bits == 0;
}
static inline bool valid_pat(uint64_t pat) {
    for (unsigned i = 0; i < 8; i++, pat >>= 8)
        if ((pat & 0xff) > 7 || (pat & 0xff) == 2 || (pat & 0xff) == 3)
            return false;
    return true;
}
