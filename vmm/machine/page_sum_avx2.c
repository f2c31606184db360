#pragma GCC target("avx2")
#define XXH_VECTOR 2 // XXH_AVX2
#define NAME       page_sum_avx2
#include "vmm/machine/page_sum_body.h"
