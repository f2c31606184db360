/* sources: kernel/fs/cpio.c */
// Any bytes as an archive: every entry must lie inside, and reading must end.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "fs/cpio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct cpio_entry e;
    size_t pos = 0, last = 0;
    while (cpio_next(data, size, &pos, &e) == 1) {
        const uint8_t *name = (const uint8_t *)e.name;
        if (pos <= last || pos > size || e.data < data || e.data + e.size > data + size ||
            name < data || name + strlen(e.name) >= data + size)
            abort();
        last = pos;
    }
    return 0;
}
