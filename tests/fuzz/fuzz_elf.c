/* sources: kernel/proc/elf.c */
// Any bytes as a program: the parser reads only what it was given, and what it accepts is sound.
#include <stdlib.h>
#include <string.h>
#include "mm/layout.h"
#include "proc/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct elf_image image;
    if (elf_check_header(data, size, size) != ELF_OK)
        return 0;
    Elf64_Ehdr h;
    memcpy(&h, data, sizeof(h));
    size_t table = h.e_phnum * sizeof(Elf64_Phdr);
    Elf64_Phdr *ph = malloc(table);
    memcpy(ph, data + h.e_phoff, table);
    if (elf_parse(&h, ph, size, &image) == ELF_OK) {
        uint64_t end = image.low;
        for (unsigned i = 0; i < image.segment_count; i++) {
            const struct elf_segment *s = &image.segments[i];
            if (ROUND_DOWN(s->start, PAGE_SIZE) < end || s->start >= s->end ||
                s->file_end > s->end || s->file_end < s->start ||
                s->offset + (s->file_end - s->start) > size)
                abort();
            end = ROUND_UP(s->end, PAGE_SIZE);
        }
        if (end != image.high || image.high > USER_END)
            abort();
    }
    free(ph);
    return 0;
}
