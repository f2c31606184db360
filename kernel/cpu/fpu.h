// x87, SSE, AVX and AVX-512 registers of UserWorlds: saved and loaded whole at each switch by plain
// XSAVE and XRSTOR (FXSAVE on processors without), never lazily. The kernel itself does not use them.
#pragma once
#include "lib/compiler.h"

#define FPU_ALIGN 64 // of every area

// Switches the state components on, on the processor that calls it.
void fpu_init_cpu(void);
// Bytes of an area; its layout is the standard (not compacted) format of Intel SDM vol. 1, 13.4.
size_t fpu_area_size(void);
// The components in use, as in XCR0; 3 (x87, SSE) without XSAVE.
uint64_t fpu_features(void);
// The state of a fresh program: everything initial, FCW 0x37f, MXCSR 0x1f80.
void fpu_init_area(void *area);
// An area must be zeroed or go through fpu_init_area() before its first use: XSAVE writes only part
// of its header, and XRSTOR faults on garbage in the rest.
// The calling processor's registers to `area` / from an area that one of these functions filled.
// fpu_exchange(): both, one after the other.
#ifdef UNIT_TEST // the test's own
void fpu_save(void *area);
void fpu_load(const void *area);
#else
extern bool fpu_has_xsave; // written once at boot
static inline void fpu_save(void *area) {
    if (likely(fpu_has_xsave))
        __asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(-1), "d"(-1) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}
static inline void fpu_load(const void *area) {
    if (likely(fpu_has_xsave))
        __asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"(-1), "d"(-1) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}
static inline void fpu_exchange(void *save, const void *load) {
    if (likely(fpu_has_xsave))
        __asm__ volatile("xsave64 (%0); xrstor64 (%1)" ::"r"(save), "r"(load), "a"(-1), "d"(-1)
                         : "memory");
    else
        __asm__ volatile("fxsave64 (%0); fxrstor64 (%1)" ::"r"(save), "r"(load) : "memory");
}
#endif
// The registers of a fresh program.
void fpu_load_initial(void);
// To and from an area in user memory, whatever it holds; may sleep to bring its pages in.
int fpu_save_user(void __user *area); // 0 or -EFAULT
// Loads those of `components` that are in use; the others become initial. 0: the area holds only what
// FXSAVE writes. Returns 0, or -EFAULT (also when the contents are not valid): all is initial then.
int fpu_load_user(const void __user *area, uint64_t components);
