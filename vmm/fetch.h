// Fetching and decoding the instruction that caused an exit.
#pragma once
#include "vmm/decode.h"
#include "vmm/vcpu.h"

// The instruction at the guest's RIP; *out is valid until the next call. 0; 1: a page fault was injected; -EINVAL: not an instruction that the
// decoder knows; -EFAULT: it does not lie in memory; -ENOMEM. PART_RIP is current.
int fetch_instruction(struct vcpu *v, const struct instruction **out);

struct fetch_cache;
// NULL: out of memory; without one every fetch takes the long way.
struct fetch_cache *fetch_cache_create(void);
void fetch_cache_free(struct fetch_cache *c);
