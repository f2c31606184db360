// The table of MSRs that a guest has, and RDMSR and WRMSR. What is not in the table is unknown: #GP, or
// user space's when it asked for that (KVM_CAP_X86_USER_SPACE_MSR).
#include "vmm/msr.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "mm/layout.h"
#include "mm/uaccess.h"
#include "vmm/cpuid.h"
#include "vmm/skip.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

#define MSR_TSC               0x010
#define MSR_PLATFORM_ID       0x017
#define MSR_SMI_COUNT         0x034
#define MSR_TSC_ADJUST        0x03b
#define MSR_BIOS_SIGN_ID      0x08b
#define MSR_PLATFORM_INFO     0x0ce
#define MSR_ARCH_CAPABILITIES 0x10a
#define MSR_MISC_FEATURES     0x140
#define MSR_MCG_CAP           0x179
#define MSR_MCG_STATUS        0x17a
#define MSR_DEBUGCTL          0x1d9
#define MSR_MTRR_PHYS_BASE0   0x200
#define MSR_MTRR_DEF_TYPE     0x2ff
#define MSR_XSS               0xda0

// "Not affected" in every respect that IA32_ARCH_CAPABILITIES has a bit for (SDM vol. 4): RDCL, L1D flush
// not needed, SSB, MDS, page-size change MC, TAA, SBDR/SSDP, FBSDP, PSDP, BHI, PBRSB, GDS, RFDS, ITS.
#define ARCH_CAPABILITIES                                                                          \
    (BIT(0) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) | BIT(15) | BIT(20) | \
     BIT(24) | BIT(26) | BIT(27) | BIT(62))
#define MTRR_CAP (BIT(10) /* write combining */ | BIT(8) /* fixed ranges */ | 8 /* variable ones */)

enum msr_kind {
    STORED,   // a field of struct vcpu; `mask`: bits that may be written
    ADDRESS,  // the same; a canonical address
    TYPES,    // the same; eight memory types: the PAT
    FIXED,    // the same, but UC- is not among them: fixed-range MTRRs
    PHYSICAL, // the same; bits of `mask` that physical addresses have
    TYPED,    // the same, and a memory type in the lowest byte
    CONSTANT, // `mask` is the value; the guest cannot write it
    IGNORED,  // reads 0, writes are dropped
    ZERO,     // reads 0, only 0 may be written: a register whose features are all absent
    SPECIAL,  // read and write below
};
struct msr {
    uint32_t index;
    uint16_t offset; // STORED: of the field
    uint8_t kind;
    uint16_t part; // PART_* that it belongs to; 0: none
    uint64_t mask;
};

#define FIELD(name) offsetof(struct vcpu, msr.name)
#define ALL         UINT64_MAX
#define PAGE_BITS   (~0xfffull)
// clang-format off
#define MTRR_RANGE(n)                                                                     \
    {MSR_MTRR_PHYS_BASE0 + 2 * (n), FIELD(mtrr_var[2 * (n)]), TYPED, 0, PAGE_BITS},       \
    {MSR_MTRR_PHYS_BASE0 + 2 * (n) + 1, FIELD(mtrr_var[2 * (n) + 1]), PHYSICAL, 0, PAGE_BITS | BIT(11)}
#define MTRR_FIXED(n, index) {index, FIELD(mtrr_fixed[n]), FIXED, 0, 0}
// clang-format on

static const struct msr msrs[] = {
    {MSR_TSC, 0, SPECIAL, 0, 0},
    {MSR_PLATFORM_ID, 0, CONSTANT, 0, 0},
    {MSR_APIC_BASE, FIELD(apic_base), SPECIAL, 0, 0},
    {MSR_TSC_ADJUST, FIELD(tsc_adjust), SPECIAL, 0, 0},
    {MSR_BIOS_SIGN_ID, 0, SPECIAL, 0, 0},
    {MSR_PLATFORM_INFO, 0, CONSTANT, 0, 0},
    {MSR_MTRR_CAP, 0, CONSTANT, 0, MTRR_CAP},
    {MSR_ARCH_CAPABILITIES, 0, CONSTANT, 0, ARCH_CAPABILITIES},
    {MSR_MISC_FEATURES, 0, ZERO, 0, 0},
    {MSR_SMI_COUNT, 0, CONSTANT, 0, 0},
    {MSR_FEATURE_CONTROL, 0, CONSTANT, 0, 1}, // locked, without VMX: kernels lock it otherwise
    {MSR_SYSENTER_CS, FIELD(sysenter_cs), STORED, PART_SYSMSR, 0xffffffff},
    {MSR_SYSENTER_ESP, FIELD(sysenter_esp), ADDRESS, PART_SYSMSR, 0},
    {MSR_SYSENTER_EIP, FIELD(sysenter_eip), ADDRESS, PART_SYSMSR, 0},
    {MSR_MCG_CAP, 0, CONSTANT, 0, 0}, // no banks
    {MSR_MCG_STATUS, 0, IGNORED, 0, 0},
    {MSR_MISC_ENABLE, FIELD(misc_enable), STORED, 0,
     BIT(0) | BIT(11) | BIT(12) | BIT(16) | BIT(18) | BIT(22)},
    {MSR_DEBUGCTL, FIELD(debugctl), STORED, PART_SYSMSR, 0}, // no last-branch records, no BTF
    {MSR_PAT, FIELD(pat), TYPES, PART_PAT, 0},
    {MSR_MTRR_DEF_TYPE, FIELD(mtrr_def_type), TYPED, 0, BIT(11) | BIT(10)},
    {MSR_TSC_DEADLINE, 0, IGNORED, 0,
     0}, // a local APIC in user space gets it through the MSR filter
    {MSR_XSS, FIELD(xss), STORED, 0, 0},
    {MSR_EFER, 0, SPECIAL, PART_CR, 0},
    {MSR_STAR, FIELD(star), STORED, PART_SYSMSR, ALL},
    {MSR_LSTAR, FIELD(lstar), ADDRESS, PART_SYSMSR, 0},
    {MSR_CSTAR, FIELD(cstar), ADDRESS, PART_SYSMSR, 0},
    {MSR_SFMASK, FIELD(fmask), STORED, PART_SYSMSR, 0xffffffff},
    {MSR_FS_BASE, offsetof(struct vcpu, seg[SEG_FS].base), ADDRESS, PART_SEGMENTS, 0},
    {MSR_GS_BASE, offsetof(struct vcpu, seg[SEG_GS].base), ADDRESS, PART_SEGMENTS, 0},
    {MSR_KERNEL_GS_BASE, FIELD(kernel_gs_base), ADDRESS, PART_SYSMSR, 0},
    {MSR_TSC_AUX, FIELD(tsc_aux), STORED, PART_SYSMSR, 0xffffffff},
    // SDM vol. 3, "Memory Type Range Registers".
    // clang-format off
    MTRR_RANGE(0), MTRR_RANGE(1), MTRR_RANGE(2), MTRR_RANGE(3),
    MTRR_RANGE(4), MTRR_RANGE(5), MTRR_RANGE(6), MTRR_RANGE(7),
    MTRR_FIXED(0, 0x250), MTRR_FIXED(1, 0x258), MTRR_FIXED(2, 0x259), MTRR_FIXED(3, 0x268),
    MTRR_FIXED(4, 0x269), MTRR_FIXED(5, 0x26a), MTRR_FIXED(6, 0x26b), MTRR_FIXED(7, 0x26c),
    MTRR_FIXED(8, 0x26d), MTRR_FIXED(9, 0x26e), MTRR_FIXED(10, 0x26f),
    // clang-format on
};

// Where a register is in msrs[]: 1 + index, 0: not there. Filled in by msr_init().
#define HIGH_BASE MSR_EFER
static uint8_t low_places[0x1000], high_places[MSR_TSC_AUX - HIGH_BASE + 1];

static uint8_t *place_of(uint32_t index) {
    if (index < ARRAY_SIZE(low_places))
        return &low_places[index];
    return index - HIGH_BASE < ARRAY_SIZE(high_places) ? &high_places[index - HIGH_BASE] : NULL;
}

void msr_init(void) {
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
        uint8_t *place = place_of(msrs[i].index);
        ASSERT(place); // else a row is in neither range
        *place = i + 1;
    }
}

static inline const struct msr *find(uint32_t index) {
    const uint8_t *place = place_of(index);
    return place && *place ? &msrs[*place] - 1 : NULL; // places count from 1
}

static uint64_t *field(struct vcpu *v, const struct msr *m) {
    return (uint64_t *)((char *)v + m->offset);
}

// ---- values that have rules --------------------------------------------------------------------
static bool canonical(uint64_t address) {
    return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

static uint64_t physical(const struct vcpu *v, uint64_t bits) {
    return bits & (BIT(cpuid_physical_bits(v)) - 1);
}

#define EACH_BYTE 0x0101010101010101ull

// Eight memory types (SDM vol. 3, "Memory Types That Can Be Encoded in a PAT Entry"): 0, 1, 4, 5, 6, and, in
// the PAT only, 7. That is: no bit above the third, and bit 1 only together with bit 2.
static bool memory_types_valid(uint64_t types, bool pat) {
    if ((types & 0xf8 * EACH_BYTE) || (types & 2 * EACH_BYTE & ~(types >> 1)))
        return false;
    return pat || !(types & types >> 1 & types >> 2 & EACH_BYTE);
}

static int write_efer(struct vcpu *v, uint64_t value, bool host) {
    uint64_t allowed = EFER_LMA, ext = cpuid_bits(v, 0x80000001, 0, CPUID_EDX);
    allowed |= host || (ext & BIT(11)) ? EFER_SCE : 0;
    allowed |= host || (ext & BIT(20)) ? EFER_NXE : 0;
    allowed |= host || (ext & BIT(29)) ? EFER_LME : 0;
    if (value & ~allowed)
        return -EINVAL;
    vcpu_sync(v, PART_CR);
    if (!host && (v->cr0 & CR0_PG) && ((v->efer ^ value) & EFER_LME))
        return -EINVAL;
    v->efer = (value & ~EFER_LMA) | (v->efer & EFER_LMA); // LMA follows CR0.PG
    vcpu_changed(v, PART_CR);
    return 0;
}

// SDM vol. 3, "Local APIC Status and Location": x2APIC mode is entered from xAPIC mode and left to off.
static int write_apic_base(struct vcpu *v, uint64_t value, bool host) {
    uint64_t reserved = ~physical(v, PAGE_BITS) &
                        ~(APIC_BASE_BSP | APIC_BASE_X2APIC | APIC_BASE_ENABLE);
    bool x2apic_known = cpuid_bits(v, 1, 0, CPUID_ECX) & BIT(21);
    uint64_t modes = APIC_BASE_ENABLE | APIC_BASE_X2APIC, old = v->msr.apic_base & modes,
             new = value &modes;
    if ((value & reserved) || new == APIC_BASE_X2APIC || (!x2apic_known && (new &APIC_BASE_X2APIC)))
        return -EINVAL;
    if (!host && ((old == modes && new == APIC_BASE_ENABLE) || (old == 0 && new == modes)))
        return -EINVAL;
    v->msr.apic_base = value;
    cpuid_update(v);
    return 0;
}

static int write_tsc_adjust(struct vcpu *v, uint64_t value, bool host) {
    if (!host)
        vcpu_shift_tsc(v, value - v->msr.tsc_adjust);
    v->msr.tsc_adjust = value;
    return 0;
}

static int write_tsc(struct vcpu *v, uint64_t value, bool host) {
    if (!host && (v->control & CHRONO_VTIME))
        return 0; // virtual time is user space's: the TSC keeps its time
    int64_t before = v->tsc_offset;
    vcpu_set_tsc(v, value);
    if (!host)
        v->msr.tsc_adjust += v->tsc_offset - before;
    return 0;
}

static int write_special(struct vcpu *v, const struct msr *m, uint64_t value, bool host) {
    switch (m->index) {
    case MSR_TSC: return write_tsc(v, value, host);
    case MSR_TSC_ADJUST: return write_tsc_adjust(v, value, host);
    case MSR_EFER: return write_efer(v, value, host);
    case MSR_APIC_BASE: return write_apic_base(v, value, host);
    }
    return 0; // MSR_BIOS_SIGN_ID, before CPUID reads the microcode revision
}

// ---- one register ------------------------------------------------------------------------------
// It is a field of struct vcpu, and that is current.
static inline bool simply_readable(const struct vcpu *v, const struct msr *m) {
    return m->kind <= TYPED && !(v->stale & m->part);
}

// 0, or -ENOENT: there is no such register. Parts that are stale must be on this processor.
static int read_msr(struct vcpu *v, uint32_t index, uint64_t *value) {
    const struct msr *m = find(index);
    if (!m)
        return -ENOENT;
    vcpu_sync(v, m->part);
    switch (m->kind) {
    case CONSTANT: *value = m->mask; return 0;
    case IGNORED:
    case ZERO: *value = 0; return 0;
    case SPECIAL:
        if (index == MSR_TSC)
            *value = vcpu_tsc(v);
        else if (index == MSR_EFER)
            *value = v->efer;
        else if (index == MSR_BIOS_SIGN_ID)
            *value = 1ull << 32; // some revision
        else
            *value = *field(v, m);
        return 0;
    }
    *value = *field(v, m);
    return 0;
}

// A field of struct vcpu may have this value; all is said with that of the kinds that need no more than the value.
static inline bool simply_valid(const struct msr *m, uint64_t value) {
    switch (m->kind) {
    case STORED: return !(value & ~m->mask);
    case ADDRESS: return canonical(value);
    case TYPES: return memory_types_valid(value, true);
    case FIXED: return memory_types_valid(value, false);
    }
    return false;
}

static bool valid(const struct vcpu *v, const struct msr *m, uint64_t value) {
    switch (m->kind) {
    case PHYSICAL: return !(value & ~physical(v, m->mask));
    case TYPED:
        return !(value & ~(physical(v, m->mask) | 0xff)) &&
               memory_types_valid((uint8_t)value, false);
    }
    return simply_valid(m, value);
}

// As read_msr(), or -EINVAL: the value is not allowed. host: user space asks, which may do more.
static int write_msr(struct vcpu *v, uint32_t index, uint64_t value, bool host) {
    const struct msr *m = find(index);
    if (!m)
        return -ENOENT;
    vcpu_sync(v, m->part);
    switch (m->kind) {
    case CONSTANT: return host && value == m->mask ? 0 : -EINVAL;
    case IGNORED: return 0;
    case ZERO: return value ? -EINVAL : 0;
    case SPECIAL: return write_special(v, m, value, host);
    }
    if (!valid(v, m, value))
        return -EINVAL;
    *field(v, m) = value;
    vcpu_changed(v, m->part);
    return 0;
}

// ---- exits -------------------------------------------------------------------------------------
static uint64_t written_value(const struct vcpu *v) {
    return (uint32_t)v->gpr[GPR_RAX] | v->gpr[GPR_RDX] << 32;
}

static void give_value(struct vcpu *v, uint64_t value) {
    v->gpr[GPR_RAX] = (uint32_t)value;
    v->gpr[GPR_RDX] = value >> 32;
}

static int complete_user_msr(struct vcpu *v) {
    if (v->run->msr.error) {
        vcpu_inject_exception(v, VECTOR_GP, true, 0);
        return 1;
    }
    if (v->pending.in)
        give_value(v, v->run->msr.data);
    vcpu_skip(v, v->pending.length);
    return 1;
}

// Hands the access to user space if it asked for accesses refused for that reason; else #GP.
static int refuse(struct vcpu *v, const struct vm_exit *e, bool write, uint64_t reason) {
    if (!(v->vm->user_msr_reasons & reason)) {
        vcpu_inject_exception(v, VECTOR_GP, true, 0);
        return 1;
    }
    struct kvm_run *r = v->run;
    r->exit_reason = write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;
    r->msr.error = 0;
    r->msr.reason = reason;
    r->msr.index = (uint32_t)v->gpr[GPR_RCX];
    r->msr.data = write ? written_value(v) : 0;
    v->pending.length = e->length;
    v->pending.in = !write;
    v->complete = complete_user_msr;
    return 0;
}

static uint64_t reason_of(int err) {
    return err == -ENOENT ? KVM_MSR_EXIT_REASON_UNKNOWN : KVM_MSR_EXIT_REASON_INVAL;
}

static noinline int read_slowly(struct vcpu *v, const struct vm_exit *e) {
    uint32_t index = (uint32_t)v->gpr[GPR_RCX];
    if (v->vm->msr_filter && !msr_filter_allows(v->vm, index, false))
        return refuse(v, e, false, KVM_MSR_EXIT_REASON_FILTER);
    uint64_t value;
    int err = read_msr(v, index, &value);
    if (unlikely(err))
        return refuse(v, e, false, reason_of(err));
    give_value(v, value);
    vcpu_skip(v, e->length);
    return 1;
}

static noinline int write_slowly(struct vcpu *v, const struct vm_exit *e) {
    uint32_t index = (uint32_t)v->gpr[GPR_RCX];
    if (v->vm->msr_filter && !msr_filter_allows(v->vm, index, true))
        return refuse(v, e, true, KVM_MSR_EXIT_REASON_FILTER);
    int err = write_msr(v, index, written_value(v), false);
    if (unlikely(err))
        return refuse(v, e, true, reason_of(err));
    vcpu_skip(v, e->length);
    return 1;
}

// The short ways, for registers that need nothing but their field; all others take the long ones above.
int msr_exit_read(struct vcpu *v, const struct vm_exit *e) {
    const struct msr *m = find((uint32_t)v->gpr[GPR_RCX]);
    if (unlikely(!m || v->vm->msr_filter || !simply_readable(v, m)))
        return read_slowly(v, e);
    give_value(v, *field(v, m));
    vcpu_skip(v, e->length);
    return 1;
}

int msr_exit_write(struct vcpu *v, const struct vm_exit *e) {
    const struct msr *m = find((uint32_t)v->gpr[GPR_RCX]);
    uint64_t value = written_value(v);
    if (unlikely(!m || v->vm->msr_filter || (v->stale & m->part) || !simply_valid(m, value)))
        return write_slowly(v, e);
    *field(v, m) = value;
    v->dirty |= m->part;
    vcpu_skip(v, e->length);
    return 1;
}

// ---- ioctls ------------------------------------------------------------------------------------
static long give_list(unsigned long arg, const uint32_t *list, unsigned n) {
    struct kvm_msr_list __user *user = (struct kvm_msr_list __user *)arg;
    struct kvm_msr_list head;
    if (copy_from_user(&head, user, sizeof(head)))
        return -EFAULT;
    unsigned room = head.nmsrs;
    head.nmsrs = n;
    if (copy_to_user(user, &head, sizeof(head)))
        return -EFAULT;
    if (room < n)
        return -E2BIG;
    return copy_to_user(user->indices, list, n * sizeof(*list));
}

long msr_get_index_list(unsigned long arg) {
    uint32_t list[ARRAY_SIZE(msrs)];
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
        list[i] = msrs[i].index;
    return give_list(arg, list, ARRAY_SIZE(list));
}

static const uint32_t feature_msrs[] = {MSR_ARCH_CAPABILITIES, MSR_BIOS_SIGN_ID};

long msr_get_feature_list(unsigned long arg) {
    return give_list(arg, feature_msrs, ARRAY_SIZE(feature_msrs));
}

// Runs over a user's struct kvm_msrs, until fn refuses one; returns how many were done.
static long for_each(unsigned long arg, bool write_back, int (*fn)(void *, struct kvm_msr_entry *),
                     void *context) {
    struct kvm_msrs __user *user = (struct kvm_msrs __user *)arg;
    struct kvm_msrs head;
    if (copy_from_user(&head, user, sizeof(head)))
        return -EFAULT;
    if (head.nmsrs >= 256) // MAX_IO_MSRS
        return -E2BIG;
    long done = 0;
    for (; done < head.nmsrs; done++) {
        struct kvm_msr_entry entry;
        if (copy_from_user(&entry, &user->entries[done], sizeof(entry)))
            return -EFAULT;
        if (fn(context, &entry))
            break;
        if (write_back && copy_to_user(&user->entries[done], &entry, sizeof(entry)))
            return -EFAULT;
    }
    return done;
}

static int get_feature(void *context, struct kvm_msr_entry *entry) {
    (void)context;
    if (entry->index == MSR_ARCH_CAPABILITIES)
        entry->data = ARCH_CAPABILITIES;
    else if (entry->index == MSR_BIOS_SIGN_ID)
        entry->data = 1ull << 32;
    else
        return -ENOENT;
    return 0;
}

long msr_get_features(unsigned long arg) {
    return for_each(arg, true, get_feature, NULL);
}

static int get_one(void *v, struct kvm_msr_entry *entry) {
    uint64_t value;
    int err = read_msr(v, entry->index, &value);
    if (!err)
        entry->data = value;
    return err;
}

static int set_one(void *v, struct kvm_msr_entry *entry) {
    return write_msr(v, entry->index, entry->data, true);
}

long msr_ioctl_get(struct vcpu *v, unsigned long arg) {
    vcpu_fetch(v, PART_ALL);
    return for_each(arg, true, get_one, v);
}

long msr_ioctl_set(struct vcpu *v, unsigned long arg) {
    vcpu_fetch(v, PART_ALL);
    return for_each(arg, false, set_one, v);
}
