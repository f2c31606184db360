/* sources: kernel/boot/multiboot2.c */
// Any bytes as boot information: the result must be sorted, without overlaps, and within bounds.
#include <stdlib.h>
#include "boot/multiboot2.h"

struct boot_info boot_info;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    multiboot2_parse(data, size, 0x10000, &boot_info);
    if (boot_info.memory_count > ARRAY_SIZE(boot_info.memory))
        abort();
    for (unsigned i = 0; i < boot_info.memory_count; i++) {
        const struct memory_range *m = &boot_info.memory[i];
        if (m->start >= m->end || (i && m->start < m[-1].end))
            abort();
    }
    return 0;
}
