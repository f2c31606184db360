// Sums over the state of a virtual machine: what recording writes down and replaying compares.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct machine;
struct state_check;

// Registers of all vCPUs in a canonical form (what the architecture leaves open is masked), and all
// devices. At a stop: pending accesses are completed.
void machine_check(struct machine *m, struct state_check *check);
// The same as one number.
uint64_t machine_hash_state(struct machine *m);
// Frees what was kept to sum the state up again at little cost.
void machine_forget_state(struct machine *m);
// All of guest memory as one number.
uint64_t machine_hash_memory(struct machine *m);
// Where the machine differs from one with the check `recorded`: "rbx of vCPU 0", "several fields of pit0".
void machine_name_difference(struct machine *m, const struct state_check *recorded, char *buf,
                             size_t n);
