// The kernel's own symbol table, made by tools/ksyms at link time: sorted by address.
#include "cpu/backtrace.h"

extern const uint64_t ksyms_count, ksyms_addresses[];
extern const uint32_t ksyms_name_offsets[];
extern const char ksyms_names[];
extern const char kernel_text_start[], kernel_text_end[]; // boot/kernel.ld

const char *ksym_find(uint64_t addr, uint64_t *offset) {
    if (addr < (uint64_t)kernel_text_start || addr >= (uint64_t)kernel_text_end || !ksyms_count ||
        addr < ksyms_addresses[0])
        return NULL;
    uint64_t low = 0, high = ksyms_count; // the answer is in [low, high)
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;
        if (ksyms_addresses[middle] <= addr)
            low = middle;
        else
            high = middle;
    }
    *offset = addr - ksyms_addresses[low];
    return ksyms_names + ksyms_name_offsets[low];
}
