// What vmm/vcpu.h does not offer of guest memory. (vm_read() and vm_write() are declared there.)
#pragma once
#include "vmm/vcpu.h"

// As vm_read(), for several reads that are likely to lie in the same slot: *last has size 0 at first and
// then holds the slot found last.
int vm_read_near(struct vm *vm, struct memory_slot *last, uint64_t gpa, void *buf, size_t n);
// Replaces the 4 or 8 bytes at gpa, aligned, by `new` if they are `expected`, atomically. 0; -EAGAIN: they
// are not; -EFAULT: no memory that can be written there. May sleep.
int vm_compare_exchange(struct vm *vm, uint64_t gpa, unsigned size, uint64_t expected,
                        uint64_t new);
