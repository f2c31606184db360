// Floating-point and vector state (cpu/fpu.h).
#include "cpu/features.h"
#include "cpu/fpu.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/string.h"

// Components: Intel SDM vol. 1, 13.1
#define XFEATURE_X87    BIT(0)
#define XFEATURE_SSE    BIT(1)
#define XFEATURE_AVX    BIT(2)
#define XFEATURE_AVX512 (BIT(5) | BIT(6) | BIT(7))

struct xsave_header {
    uint64_t xstate_bv, xcomp_bv, reserved[6];
};
struct xsave_area { // SDM vol. 1, 13.4.1 and 10.5.1
    uint16_t fcw, fsw;
    uint8_t ftw, reserved0;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t registers[384], reserved1[48], available[48];
    struct xsave_header header; // absent in the FXSAVE format
};
#define FXSAVE_SIZE 512

static uint64_t features = XFEATURE_X87 | XFEATURE_SSE; // written once at boot
static bool use_xsave;
static size_t area_size = FXSAVE_SIZE;
static uint32_t mxcsr_mask = 0xffbf; // SDM vol. 1, 11.6.6: when the processor stores 0

static uint64_t wanted_features(void) {
    uint64_t wanted = XFEATURE_X87 | XFEATURE_SSE;
    if (cpu_has(FEATURE_AVX))
        wanted |= XFEATURE_AVX;
    if (cpu_has(FEATURE_AVX) && cpu_has(FEATURE_AVX512))
        wanted |= XFEATURE_AVX512;
    struct cpuid_result r = cpuid(0xd, 0);
    uint64_t supported = (uint64_t)r.edx << 32 | r.eax;
    if ((supported & XFEATURE_AVX512) != XFEATURE_AVX512)
        supported &= ~XFEATURE_AVX512;
    return wanted & supported;
}

void fpu_init_cpu(void) {
    use_xsave = cpu_has(FEATURE_XSAVE);
    if (use_xsave) {
        features = wanted_features();
        xsetbv(0, features);
        area_size = cpuid(0xd, 0).ebx; // for the components now in XCR0
    }
    __asm__ volatile("fninit");
    static struct xsave_area area aligned_to(FPU_ALIGN);
    __asm__ volatile("fxsave64 %0" : "=m"(area));
    if (area.mxcsr_mask)
        mxcsr_mask = area.mxcsr_mask;
}

size_t fpu_area_size(void) {
    return area_size;
}
uint64_t fpu_features(void) {
    return features;
}

void fpu_init_area(void *area) {
    struct xsave_area *a = area;
    memset(a, 0, area_size);
    a->fcw = 0x37f;
    a->mxcsr = 0x1f80;
    a->mxcsr_mask = mxcsr_mask;
}

void fpu_save(void *area) {
    if (use_xsave)
        __asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(-1), "d"(-1) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}

void fpu_load(const void *area) {
    if (use_xsave)
        __asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"(-1), "d"(-1) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}

int fpu_load_checked(void *area) {
    // What makes XRSTOR fault: SDM vol. 1, 13.8.1; FXRSTOR: reserved bits of MXCSR.
    const struct xsave_area *a = area;
    if (a->mxcsr & ~mxcsr_mask)
        return -EINVAL;
    if (use_xsave) {
        if ((a->header.xstate_bv & ~features) || a->header.xcomp_bv)
            return -EINVAL;
        for (unsigned i = 0; i < ARRAY_SIZE(a->header.reserved); i++)
            if (a->header.reserved[i])
                return -EINVAL;
    }
    fpu_load(area);
    return 0;
}
