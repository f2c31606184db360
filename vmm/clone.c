// CHRONO_CLONE: a VM for a child of fork(), like its parent's at that moment: the same slots, now the child's
// copy-on-write memory, and vCPUs in the same state.
#include "cpu/fpu.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "fs/file.h"
#include "vmm/emulate.h"
#include "vmm/msr.h"
#include "vmm/slots.h"
#include "vmm/stage2.h"
#include "vmm/vm.h"
#include "vmm/watch.h"

static int clone_vcpu(struct vcpu *to, struct vcpu *from) {
    int err = emulation_clone(to, from);
    if (err)
        return err;
    if (from->cpuid_count) {
        to->cpuid = kmalloc(from->cpuid_count * sizeof(*to->cpuid));
        if (!to->cpuid)
            return -ENOMEM;
        memcpy(to->cpuid, from->cpuid, from->cpuid_count * sizeof(*to->cpuid));
        to->cpuid_count = from->cpuid_count;
    }
    vcpu_fetch(from, PART_ALL);
    memcpy(to->gpr, from->gpr, sizeof(to->gpr));
    memcpy(to->pdpte, from->pdpte, sizeof(to->pdpte));
    memcpy(to->dr, from->dr, sizeof(to->dr));
    memcpy(to->seg, from->seg, sizeof(to->seg));
    memcpy(to->fpu, from->fpu, fpu_area_size());
    to->rip = from->rip;
    to->rflags = from->rflags;
    to->cr0 = from->cr0;
    to->cr2 = from->cr2;
    to->cr3 = from->cr3;
    to->cr4 = from->cr4;
    to->cr8 = from->cr8;
    to->efer = from->efer;
    to->xcr0 = from->xcr0;
    to->dr6 = from->dr6;
    to->dr7 = from->dr7;
    to->gdt = from->gdt;
    to->idt = from->idt;
    to->msr = from->msr;
    to->interruptibility = from->interruptibility;
    to->activity = from->activity;
    to->pending_debug = from->pending_debug;
    to->event = from->event;
    to->control = from->control;
    to->count = from->count;
    to->injected_at = from->injected_at;
    to->injected = from->injected;
    to->tsc_offset = from->tsc_offset;
    to->mp_state = from->mp_state;
    to->guest_debug = from->guest_debug;
    to->complete = from->complete;
    to->complete_rip = from->complete_rip;
    to->pending = from->pending;
    to->signal_mask = from->signal_mask;
    to->has_signal_mask = from->has_signal_mask;
    memcpy(to->run, from->run, PAGE_SIZE);
    memcpy(to->pio_data, from->pio_data, PAGE_SIZE);
    memcpy(to->chrono, from->chrono, PAGE_SIZE);
    to->stale = 0;
    to->dirty = PART_ALL;
    vcpu_debug_changed(to);
    vcpu_features_changed(to);
    return 0;
}

static int clone_vcpus(struct vm *to, struct vm *from) {
    unsigned n = READ_ONCE(from->vcpu_count);
    for (unsigned i = 0; i < n; i++) {
        struct vcpu *old = from->vcpus[i], *new;
        int err = vm_add_vcpu(to, old->id, &new);
        if (err)
            return err;
        mutex_lock(&old->lock); // waits while the parent runs it
        err = clone_vcpu(new, old);
        mutex_unlock(&old->lock);
        if (err)
            return err;
    }
    return 0;
}

static int clone_vm(struct vm *to, struct vm *from) {
    to->user_msr_reasons = from->user_msr_reasons;
    to->exception_payload = from->exception_payload;
    to->triple_fault_event = from->triple_fault_event;
    to->manual_dirty_log = from->manual_dirty_log;
    to->tsc_khz = from->tsc_khz;
    mutex_lock(&from->lock);
    mutex_lock(&to->lock); // nobody knows it yet
    int err = slots_clone(to, from);
    if (!err)
        err = stage2_clone(to, from);
    if (!err)
        err = msr_filter_clone(to, from);
    mutex_unlock(&to->lock);
    mutex_unlock(&from->lock);
    return err ? err : clone_vcpus(to, from);
}

// Descriptors for the new VM and its vCPUs, all or none.
static int install(struct vm *vm, struct chrono_clone *c) {
    int vcpus = 0, err = 0;
    for (unsigned i = 0; i < vm->vcpu_count && !err; i++) {
        int fd = vcpu_install_fd(vm->vcpus[i]);
        if (fd < 0)
            err = fd;
        else
            c->vcpu_fds[vcpus++] = fd;
    }
    if (!err) {
        vm_get(vm); // the file's
        int fd = vm_install_fd(vm);
        if (fd >= 0) {
            c->vm_fd = fd;
            c->vcpu_count = vcpus;
            return 0;
        }
        err = fd;
    }
    while (vcpus > 0)
        fd_close(c->vcpu_fds[--vcpus]);
    return err;
}

long vm_clone(struct vm *from, unsigned long arg) {
    struct chrono_clone *c = kzalloc(sizeof(*c));
    if (!c)
        return -ENOMEM;
    int err = copy_from_user(c, (void __user *)arg, sizeof(*c));
    if (!err && c->vcpu_count < from->vcpu_count)
        err = -E2BIG;
    struct vm *vm = err ? ERR_PTR(err) : vm_create();
    if (!IS_ERR(vm)) {
        err = clone_vm(vm, from);
        if (!err)
            err = install(vm, c);
        if (!err)
            err = copy_to_user((void __user *)arg, c, sizeof(*c));
        vm_put(vm);
    } else {
        err = PTR_ERR(vm);
    }
    kfree(c);
    return err;
}
