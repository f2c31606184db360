// Processor features: the table of names, detection, and switching on (cpu/features.h).
#include "cpu/features.h"
#include "cpu/msr.h"
#include "cpu/x86.h"
#include "lib/assert.h"
#include "lib/printf.h"
#include "lib/string.h"

enum cpuid_register { EAX, EBX, ECX, EDX };

// Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E.
static const struct feature {
    const char *name;
    uint32_t leaf;
    uint8_t reg, bit;
    const char *indispensable; // why nothing works without it; NULL: it does
} features[FEATURE_COUNT] = {
    [FEATURE_SSE2] = {"SSE2", 1, EDX, 26, "64-bit programs use it for every floating-point number"},
    [FEATURE_FXSR] = {"FXSR", 1, EDX, 24, "the SSE registers are switched with it"},
    [FEATURE_NX] = {"NX", 0x80000001, EDX, 20,
                    "data must not be executable; firmware setup may call it XD or EVP"},
    [FEATURE_SYSCALL] = {"SYSCALL", 0x80000001, EDX, 11, "programs enter the kernel with it"},
    [FEATURE_TSC] = {"TSC", 1, EDX, 4, "it is the clock"},
    [FEATURE_APIC] = {"APIC", 1, EDX, 9, "interrupts and timers need the local APIC"},
    [FEATURE_X2APIC] = {"x2APIC", 1, ECX, 21, NULL},
    [FEATURE_TSC_DEADLINE] = {"TSC-deadline", 1, ECX, 24, NULL},
    [FEATURE_INVARIANT_TSC] = {"invariant TSC", 0x80000007, EDX, 8, NULL},
    [FEATURE_XSAVE] = {"XSAVE", 1, ECX, 26, NULL},
    [FEATURE_AVX] = {"AVX", 1, ECX, 28, NULL},
    [FEATURE_AVX2] = {"AVX2", 7, EBX, 5, NULL},
    [FEATURE_AVX512] = {"AVX-512", 7, EBX, 16, NULL},
    [FEATURE_SMEP] = {"SMEP", 7, EBX, 7, NULL},
    [FEATURE_SMAP] = {"SMAP", 7, EBX, 20, NULL},
    [FEATURE_UMIP] = {"UMIP", 7, ECX, 2, NULL},
    [FEATURE_PGE] = {"PGE", 1, EDX, 13, NULL},
    [FEATURE_PAT] = {"PAT", 1, EDX, 16, NULL},
    [FEATURE_1GB_PAGES] = {"1 GB pages", 0x80000001, EDX, 26, NULL},
    [FEATURE_RDRAND] = {"RDRAND", 1, ECX, 30, NULL},
    [FEATURE_RDTSCP] = {"RDTSCP", 0x80000001, EDX, 27, NULL},
    [FEATURE_ERMS] = {"ERMS", 7, EBX, 9, NULL},
    [FEATURE_HYPERVISOR] = {"hypervisor", 1, ECX, 31, NULL},
    [FEATURE_VMX] = {"VT-x", 1, ECX, 5, NULL},
    [FEATURE_SVM] = {"SVM", 0x80000001, ECX, 2, NULL},
};

static uint64_t present; // bit per enum cpu_feature; written once at boot
struct cpu_identity cpu_identity;

bool cpu_has(enum cpu_feature f) {
    return present & BIT(f);
}
const char *feature_name(enum cpu_feature f) {
    return features[f].name;
}

static bool leaf_exists(uint32_t leaf) {
    return cpuid(leaf & 0x80000000, 0).eax >= leaf;
}

static bool detect(const struct feature *f) {
    if (!leaf_exists(f->leaf))
        return false;
    struct cpuid_result r = cpuid(f->leaf, 0);
    uint32_t value[] = {r.eax, r.ebx, r.ecx, r.edx};
    return value[f->reg] >> f->bit & 1;
}

static void identify(void) {
    struct cpuid_result r = cpuid(0, 0);
    memcpy(cpu_identity.vendor, &r.ebx, 4);
    memcpy(cpu_identity.vendor + 4, &r.edx, 4);
    memcpy(cpu_identity.vendor + 8, &r.ecx, 4);

    uint32_t v = cpuid(1, 0).eax; // SDM vol. 2, CPUID, "Version information"
    cpu_identity.stepping = v & 0xf;
    cpu_identity.model = v >> 4 & 0xf;
    cpu_identity.family = v >> 8 & 0xf;
    if (cpu_identity.family == 6 || cpu_identity.family == 15)
        cpu_identity.model |= v >> 12 & 0xf0;
    if (cpu_identity.family == 15)
        cpu_identity.family += v >> 20 & 0xff;

    cpu_identity.physical_bits = leaf_exists(0x80000008) ? cpuid(0x80000008, 0).eax & 0xff : 36;
    if (!leaf_exists(0x80000004))
        return;
    char brand[48];
    for (uint32_t i = 0; i < 3; i++) {
        r = cpuid(0x80000002 + i, 0);
        memcpy(brand + i * 16, &r, 16);
    }
    const char *start = brand; // right-aligned on some processors
    while (start < brand + sizeof(brand) && *start == ' ')
        start++;
    memcpy(cpu_identity.brand, start, brand + sizeof(brand) - start);
}

// Sites of STAC and CLAC (cpu/smap.h) become NOPs. The text is writable only until memory_init().
static void patch_smap_sites(void) {
    extern uint64_t smap_sites_start[], smap_sites_end[];
    static const uint8_t nop[3] = {0x0f, 0x1f, 0x00};
    for (uint64_t *site = smap_sites_start; site < smap_sites_end; site++)
        memcpy((void *)*site, nop, sizeof(nop));
}

void features_detect(void) {
    identify();
    for (unsigned i = 0; i < FEATURE_COUNT; i++) {
        if (detect(&features[i]))
            present |= BIT(i);
        else if (features[i].indispensable)
            panic("cpu: this processor (%s) has no %s, which is indispensable: %s",
                  cpu_identity.brand, features[i].name, features[i].indispensable);
    }
    if (!cpu_has(FEATURE_SMAP))
        patch_smap_sites();
}

// Memory types by page-table bits PWT (1), PCD (2): as at reset but for 1, write-combining instead of
// write-through (Intel SDM vol. 3, 12.12). mm/kernel_map relies on it.
#define PAT_VALUE 0x0007040600070106ull

void features_enable(void) {
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE | EFER_SCE);
    uint64_t cr0 = read_cr0();
    cr0 &= ~(CR0_EM | CR0_TS | CR0_AM | CR0_NW | CR0_CD);
    write_cr0(cr0 | CR0_MP | CR0_NE | CR0_WP);

    uint64_t cr4 = CR4_PAE | CR4_DE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    static const struct {
        enum cpu_feature feature;
        uint64_t bit;
    } optional[] = {
        {FEATURE_PGE, CR4_PGE},   {FEATURE_SMEP, CR4_SMEP},     {FEATURE_SMAP, CR4_SMAP},
        {FEATURE_UMIP, CR4_UMIP}, {FEATURE_XSAVE, CR4_OSXSAVE},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(optional); i++)
        if (cpu_has(optional[i].feature))
            cr4 |= optional[i].bit;
    write_cr4(cr4);
    if (cpu_has(FEATURE_PAT))
        wrmsr(MSR_PAT, PAT_VALUE);
}
