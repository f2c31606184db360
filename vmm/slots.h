// Memory slots: which guest-physical ranges are which memory of the process.
#pragma once
#include "vmm/vcpu.h"

// KVM_SET_USER_MEMORY_REGION: creates, moves, changes or deletes. vm->lock not held. 0 or -errno as KVM.
int slots_set(struct vm *vm, const struct kvm_userspace_memory_region *r);
// KVM_GET_DIRTY_LOG and KVM_CLEAR_DIRTY_LOG.
int slots_get_dirty(struct vm *vm, const struct kvm_dirty_log *log);
int slots_clear_dirty(struct vm *vm, const struct kvm_clear_dirty_log *log);
// The slot that contains gpa, or NULL. vm->lock held.
struct memory_slot *slot_find(const struct vm *vm, uint64_t gpa);
// Copies all slots of a VM into an empty one. Both locks held. 0 or -ENOMEM.
int slots_clone(struct vm *to, struct vm *from);
void slots_free(struct vm *vm);
