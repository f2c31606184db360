// Chooses the code of mm/page_ops.S by what XCR0 lets user programs use: that much of a register has to
// be preserved, and that much may be used.
#include "cpu/x86.h"
#include "mm/frame.h"

#define CPUID_OSXSAVE (1u << 27) // leaf 1, ECX
#define XCR0_AVX      (1u << 2)
#define XCR0_AVX512   (7u << 5) // opmask, upper halves of zmm0-15, zmm16-31

void page_clear_sse(void *page);
void page_clear_avx(void *page);
void page_clear_avx512(void *page);
void page_copy_sse(void *to, const void *from);
void page_copy_avx(void *to, const void *from);
void page_copy_avx512(void *to, const void *from);

void (*page_clear_variant)(void *page) = page_clear_sse;
void (*page_copy_variant)(void *to, const void *from) = page_copy_sse;

void page_ops_init(void) {
    uint64_t state = cpuid(1, 0).ecx & CPUID_OSXSAVE ? xgetbv(0) : 0;
    if ((state & XCR0_AVX512) == XCR0_AVX512) {
        page_clear_variant = page_clear_avx512;
        page_copy_variant = page_copy_avx512;
    } else if (state & XCR0_AVX) {
        page_clear_variant = page_clear_avx;
        page_copy_variant = page_copy_avx;
    }
}
