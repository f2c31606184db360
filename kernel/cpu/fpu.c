// Floating-point and vector state (cpu/fpu.h).
#include "cpu/features.h"
#include "cpu/fpu.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/layout.h"
#include "mm/uaccess.h"

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
bool fpu_has_xsave;
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
    fpu_has_xsave = cpu_has(FEATURE_XSAVE);
    if (fpu_has_xsave) {
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

// mm/usercopy.S
int user_xsave(void *area);
int user_xrstor(const void *area, uint64_t components);
int user_fxsave(void *area);
int user_fxrstor(const void *area);

static bool user_area(const void __user *area) {
    return (uint64_t)area < USER_END && area_size <= USER_END - (uint64_t)area;
}

// Makes components initial by an area that has none of them.
static void load_initial(uint64_t components) {
    static const struct xsave_area nothing aligned_to(FPU_ALIGN) = {.fcw = 0x37f, .mxcsr = 0x1f80};
    if (fpu_has_xsave)
        __asm__ volatile("xrstor64 (%0)" ::"r"(&nothing), "a"((uint32_t)components),
                         "d"((uint32_t)(components >> 32))
                         : "memory");
    else
        fpu_load(&nothing);
}

void fpu_load_initial(void) {
    load_initial(features);
}

int fpu_save_user(void __user *area) {
    if (!user_area(area))
        return -EFAULT;
    if (!fpu_has_xsave)
        return user_fxsave(area);
    // XSAVE leaves the rest of its header alone, which must be zero when it is loaded.
    int err = clear_user(&((struct xsave_area *)area)->header, sizeof(struct xsave_header));
    return err ? err : user_xsave(area);
}

int fpu_load_user(const void __user *area, uint64_t components) {
    int err = -EFAULT;
    components &= features;
    // First, because it sets MXCSR, which several components share (SDM vol. 1, 13.8.1).
    if (features & ~components)
        load_initial(features & ~components);
    if (user_area(area))
        err = fpu_has_xsave && components ? user_xrstor(area, components) : user_fxrstor(area);
    if (err)
        fpu_load_initial();
    return err;
}
