// Additions to vcpu_translate() (vmm/vcpu.h).
#pragma once
#include "mm/space.h"

struct vcpu;

// With ACCESS_READ or ACCESS_WRITE: an access to a system structure (descriptor table, task state), for
// which SMAP does not look at RFLAGS.AC.
#define ACCESS_IMPLICIT 8

// The way of an access through the guest's tables, whose accessed and dirty bits stay as they are.
struct walk_path {
    unsigned looked, entry_size; // entries that are read, and the bytes of each
    uint64_t at[4];              // where they are
    bool sets[4];                // the access sets a bit of it
    bool allowed;                // it is no page fault; then
    uint64_t gpa;                // what it leads to
};
// Arguments as for vcpu_translate().
void vcpu_walk_path(struct vcpu *v, uint64_t gva, unsigned access, bool user, struct walk_path *p);
