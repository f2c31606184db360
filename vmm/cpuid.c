// The virtual CPU: a fixed, listed model, so that a guest sees the same processor wherever it runs, and
// one without anything whose result a log could not reproduce: x86-64-v2, AVX and AVX2 where the host
// has them; no TSX, RDRAND, RDSEED, performance counters, MONITOR, WAITPKG, XSAVEOPT, XSAVEC, XSAVES, PCID,
// CET, protection keys, AMX, and no paravirtual leaves.
#include "vmm/cpuid.h"
#include "cpu/clock.h"
#include "cpu/features.h"
#include "cpu/fpu.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "vmm/skip.h"
#include "vmm/x86.h"

#define ENTRIES_MAX 256 // KVM_MAX_CPUID_ENTRIES

#define LEAF1_EDX                                                                                  \
    (BIT(0) /* FPU */ | BIT(1) /* VME */ | BIT(2) /* DE */ | BIT(3) /* PSE */ | BIT(4) /* TSC */ | \
     BIT(5) /* MSR */ | BIT(6) /* PAE */ | BIT(7) /* MCE */ | BIT(8) /* CX8 */ |                   \
     BIT(9) /* APIC */ | BIT(11) /* SEP */ | BIT(12) /* MTRR */ | BIT(13) /* PGE */ |              \
     BIT(14) /* MCA */ | BIT(15) /* CMOV */ | BIT(16) /* PAT */ | BIT(17) /* PSE-36 */ |           \
     BIT(19) /* CLFSH */ | BIT(23) /* MMX */ | BIT(24) /* FXSR */ | BIT(25) /* SSE */ |            \
     BIT(26) /* SSE2 */ | BIT(27) /* SS */)
#define LEAF1_ECX_BASE                                                                          \
    (BIT(0) /* SSE3 */ | BIT(9) /* SSSE3 */ | BIT(13) /* CX16 */ | BIT(19) /* SSE4.1 */ |       \
     BIT(20) /* SSE4.2 */ | BIT(21) /* x2APIC */ | BIT(22) /* MOVBE */ | BIT(23) /* POPCNT */ | \
     BIT(26) /* XSAVE */)
#define LEAF1_ECX_CRYPTO   (BIT(1) /* PCLMULQDQ */ | BIT(25) /* AES */)
#define LEAF1_ECX_AVX      (BIT(12) /* FMA */ | BIT(28) /* AVX */ | BIT(29) /* F16C */)
#define LEAF1_TSC_DEADLINE BIT(24) // user space adds it when its local APIC has that mode
#define LEAF1_OSXSAVE      BIT(27)
#define LEAF1_XSAVE        BIT(26)
#define LEAF1_HYPERVISOR   BIT(31)
#define LEAF1_APIC         BIT(9)
#define LEAF7_EBX                                                                              \
    (BIT(0) /* FSGSBASE */ | BIT(1) /* TSC_ADJUST */ | BIT(3) /* BMI1 */ | BIT(7) /* SMEP */ | \
     BIT(8) /* BMI2 */ | BIT(9) /* ERMS */ | BIT(20) /* SMAP */ | BIT(23) /* CLFLUSHOPT */)
#define LEAF7_EBX_AVX2 BIT(5)
#define LEAF7_ECX      BIT(2) /* UMIP */
#define LEAF7_EDX      (BIT(4) /* FSRM */ | BIT(29) /* ARCH_CAPABILITIES */)
#define EXT1_ECX       (BIT(0) /* LAHF */ | BIT(5) /* LZCNT */ | BIT(8) /* PREFETCHW */)
#define EXT1_EDX                                                                                  \
    (BIT(11) /* SYSCALL */ | BIT(20) /* NX */ | BIT(26) /* 1 GB pages */ | BIT(27) /* RDTSCP */ | \
     BIT(29) /* LM */)
#define EXT7_EDX BIT(8) // the TSC is invariant

#define XFEATURE_AVX      BIT(2)
#define XFEATURES_OFFERED (3 | XFEATURE_AVX)

static struct kvm_cpuid_entry2 model[32];
static unsigned model_count;

static void add(uint32_t leaf, uint32_t subleaf, bool indexed, uint32_t eax, uint32_t ebx,
                uint32_t ecx, uint32_t edx) {
    ASSERT(model_count < ARRAY_SIZE(model));
    model[model_count++] = (struct kvm_cpuid_entry2){
        .function = leaf,
        .index = subleaf,
        .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
        .eax = eax,
        .ebx = ebx,
        .ecx = ecx,
        .edx = edx,
    };
}

static uint32_t text4(const char *s) {
    uint32_t r;
    memcpy(&r, s, 4);
    return r;
}

static void add_brand(void) {
    static const char brand[48] = "Chronovisor Virtual CPU";
    for (unsigned i = 0; i < 3; i++)
        add(0x80000002 + i, 0, false, text4(brand + 16 * i), text4(brand + 16 * i + 4),
            text4(brand + 16 * i + 8), text4(brand + 16 * i + 12));
}

// Where XSAVE keeps a component, and how much all enabled ones take (SDM vol. 1, 13.4, 13.5).
static uint32_t xsave_size(uint64_t xcr0) {
    uint32_t size = 576;
    if (xcr0 & XFEATURE_AVX) {
        struct cpuid_result r = cpuid(0xd, 2);
        size = r.ebx + r.eax;
    }
    return size;
}

static void add_xsave(uint64_t xfeatures) {
    add(0xd, 0, true, (uint32_t)xfeatures, xsave_size(1), xsave_size(xfeatures), 0);
    add(0xd, 1, true, 0, 0, 0, 0);
    if (xfeatures & XFEATURE_AVX) {
        struct cpuid_result r = cpuid(0xd, 2);
        add(0xd, 2, true, r.eax, r.ebx, 0, 0);
    }
}

// Caches as a small server's, equal everywhere: L1 32 KB + 32 KB, L2 1 MB, L3 16 MB, lines of 64 bytes.
static void add_caches(void) {
    add(4, 0, true, 0x00000121, 0x01c0003f, 0x3f, 0);
    add(4, 1, true, 0x00000122, 0x01c0003f, 0x3f, 0);
    add(4, 2, true, 0x00000143, 0x03c0003f, 0x3ff, 0);
    add(4, 3, true, 0x00000163, 0x03c0003f, 0x3fff, 0);
    add(4, 4, true, 0, 0, 0, 0);
}

// TSC = crystal * EBX / EAX (SDM vol. 2, CPUID leaf 15h); 1:1 while the frequency fits into 32 bits.
static void add_frequency(uint64_t hz) {
    uint32_t ratio = hz >> 32 ? 2 : 1;
    add(0x15, 0, false, 1, ratio, (uint32_t)(hz / ratio), 0);
    uint32_t mhz = (uint32_t)(hz / 1000000);
    add(0x16, 0, false, mhz, mhz, 100, 0);
}

void cpuid_init(void) {
    struct cpuid_result host1 = cpuid(1, 0), host7 = cpuid(7, 0), ext1 = cpuid(0x80000001, 0);
    bool avx = fpu_features() & XFEATURE_AVX;
    uint64_t xfeatures = fpu_features() & XFEATURES_OFFERED;
    uint32_t ecx1 = LEAF1_ECX_BASE | LEAF1_ECX_CRYPTO | (avx ? LEAF1_ECX_AVX : 0);
    // x2APIC and the hypervisor bit are user space's and ours; the rest the host must have.
    ecx1 = (ecx1 & (host1.ecx | BIT(21))) | LEAF1_HYPERVISOR;
    uint32_t ebx7 = (LEAF7_EBX | (avx ? LEAF7_EBX_AVX2 : 0)) & (host7.ebx | BIT(1));
    model_count = 0;
    add(0, 0, false, 0x16, text4("Genu"), text4("ntel"), text4("ineI"));
    add(1, 0, false, CPUID_SIGNATURE, 0x00010800, ecx1, LEAF1_EDX);
    add(2, 0, false, 0x00feff01, 0xf0, 0, 0); // descriptors: see leaf 4
    add_caches();
    add(6, 0, false, BIT(2), 0, 0, 0); // ARAT: the APIC timer never stops
    add(7, 0, true, 0, ebx7, LEAF7_ECX & host7.ecx, LEAF7_EDX & (host7.edx | BIT(29)));
    add(0xb, 0, true, 0, 1, 1 << 8, 0);
    add(0xb, 1, true, 0, 1, 2 << 8 | 1, 0);
    add_xsave(xfeatures);
    add_frequency(clock_tsc_hz());
    add(0x80000000, 0, false, 0x80000008, 0, 0, 0);
    add(0x80000001, 0, false, 0, 0, EXT1_ECX & ext1.ecx, EXT1_EDX & (ext1.edx | BIT(11)));
    add_brand();
    add(0x80000006, 0, false, 0, 0, 0x04008040, 0);
    add(0x80000007, 0, false, 0, 0, 0, EXT7_EDX);
    add(0x80000008, 0, false, cpu_identity.physical_bits | 48 << 8, 0, 0, 0);
}

long cpuid_get_supported(unsigned long arg) {
    struct kvm_cpuid2 __user *user = (struct kvm_cpuid2 __user *)arg;
    struct kvm_cpuid2 head;
    if (copy_from_user(&head, user, sizeof(head)))
        return -EFAULT;
    if (head.nent < model_count)
        return -E2BIG;
    head.nent = model_count;
    head.padding = 0;
    if (copy_to_user(user, &head, sizeof(head)) ||
        copy_to_user(user->entries, model, model_count * sizeof(model[0])))
        return -EFAULT;
    return 0;
}

// ---- a vCPU's table ----------------------------------------------------------------------------
static struct kvm_cpuid_entry2 *find(const struct vcpu *v, uint32_t leaf, uint32_t subleaf) {
    struct kvm_cpuid_entry2 *e = v->cpuid, *end = e + v->cpuid_count;
    for (; e < end; e++)
        if (e->function == leaf &&
            (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
            return e;
    return NULL;
}

uint32_t cpuid_bits(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, enum cpuid_register r) {
    const struct kvm_cpuid_entry2 *e = find(v, leaf, subleaf);
    if (!e)
        return 0;
    return r == CPUID_EAX ? e->eax : r == CPUID_EBX ? e->ebx : r == CPUID_ECX ? e->ecx : e->edx;
}

unsigned cpuid_physical_bits(const struct vcpu *v) {
    unsigned bits = cpuid_bits(v, 0x80000008, 0, CPUID_EAX) & 0xff;
    return bits >= 32 && bits <= 52 ? bits : 36;
}

uint64_t cpuid_cr4_allowed(const struct vcpu *v) {
    uint64_t must0, may0, must4, may4;
    vmm_vendor->cr_limits(&must0, &may0, &must4, &may4);
    uint32_t ecx1 = cpuid_bits(v, 1, 0, CPUID_ECX), ebx7 = cpuid_bits(v, 7, 0, CPUID_EBX);
    uint64_t allowed = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE |
                       CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    allowed |= ecx1 & LEAF1_XSAVE ? CR4_OSXSAVE : 0;
    allowed |= ebx7 & BIT(0) ? CR4_FSGSBASE : 0;
    allowed |= ebx7 & BIT(7) ? CR4_SMEP : 0;
    allowed |= ebx7 & BIT(20) ? CR4_SMAP : 0;
    allowed |= cpuid_bits(v, 7, 0, CPUID_ECX) & BIT(2) ? CR4_UMIP : 0;
    return allowed & may4;
}

uint64_t cpuid_xcr0_allowed(const struct vcpu *v) {
    uint64_t bits = cpuid_bits(v, 0xd, 0, CPUID_EAX) | (uint64_t)cpuid_bits(v, 0xd, 0, CPUID_EDX)
                                                           << 32;
    return bits & fpu_features() & XFEATURES_OFFERED; // whatever user space makes of CPUID
}

void cpuid_update(struct vcpu *v) {
    struct kvm_cpuid_entry2 *e = find(v, 1, 0);
    if (e) {
        e->ecx = v->cr4 & CR4_OSXSAVE ? e->ecx | LEAF1_OSXSAVE : e->ecx & ~LEAF1_OSXSAVE;
        e->edx = v->msr.apic_base & BIT(11) ? e->edx | LEAF1_APIC : e->edx & ~LEAF1_APIC;
    }
    e = find(v, 0xd, 0);
    if (e)
        e->ebx = xsave_size(v->xcr0);
}

// The highest leaf of the class of leaves (0h, 80000000h) that `leaf` belongs to.
static const struct kvm_cpuid_entry2 *out_of_range(const struct vcpu *v, uint32_t leaf,
                                                   uint32_t subleaf) {
    const struct kvm_cpuid_entry2 *class = find(v, leaf & 0x80000000, 0), *basic = find(v, 0, 0);
    if (!basic || (class && leaf <= class->eax))
        return NULL;                     // within the class but not there: all zero
    return find(v, basic->eax, subleaf); // as Intel's processors: data of the highest basic leaf
}

// What CPUID gives for a leaf that the table does not have. The topology leaf says which level was asked
// for even when that does not exist.
static struct kvm_cpuid_entry2 missing(const struct vcpu *v, uint32_t leaf, uint32_t subleaf) {
    const struct kvm_cpuid_entry2 *e = out_of_range(v, leaf, subleaf);
    if (e)
        return *e;
    const struct kvm_cpuid_entry2 *topology = leaf == 0xb ? find(v, 0xb, 0) : NULL;
    if (!topology)
        return (struct kvm_cpuid_entry2){0};
    return (struct kvm_cpuid_entry2){.ecx = subleaf & 0xff, .edx = topology->edx};
}

static void give(struct vcpu *v, const struct kvm_cpuid_entry2 *e) {
    v->gpr[GPR_RAX] = e->eax;
    v->gpr[GPR_RBX] = e->ebx;
    v->gpr[GPR_RCX] = e->ecx;
    v->gpr[GPR_RDX] = e->edx;
}

static noinline int give_missing(struct vcpu *v, const struct vm_exit *exit) {
    struct kvm_cpuid_entry2 made = missing(v, (uint32_t)v->gpr[GPR_RAX], (uint32_t)v->gpr[GPR_RCX]);
    give(v, &made);
    vcpu_skip(v, exit->length);
    return 1;
}

int cpuid_exit(struct vcpu *v, const struct vm_exit *exit) {
    const struct kvm_cpuid_entry2 *e = find(v, (uint32_t)v->gpr[GPR_RAX],
                                            (uint32_t)v->gpr[GPR_RCX]);
    if (unlikely(!e))
        return give_missing(v, exit);
    give(v, e);
    vcpu_skip(v, exit->length);
    return 1;
}

// ---- ioctls ------------------------------------------------------------------------------------
static void install(struct vcpu *v, struct kvm_cpuid_entry2 *entries, unsigned n) {
    kfree(v->cpuid);
    v->cpuid = entries;
    v->cpuid_count = n;
    vcpu_fetch(v, PART_CR);
    vcpu_features_changed(v);
}

long cpuid_set2(struct vcpu *v, unsigned long arg) {
    struct kvm_cpuid2 __user *user = (struct kvm_cpuid2 __user *)arg;
    struct kvm_cpuid2 head;
    if (copy_from_user(&head, user, sizeof(head)))
        return -EFAULT;
    if (head.nent > ENTRIES_MAX)
        return -E2BIG;
    struct kvm_cpuid_entry2 *entries = NULL;
    if (head.nent) {
        entries = kzalloc(head.nent * sizeof(*entries));
        if (!entries)
            return -ENOMEM;
        if (copy_from_user(entries, user->entries, head.nent * sizeof(*entries))) {
            kfree(entries);
            return -EFAULT;
        }
    }
    install(v, entries, head.nent);
    return 0;
}

// The older form without sub-leaves.
long cpuid_set(struct vcpu *v, unsigned long arg) {
    struct kvm_cpuid __user *user = (struct kvm_cpuid __user *)arg;
    struct kvm_cpuid head;
    if (copy_from_user(&head, user, sizeof(head)))
        return -EFAULT;
    if (head.nent > ENTRIES_MAX)
        return -E2BIG;
    struct kvm_cpuid_entry2 *entries = kzalloc((head.nent + 1) * sizeof(*entries));
    if (!entries)
        return -ENOMEM;
    for (unsigned i = 0; i < head.nent; i++) {
        struct kvm_cpuid_entry old;
        if (copy_from_user(&old, &user->entries[i], sizeof(old))) {
            kfree(entries);
            return -EFAULT;
        }
        entries[i] = (struct kvm_cpuid_entry2){.function = old.function,
                                               .eax = old.eax,
                                               .ebx = old.ebx,
                                               .ecx = old.ecx,
                                               .edx = old.edx};
    }
    install(v, entries, head.nent);
    return 0;
}

long cpuid_get2(struct vcpu *v, unsigned long arg) {
    struct kvm_cpuid2 __user *user = (struct kvm_cpuid2 __user *)arg;
    struct kvm_cpuid2 head;
    if (copy_from_user(&head, user, sizeof(head)))
        return -EFAULT;
    if (head.nent < v->cpuid_count)
        return -E2BIG;
    head.nent = v->cpuid_count;
    if (copy_to_user(user, &head, sizeof(head)) ||
        copy_to_user(user->entries, v->cpuid, v->cpuid_count * sizeof(*v->cpuid)))
        return -EFAULT;
    return 0;
}
