// Virtual machines and vCPUs as objects with files: creation, references, ioctls.
#pragma once
#include "vmm/vcpu.h"

struct file;

// A VM of the calling process's memory, with one reference. ERR_PTR(-ENOMEM).
struct vm *vm_create(void);
void vm_get(struct vm *vm);
// The last reference frees it; may sleep.
void vm_put(struct vm *vm);
// Installs a descriptor for the VM (takes over the reference) or a vCPU (takes its own of the VM).
// fd or -errno.
int vm_install_fd(struct vm *vm);
int vcpu_install_fd(struct vcpu *v);
// Adds a vCPU in reset state. -EEXIST, -EINVAL, -ENOMEM, -E2BIG.
int vm_add_vcpu(struct vm *vm, unsigned id, struct vcpu **out);
// The VM behind a file, or NULL when the file is something else.
struct vm *vm_of_file(const struct file *f);

// vcpu.c. The memory of a vCPU that belongs to no VM yet. NULL: out of memory.
struct vcpu *vcpu_create(struct vm *vm, unsigned id);
void vcpu_free(struct vcpu *v);

// The ioctls of the three kinds of descriptors. `arg` is the user's, untrusted.
long vmm_system_ioctl(struct file *f, unsigned cmd, unsigned long arg);
long vm_ioctl(struct vm *vm, unsigned cmd, unsigned long arg);
long vcpu_ioctl(struct file *f, unsigned cmd, unsigned long arg);
// KVM_CHECK_EXTENSION: what KVM's documentation says for that capability; 0: absent.
long vmm_check_extension(unsigned long cap);
// KVM_ENABLE_CAP on a VM.
long vm_enable_cap(struct vm *vm, unsigned long arg);
// CHRONO_CLONE (clone.c), on a VM inherited over fork.
long vm_clone(struct vm *from, unsigned long arg);
