// The ioctls of a vCPU.
#include "cpu/fpu.h"
#include "fs/file.h"
#include "lib/errno.h"
#include "lib/printf.h"
#include "mm/uaccess.h"
#include "proc/process.h"
#include "sched/world.h"
#include "vmm/cpuid.h"
#include "vmm/dr.h"
#include "vmm/msr.h"
#include "vmm/registers.h"
#include "vmm/run.h"
#include "vmm/vm.h"
#include "vmm/wake.h"
#include "vmm/x86.h"

// KVM_GET_X and KVM_SET_X around a pair of functions.
static long get_regs(struct vcpu *v, unsigned long arg) {
    struct kvm_regs r;
    vcpu_fetch(v, PART_RIP | PART_RSP | PART_RFLAGS);
    registers_get(v, &r);
    return copy_to_user((void __user *)arg, &r, sizeof(r));
}

static long set_regs(struct vcpu *v, unsigned long arg) {
    struct kvm_regs r;
    if (copy_from_user(&r, (void __user *)arg, sizeof(r)))
        return -EFAULT;
    registers_set(v, &r);
    return 0;
}

static long get_sregs(struct vcpu *v, unsigned long arg) {
    struct kvm_sregs s;
    vcpu_fetch(v, PART_CR | PART_SEGMENTS);
    sregs_get(v, &s);
    return copy_to_user((void __user *)arg, &s, sizeof(s));
}

static long set_sregs(struct vcpu *v, unsigned long arg) {
    struct kvm_sregs s;
    if (copy_from_user(&s, (void __user *)arg, sizeof(s)))
        return -EFAULT;
    vcpu_fetch(v, PART_CR | PART_SEGMENTS);
    return sregs_set(v, &s);
}

static long get_events(struct vcpu *v, unsigned long arg) {
    struct kvm_vcpu_events e;
    vcpu_fetch(v, PART_BLOCKING);
    events_get(v, &e);
    return copy_to_user((void __user *)arg, &e, sizeof(e));
}

static long set_events(struct vcpu *v, unsigned long arg) {
    struct kvm_vcpu_events e;
    if (copy_from_user(&e, (void __user *)arg, sizeof(e)))
        return -EFAULT;
    vcpu_fetch(v, PART_BLOCKING);
    return events_set(v, &e);
}

// Without a local APIC in the kernel there is one state; user space keeps the others.
static long get_mp_state(struct vcpu *v, unsigned long arg) {
    struct kvm_mp_state s = {.mp_state = v->mp_state};
    return copy_to_user((void __user *)arg, &s, sizeof(s));
}

static long set_mp_state(unsigned long arg) {
    struct kvm_mp_state s;
    if (copy_from_user(&s, (void __user *)arg, sizeof(s)))
        return -EFAULT;
    return s.mp_state == KVM_MP_STATE_RUNNABLE ? 0 : -EINVAL;
}

static long interrupt(struct vcpu *v, unsigned long arg) {
    struct kvm_interrupt i;
    if (copy_from_user(&i, (void __user *)arg, sizeof(i)))
        return -EFAULT;
    if (i.irq > 255)
        return -EINVAL;
    if (v->event.interrupt_pending)
        return -EEXIST;
    v->event.interrupt_pending = true;
    v->event.interrupt_soft = false;
    v->event.interrupt_vector = i.irq;
    return 0;
}

static long translate(struct vcpu *v, unsigned long arg) {
    struct kvm_translation t;
    uint64_t gpa;
    uint32_t error;
    if (copy_from_user(&t, (void __user *)arg, sizeof(t)))
        return -EFAULT;
    vcpu_fetch(v, PART_ALL);
    bool valid = vcpu_translate(v, t.linear_address, ACCESS_READ, false, &gpa, &error) == 0;
    t.physical_address = valid ? gpa : UINT64_MAX;
    t.valid = valid;
    t.writeable = 1; // as KVM, which does not look
    t.usermode = 0;
    return copy_to_user((void __user *)arg, &t, sizeof(t));
}

// Without TSC scaling a guest has the host's frequency; KVM accepts what is within its tolerance.
static long set_tsc_khz(struct vcpu *v, unsigned long khz) {
    uint64_t host = v->vm->tsc_khz, tolerance = host / 4000; // 250 ppm
    if (!khz)
        khz = host;
    return khz + tolerance >= host && khz <= host + tolerance ? 0 : -EINVAL;
}

static long set_signal_mask(struct vcpu *v, unsigned long arg) {
    struct kvm_signal_mask __user *user = (struct kvm_signal_mask __user *)arg;
    struct kvm_signal_mask head;
    uint64_t set = 0;
    if (arg) {
        if (copy_from_user(&head, user, sizeof(head)))
            return -EFAULT;
        if (head.len != sizeof(set))
            return -EINVAL;
        if (copy_from_user(&set, user->sigset, sizeof(set)))
            return -EFAULT;
    }
    v->has_signal_mask = arg;
    v->attention = true; // signals that wait
    v->signal_mask = set & ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
    return 0;
}

#define VMREADS_PER_EXIT  4 // and
#define VMWRITES_PER_EXIT 1 // on every way: intel/run.c and entry.S do not count them one by one
#define XSAVES_PER_RUN    4 // and XRSTOR

static long get_costs(struct vcpu *v, unsigned long arg) {
    struct chrono_costs c = v->costs;
    for (unsigned i = 0; i < EXIT_KIND_COUNT; i++)
        c.exits += v->exits[i];
    c.xsaves = c.user_exits * XSAVES_PER_RUN;
    c.vmreads += c.exits * VMREADS_PER_EXIT;
    c.vmwrites += c.exits * VMWRITES_PER_EXIT;
    return copy_to_user((void __user *)arg, &c, sizeof(c));
}

static long get_exits(struct vcpu *v, unsigned long arg) {
    struct chrono_exit_counts c = {.kinds = EXIT_KIND_COUNT};
    _Static_assert(EXIT_KIND_COUNT <= ARRAY_SIZE(c.kind), "room for all kinds");
    for (unsigned i = 0; i < EXIT_KIND_COUNT; i++) {
        scnprintf(c.kind[i].name, sizeof(c.kind[i].name), "%s", exit_id(i));
        c.kind[i].count = v->exits[i];
    }
    return copy_to_user((void __user *)arg, &c, sizeof(c));
}

static long locked(struct vcpu *v, unsigned cmd, unsigned long arg) {
    switch (cmd) {
    case KVM_GET_REGS: return get_regs(v, arg);
    case KVM_SET_REGS: return set_regs(v, arg);
    case KVM_GET_SREGS: return get_sregs(v, arg);
    case KVM_SET_SREGS: return set_sregs(v, arg);
    case KVM_GET_SREGS2: vcpu_fetch(v, PART_CR | PART_SEGMENTS); return sregs2_ioctl_get(v, arg);
    case KVM_SET_SREGS2: vcpu_fetch(v, PART_CR | PART_SEGMENTS); return sregs2_ioctl_set(v, arg);
    case KVM_GET_FPU: return fpu_ioctl_get(v, arg);
    case KVM_SET_FPU: return fpu_ioctl_set(v, arg);
    case KVM_GET_XSAVE: return xsave_ioctl_get(v, arg, sizeof(struct kvm_xsave));
    case KVM_GET_XSAVE2:
        return xsave_ioctl_get(v, arg, MAX(sizeof(struct kvm_xsave), fpu_area_size()));
    case KVM_SET_XSAVE: return xsave_ioctl_set(v, arg);
    case KVM_GET_XCRS: return xcrs_ioctl_get(v, arg);
    case KVM_SET_XCRS: return xcrs_ioctl_set(v, arg);
    case KVM_GET_MSRS: return msr_ioctl_get(v, arg);
    case KVM_SET_MSRS: return msr_ioctl_set(v, arg);
    case KVM_SET_CPUID: return cpuid_set(v, arg);
    case KVM_SET_CPUID2: return cpuid_set2(v, arg);
    case KVM_GET_CPUID2: return cpuid_get2(v, arg);
    case KVM_GET_VCPU_EVENTS: return get_events(v, arg);
    case KVM_SET_VCPU_EVENTS: return set_events(v, arg);
    case KVM_GET_DEBUGREGS: return debug_get_registers(v, arg);
    case KVM_SET_DEBUGREGS: return debug_set_registers(v, arg);
    case KVM_SET_GUEST_DEBUG: return debug_set_guest_debug(v, arg);
    case KVM_GET_MP_STATE: return get_mp_state(v, arg);
    case KVM_SET_MP_STATE: return set_mp_state(arg);
    case KVM_INTERRUPT: return interrupt(v, arg);
    case KVM_NMI: v->event.nmi_pending = true; return 0;
    case KVM_TRANSLATE: return translate(v, arg);
    case KVM_GET_TSC_KHZ: return v->vm->tsc_khz;
    case KVM_SET_TSC_KHZ: return set_tsc_khz(v, arg);
    case KVM_SET_SIGNAL_MASK: return set_signal_mask(v, arg);
    case CHRONO_GET_STATE: return chrono_get_state(v, arg);
    case CHRONO_SET_STATE: return chrono_set_state(v, arg);
    case CHRONO_SET_WAKE_FD: return wake_ioctl(v, arg);
    case CHRONO_GET_COSTS: return get_costs(v, arg);
    case CHRONO_GET_EXITS: return get_exits(v, arg);
    }
    return -EINVAL;
}

static noinline long ioctl(struct vcpu *v, unsigned cmd, unsigned long arg) {
    mutex_lock(&v->lock);
    long r = locked(v, cmd, arg);
    mutex_unlock(&v->lock);
    return r;
}

long vcpu_ioctl(struct file *f, unsigned cmd, unsigned long arg) {
    struct vcpu *v = f->data;
    if (unlikely(v->vm->space != current->process->space))
        return -EIO; // inherited over fork
    if (unlikely(cmd != KVM_RUN))
        return ioctl(v, cmd, arg);
    return unlikely(arg) ? -EINVAL : vcpu_run(v);
}
