// The MSR filter (KVM API, "KVM_X86_SET_MSR_FILTER"): ranges of MSRs with a bit for each: 1 allows.
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "vmm/msr.h"

struct range {
    uint32_t base, count, flags;
    uint8_t *bitmap;
};
struct msr_filter {
    bool deny_by_default;
    unsigned count;
    struct range ranges[KVM_MSR_FILTER_MAX_RANGES];
};

bool msr_filter_allows(const struct vm *vm, uint32_t index, bool write) {
    const struct msr_filter *f = vm->msr_filter;
    if (!f)
        return true;
    uint32_t kind = write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ;
    for (unsigned i = 0; i < f->count; i++) {
        const struct range *r = &f->ranges[i];
        uint32_t bit = index - r->base;
        if ((r->flags & kind) && bit < r->count)
            return r->bitmap[bit / 8] >> bit % 8 & 1;
    }
    return !f->deny_by_default;
}

static void filter_free(struct msr_filter *f) {
    if (!f)
        return;
    for (unsigned i = 0; i < f->count; i++)
        kfree(f->ranges[i].bitmap);
    kfree(f);
}

void msr_filter_free(struct vm *vm) {
    filter_free(vm->msr_filter);
    vm->msr_filter = NULL;
}

static int add_range(struct msr_filter *f, const struct kvm_msr_filter_range *user) {
    if (!user->nmsrs)
        return 0;
    size_t bytes = DIV_ROUND_UP(user->nmsrs, 8u);
    if (bytes > KVM_MSR_FILTER_MAX_BITMAP_SIZE || !user->flags ||
        (user->flags & ~(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE)))
        return -EINVAL;
    struct range *r = &f->ranges[f->count];
    r->bitmap = kmalloc(bytes);
    if (!r->bitmap)
        return -ENOMEM;
    f->count++; // from here on filter_free() knows of it
    r->base = user->base;
    r->count = user->nmsrs;
    r->flags = user->flags;
    return copy_from_user(r->bitmap, user->bitmap, bytes);
}

// Locks all vCPUs and then the VM, so that there are no others. (A vCPU's lock comes before the VM's; vCPUs are
// only ever added.) Returns their number.
static unsigned lock_all(struct vm *vm) {
    for (unsigned n = 0;; n++) {
        mutex_lock(&vm->lock);
        if (n == vm->vcpu_count)
            return n;
        mutex_unlock(&vm->lock);
        if (!mutex_trylock(&vm->vcpus[n]->lock)) {
            vcpu_kick(vm->vcpus[n]);
            mutex_lock(&vm->vcpus[n]->lock);
        }
    }
}

// The vCPUs stand still while the filter changes: each holds its lock to look at it.
static void replace(struct vm *vm, struct msr_filter *f) {
    unsigned n = lock_all(vm);
    struct msr_filter *old = vm->msr_filter;
    vm->msr_filter = f;
    for (unsigned i = 0; i < n; i++)
        vcpu_pass_msrs(vm->vcpus[i]);
    mutex_unlock(&vm->lock);
    while (n-- > 0)
        mutex_unlock(&vm->vcpus[n]->lock);
    filter_free(old);
}

long msr_set_filter(struct vm *vm, unsigned long arg) {
    struct kvm_msr_filter user;
    if (copy_from_user(&user, (void __user *)arg, sizeof(user)))
        return -EFAULT;
    if (user.flags & ~KVM_MSR_FILTER_DEFAULT_DENY)
        return -EINVAL;
    struct msr_filter *f = kzalloc(sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->deny_by_default = user.flags & KVM_MSR_FILTER_DEFAULT_DENY;
    int err = 0;
    for (unsigned i = 0; i < KVM_MSR_FILTER_MAX_RANGES && !err; i++)
        err = add_range(f, &user.ranges[i]);
    // An empty filter with default deny would leave the guest nothing.
    if (!err && f->deny_by_default && !f->count)
        err = -EINVAL;
    if (err) {
        filter_free(f);
        return err;
    }
    if (!f->count && !f->deny_by_default) { // allows everything: as none
        kfree(f);
        f = NULL;
    }
    replace(vm, f);
    return 0;
}

int msr_filter_clone(struct vm *to, const struct vm *from) {
    const struct msr_filter *old = from->msr_filter;
    if (!old)
        return 0;
    struct msr_filter *f = kzalloc(sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->deny_by_default = old->deny_by_default;
    for (; f->count < old->count; f->count++) {
        struct range *r = &f->ranges[f->count];
        *r = old->ranges[f->count];
        size_t bytes = DIV_ROUND_UP(r->count, 8u);
        r->bitmap = kmalloc(bytes);
        if (!r->bitmap) {
            filter_free(f);
            return -ENOMEM;
        }
        memcpy(r->bitmap, old->ranges[f->count].bitmap, bytes);
    }
    to->msr_filter = f;
    return 0;
}
