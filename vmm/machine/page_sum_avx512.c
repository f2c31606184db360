#pragma GCC target("avx512f")
#define XXH_VECTOR 3 // XXH_AVX512
#define NAME       page_sum_avx512
#include "vmm/machine/page_sum_body.h"
