// /dev/kvm: the ioctls of the system, and what KVM_CHECK_EXTENSION answers.
#include "cpu/fpu.h"
#include "fs/inode.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "mm/uaccess.h"
#include "vmm/clock.h"
#include "vmm/cpuid.h"
#include "vmm/init.h"
#include "vmm/msr.h"
#include "vmm/vm.h"

#define RUN_MAPPING_SIZE (CHRONO_RUN_OFFSET + PAGE_SIZE)

// Capabilities that are simply there. Everything not listed here or below is absent, above all the
// interrupt controllers, PIT and clocks in the kernel: these are the vmx process's.
static const uint32_t present[] = {
    KVM_CAP_USER_MEMORY,
    KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
    KVM_CAP_JOIN_MEMORY_REGIONS_WORKS,
    KVM_CAP_SET_TSS_ADDR,
    KVM_CAP_EXT_CPUID,
    KVM_CAP_MP_STATE,
    KVM_CAP_READONLY_MEM,
    KVM_CAP_IMMEDIATE_EXIT,
    KVM_CAP_SET_GUEST_DEBUG,
    KVM_CAP_VCPU_EVENTS,
    KVM_CAP_DEBUGREGS,
    KVM_CAP_XSAVE,
    KVM_CAP_XCRS,
    KVM_CAP_USER_NMI,
    KVM_CAP_GET_TSC_KHZ,
    KVM_CAP_SET_IDENTITY_MAP_ADDR,
    KVM_CAP_GET_MSR_FEATURES,
    KVM_CAP_X86_USER_SPACE_MSR,
    KVM_CAP_X86_MSR_FILTER,
    KVM_CAP_EXCEPTION_PAYLOAD,
    KVM_CAP_CHECK_EXTENSION_VM,
    KVM_CAP_ENABLE_CAP_VM,
    KVM_CAP_SREGS2,
    KVM_CAP_NOP_IO_DELAY,
    KVM_CAP_X86_TRIPLE_FAULT_EVENT,
    KVM_CAP_SYNC_MMU,
    KVM_CAP_INTERNAL_ERROR_DATA,
};

static long sync_regs_fields(void) {
    return KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
}

long vmm_check_extension(unsigned long cap) {
    switch (cap) {
    case KVM_CAP_NR_VCPUS:
    case KVM_CAP_MAX_VCPUS:
    case KVM_CAP_MAX_VCPU_ID: return VM_MAX_VCPUS;
    case KVM_CAP_NR_MEMSLOTS: return VM_MAX_SLOTS;
    case KVM_CAP_SYNC_REGS: return sync_regs_fields();
    case KVM_CAP_XSAVE2:
        return fpu_area_size() > sizeof(struct kvm_xsave) ? fpu_area_size()
                                                          : sizeof(struct kvm_xsave);
    case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: return KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
    case KVM_CAP_SET_GUEST_DEBUG2:
        return KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP |
               KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP;
    case KVM_CAP_CHRONO: return CHRONO_VERSION;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(present); i++)
        if (present[i] == cap)
            return 1;
    return 0;
}

static long get_clock(unsigned long arg) {
    return put_user(vmm_clock.info, (struct chrono_clock __user *)arg);
}

static long create_vm(unsigned long type) {
    if (type) // KVM_X86_DEFAULT_VM is the only one
        return -EINVAL;
    struct vm *vm = vm_create();
    if (IS_ERR(vm))
        return PTR_ERR(vm);
    return vm_install_fd(vm);
}

long vmm_system_ioctl(struct file *f, unsigned cmd, unsigned long arg) {
    switch (cmd) {
    case KVM_GET_API_VERSION: return arg ? -EINVAL : KVM_API_VERSION;
    case KVM_CREATE_VM: return create_vm(arg);
    case KVM_CHECK_EXTENSION: return vmm_check_extension(arg);
    case KVM_GET_VCPU_MMAP_SIZE: return arg ? -EINVAL : (long)RUN_MAPPING_SIZE;
    case KVM_GET_SUPPORTED_CPUID: return cpuid_get_supported(arg);
    case KVM_GET_MSR_INDEX_LIST: return msr_get_index_list(arg);
    case KVM_GET_MSR_FEATURE_INDEX_LIST: return msr_get_feature_list(arg);
    case KVM_GET_MSRS: return msr_get_features(arg);
    case CHRONO_GET_CLOCK: return get_clock(arg);
    case CHRONO_GET_CLOCK_1:
        return copy_to_user((void __user *)arg, &vmm_clock.info, _IOC_SIZE(CHRONO_GET_CLOCK_1));
    }
    (void)f;
    return -EINVAL; // as KVM for what it does not know
}

#define KVM_MINOR 232 // of the misc devices, 10, as in Linux

static const struct file_ops kvm_file_ops = {.ioctl = vmm_system_ioctl, .seek = file_no_seek};

void kvm_device_init(void) {
    cpuid_init();
    msr_init();
    dev_register("kvm", 0666, DEV(10, KVM_MINOR), &kvm_file_ops, NULL);
}
