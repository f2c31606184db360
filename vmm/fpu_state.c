// KVM_GET/SET_FPU, XSAVE, XCRS: the guest's x87, SSE and AVX registers, which are in v->fpu outside of
// KVM_RUN, in the standard format of XSAVE (SDM vol. 1, 13.4).
#include "cpu/fpu.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "vmm/cpuid.h"
#include "vmm/cr.h"
#include "vmm/registers.h"
#include "vmm/x86.h"

#define HEADER_OFFSET 512
#define MXCSR_KNOWN   0xffffu

// The legacy area (SDM vol. 1, table 10-2).
struct legacy {
    uint16_t fcw, fsw;
    uint8_t ftw, reserved;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t st[8][16];
    uint8_t xmm[16][16];
};
struct header {
    uint64_t xstate_bv, xcomp_bv, reserved[6];
};

static struct header *header_of(void *area) {
    return (struct header *)((char *)area + HEADER_OFFSET);
}

// A component whose XSTATE_BV bit is clear is in its initial state, whatever the area holds.
static bool in_use(const struct vcpu *v, unsigned component) {
    return fpu_area_size() <= HEADER_OFFSET || (header_of(v->fpu)->xstate_bv >> component & 1);
}

long fpu_ioctl_get(struct vcpu *v, unsigned long arg) {
    const struct legacy *l = v->fpu;
    struct kvm_fpu f = {.fcw = 0x37f, .mxcsr = l->mxcsr};
    if (in_use(v, 0)) {
        f.fcw = l->fcw;
        f.fsw = l->fsw;
        f.ftwx = l->ftw;
        f.last_opcode = l->fop;
        f.last_ip = l->fip;
        f.last_dp = l->fdp;
        memcpy(f.fpr, l->st, sizeof(f.fpr));
    }
    if (in_use(v, 1))
        memcpy(f.xmm, l->xmm, sizeof(f.xmm));
    return copy_to_user((void __user *)arg, &f, sizeof(f));
}

long fpu_ioctl_set(struct vcpu *v, unsigned long arg) {
    struct kvm_fpu f;
    if (copy_from_user(&f, (void __user *)arg, sizeof(f)))
        return -EFAULT;
    if (f.mxcsr & ~MXCSR_KNOWN)
        return -EINVAL;
    struct legacy *l = v->fpu;
    l->fcw = f.fcw;
    l->fsw = f.fsw;
    l->ftw = f.ftwx;
    l->fop = f.last_opcode;
    l->fip = f.last_ip;
    l->fdp = f.last_dp;
    l->mxcsr = f.mxcsr;
    memcpy(l->st, f.fpr, sizeof(f.fpr));
    memcpy(l->xmm, f.xmm, sizeof(f.xmm));
    if (fpu_area_size() > HEADER_OFFSET)
        header_of(v->fpu)->xstate_bv |= 3;
    return 0;
}

long xsave_ioctl_get(struct vcpu *v, unsigned long arg, size_t size) {
    if (clear_user((void __user *)arg, size))
        return -EFAULT;
    return copy_to_user((void __user *)arg, v->fpu, MIN(size, fpu_area_size()));
}

long xsave_ioctl_set(struct vcpu *v, unsigned long arg) {
    size_t size = fpu_area_size();
    void *area = kmalloc(size);
    if (!area)
        return -ENOMEM;
    int err = copy_from_user(area, (void __user *)arg, size);
    const struct legacy *l = area;
    const struct header *h = header_of(area);
    // What XRSTOR would refuse with #GP (SDM vol. 1, 13.8.1).
    if (!err && ((l->mxcsr & ~MXCSR_KNOWN) ||
                 (size > HEADER_OFFSET && ((h->xstate_bv & ~fpu_features()) || h->xcomp_bv))))
        err = -EINVAL;
    for (unsigned i = 0; !err && size > HEADER_OFFSET && i < ARRAY_SIZE(h->reserved); i++)
        err = h->reserved[i] ? -EINVAL : 0;
    if (!err)
        memcpy(v->fpu, area, size);
    kfree(area);
    return err;
}

long xcrs_ioctl_get(struct vcpu *v, unsigned long arg) {
    struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = v->xcr0}}};
    return copy_to_user((void __user *)arg, &x, sizeof(x));
}

long xcrs_ioctl_set(struct vcpu *v, unsigned long arg) {
    struct kvm_xcrs x;
    if (copy_from_user(&x, (void __user *)arg, sizeof(x)))
        return -EFAULT;
    if (x.flags || x.nr_xcrs > KVM_MAX_XCRS)
        return -EINVAL;
    vcpu_fetch(v, PART_CR);
    for (unsigned i = 0; i < x.nr_xcrs; i++)
        if (x.xcrs[i].xcr == 0)
            return cr_set_xcr0(v, x.xcrs[i].value);
    return 0;
}
