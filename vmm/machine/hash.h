// Sums over the state of a virtual machine: what recording writes down and replaying compares.
#pragma once
#include <stdint.h>

struct machine;

// Registers of all vCPUs in a canonical form (what the architecture leaves open is masked), and all
// devices. At a stop: pending accesses are completed.
uint64_t machine_hash_state(struct machine *m);
// All guest RAM. A page that was never touched counts as zeroes and is not touched.
uint64_t machine_hash_memory(struct machine *m);
