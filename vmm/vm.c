// The VM object: its files, its lifetime, its ioctls.
//
// References: the VM's descriptor and each vCPU's descriptor hold one; vCPUs live as long as the VM. A VM
// belongs to the process that made it (an address space, kept but not kept alive: a mapped kvm_run keeps
// the VM); its descriptors are of no use to others, but for a child that clones it.
#include "vmm/vm.h"
#include "fs/file.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "cpu/clock.h"
#include "proc/process.h"
#include "sched/world.h"
#include "vmm/msr.h"
#include "vmm/slots.h"
#include "vmm/stage2.h"
#include "vmm/watch.h"
#include "vmm/breakpoint.h"

struct vm *vm_create(void) {
    struct vm *vm = kzalloc(sizeof(*vm));
    if (!vm)
        return ERR_PTR(-ENOMEM);
    vm->refs = 1;
    vm->space = current->process->space;
    space_keep(vm->space);
    mutex_init(&vm->lock);
    list_init(&vm->watches);
    list_init(&vm->breakpoints);
    vm->tsc_khz = clock_tsc_hz() / 1000;
    vm->stage2 = stage2_create(vm);
    if (!vm->stage2) {
        space_unkeep(vm->space);
        kfree(vm);
        return ERR_PTR(-ENOMEM);
    }
    return vm;
}

void vm_get(struct vm *vm) {
    __atomic_fetch_add(&vm->refs, 1, __ATOMIC_RELAXED);
}

static void vm_free(struct vm *vm) {
    stage2_free(vm->stage2); // flushes what vCPUs used
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        vcpu_free(vm->vcpus[i]);
    slots_free(vm);
    msr_filter_free(vm);
    space_unkeep(vm->space);
    kfree(vm);
}

void vm_put(struct vm *vm) {
    if (__atomic_sub_fetch(&vm->refs, 1, __ATOMIC_ACQ_REL) == 0)
        vm_free(vm);
}

// ---- files -------------------------------------------------------------------------------------
static long vm_file_ioctl(struct file *f, unsigned cmd, unsigned long arg) {
    return vm_ioctl(f->data, cmd, arg);
}

static void vm_file_release(struct file *f) {
    vm_put(f->data);
}

static const struct file_ops vm_file_ops = {
    .ioctl = vm_file_ioctl,
    .release = vm_file_release,
    .seek = file_no_seek,
};

static void vcpu_file_release(struct file *f) {
    struct vcpu *v = f->data;
    vm_put(v->vm);
}

// The three pages of a vCPU: kvm_run, port data, chrono_run.
static int run_page_fault(struct region *r, uint64_t index, bool write, struct frame **out) {
    const struct vcpu *v = r->file->data;
    void *const pages[] = {v->run, v->pio_data, v->chrono};
    if (index >= ARRAY_SIZE(pages))
        return -EFAULT;
    *out = phys_frame(virt_to_phys(pages[index]));
    frame_get(*out);
    (void)write;
    return 0;
}

static const struct region_ops run_region_ops = {.fault = run_page_fault};

static int vcpu_file_mmap(struct file *f, struct region *r) {
    r->ops = &run_region_ops;
    (void)f;
    return 0;
}

static const struct file_ops vcpu_file_ops = {
    .ioctl = vcpu_ioctl,
    .mmap = vcpu_file_mmap,
    .release = vcpu_file_release,
    .seek = file_no_seek,
};

struct vm *vm_of_file(const struct file *f) {
    return f->ops == &vm_file_ops ? f->data : NULL;
}

int vm_install_fd(struct vm *vm) {
    struct file *f = file_alloc_anon("kvm-vm", &vm_file_ops, vm, O_RDWR);
    if (IS_ERR(f)) {
        vm_put(vm);
        return PTR_ERR(f);
    }
    return fd_install(f, 0, true);
}

int vcpu_install_fd(struct vcpu *v) {
    struct file *f = file_alloc_anon("kvm-vcpu", &vcpu_file_ops, v, O_RDWR);
    if (IS_ERR(f))
        return PTR_ERR(f);
    vm_get(v->vm);
    return fd_install(f, 0, true);
}

// ---- ioctls ------------------------------------------------------------------------------------
int vm_add_vcpu(struct vm *vm, unsigned id, struct vcpu **out) {
    if (id >= VM_MAX_VCPUS)
        return -EINVAL;
    struct vcpu *v = vcpu_create(vm, id);
    if (!v)
        return -ENOMEM;
    mutex_lock(&vm->lock);
    int err = vm->vcpu_count >= VM_MAX_VCPUS ? -EINVAL : 0;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (vm->vcpus[i]->id == id)
            err = -EEXIST;
    if (!err) {
        vcpu_pass_msrs(v);
        vm->vcpus[vm->vcpu_count++] = v;
    }
    mutex_unlock(&vm->lock);
    if (err)
        vcpu_free(v);
    else
        *out = v;
    return err;
}

static long create_vcpu(struct vm *vm, unsigned long id) {
    struct vcpu *v;
    int err = vm_add_vcpu(vm, MIN(id, (unsigned long)UINT32_MAX), &v);
    return err ? err : vcpu_install_fd(v);
}

static long set_memory_region(struct vm *vm, unsigned long arg) {
    struct kvm_userspace_memory_region r;
    if (copy_from_user(&r, (void __user *)arg, sizeof(r)))
        return -EFAULT;
    return slots_set(vm, &r);
}

static long get_dirty_log(struct vm *vm, unsigned long arg) {
    struct kvm_dirty_log log;
    if (copy_from_user(&log, (void __user *)arg, sizeof(log)))
        return -EFAULT;
    return slots_get_dirty(vm, &log);
}

static long clear_dirty_log(struct vm *vm, unsigned long arg) {
    struct kvm_clear_dirty_log log;
    if (copy_from_user(&log, (void __user *)arg, sizeof(log)))
        return -EFAULT;
    return slots_clear_dirty(vm, &log);
}

// VT-x without unrestricted guest needs memory for these two; here they change nothing.
static long set_identity_map(unsigned long arg) {
    uint64_t address;
    return copy_from_user(&address, (void __user *)arg, sizeof(address)) ? -EFAULT : 0;
}

static long set_watch(struct vm *vm, unsigned long arg) {
    struct chrono_watch w;
    if (copy_from_user(&w, (void __user *)arg, sizeof(w)))
        return -EFAULT;
    mutex_lock(&vm->lock);
    int err = stage2_set_watch(vm, &w);
    mutex_unlock(&vm->lock);
    return err;
}

static long set_breakpoint(struct vm *vm, unsigned long arg) {
    struct chrono_breakpoint b;
    if (copy_from_user(&b, (void __user *)arg, sizeof(b)))
        return -EFAULT;
    mutex_lock(&vm->lock);
    int err = stage2_set_breakpoint(vm, &b);
    mutex_unlock(&vm->lock);
    return err;
}

long vm_enable_cap(struct vm *vm, unsigned long arg) {
    struct kvm_enable_cap cap;
    if (copy_from_user(&cap, (void __user *)arg, sizeof(cap)))
        return -EFAULT;
    if (cap.flags)
        return -EINVAL;
    switch (cap.cap) {
    case KVM_CAP_X86_USER_SPACE_MSR:
        if (cap.args[0] & ~(uint64_t)(KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
                                      KVM_MSR_EXIT_REASON_FILTER))
            return -EINVAL;
        vm->user_msr_reasons = cap.args[0];
        return 0;
    case KVM_CAP_EXCEPTION_PAYLOAD: vm->exception_payload = cap.args[0]; return 0;
    case KVM_CAP_X86_TRIPLE_FAULT_EVENT: vm->triple_fault_event = cap.args[0]; return 0;
    case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
        if (cap.args[0] & ~(uint64_t)KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
            return -EINVAL;
        vm->manual_dirty_log = cap.args[0];
        return 0;
    }
    return -EINVAL;
}

long vm_ioctl(struct vm *vm, unsigned cmd, unsigned long arg) {
    if (cmd == CHRONO_CLONE)
        return vm_clone(vm, arg);
    if (vm->space != current->process->space)
        return -EIO; // inherited over fork: the memory is another process's
    switch (cmd) {
    case KVM_CREATE_VCPU: return create_vcpu(vm, arg);
    case KVM_SET_USER_MEMORY_REGION: return set_memory_region(vm, arg);
    case KVM_GET_DIRTY_LOG: return get_dirty_log(vm, arg);
    case KVM_CLEAR_DIRTY_LOG: return clear_dirty_log(vm, arg);
    case KVM_CHECK_EXTENSION: return vmm_check_extension(arg);
    case KVM_ENABLE_CAP: return vm_enable_cap(vm, arg);
    case KVM_SET_TSS_ADDR: return 0;
    case KVM_SET_IDENTITY_MAP_ADDR: return set_identity_map(arg);
    case KVM_X86_SET_MSR_FILTER: return msr_set_filter(vm, arg);
    case CHRONO_SET_WATCH: return set_watch(vm, arg);
    case CHRONO_SET_BREAKPOINT: return set_breakpoint(vm, arg);
    }
    return -ENOTTY;
}
