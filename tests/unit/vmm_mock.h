// A vendor for unit tests: entries of second-level tables in a simple format, abilities that a test can
// take away, and a record of what the VMM asked for.
#pragma once
#include "vmm/vcpu.h"
#include "vmm/vendor.h"

#define MOCK_READ     1ull
#define MOCK_WRITE    2ull
#define MOCK_EXEC     4ull
#define MOCK_LARGE    (1ull << 7)
#define MOCK_ACCESSED (1ull << 8)
#define MOCK_DIRTY    (1ull << 9)
#define MOCK_ADDRESS  0x000ffffffffff000ull

extern const struct vmm_vendor mock_vendor;
extern bool mock_lacks[32];          // by enum vmm_ability
extern unsigned mock_stage2_flushes; // calls of flush_stage2
// Called by flush_stage2 when set.
extern void (*mock_on_flush)(struct vm *vm, paddr_t root);
