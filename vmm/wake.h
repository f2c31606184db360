// Waking a running vCPU from a file (CHRONO_SET_WAKE_FD).
#pragma once
#include "vmm/vcpu.h"

struct file;
// When `f` becomes readable KVM_RUN returns -EINTR. Takes over the reference; NULL: none any more. v->lock
// held or nobody else knows v. 0 or -ENOMEM (the reference is dropped).
int wake_source_set(struct vcpu *v, struct file *f);
// Is it readable now: KVM_RUN must not enter the guest.
bool wake_source_ready(struct vcpu *v);
long wake_ioctl(struct vcpu *v, unsigned long arg);
