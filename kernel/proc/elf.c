#include "proc/elf.h"
#include <linux/mman.h>
#include <asm/mman.h>
#include "lib/string.h"
#include "mm/layout.h"

#define PF_PROT_X 1 // p_flags: System V ABI, "Segment Permissions"
#define PF_PROT_W 2
#define PF_PROT_R 4

enum elf_result elf_check_header(const void *bytes, size_t size, uint64_t file_size) {
    const Elf64_Ehdr *h = bytes;
    if (size < SELFMAG || memcmp(bytes, ELFMAG, SELFMAG) != 0)
        return ELF_NOT_ELF;
    if (size < sizeof(*h))
        return ELF_MALFORMED;
    if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB ||
        h->e_machine != EM_X86_64 || (h->e_type != ET_EXEC && h->e_type != ET_DYN))
        return ELF_UNSUPPORTED;
    if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 || h->e_phnum > ELF_HEADERS_MAX)
        return ELF_MALFORMED;
    uint64_t table = h->e_phnum * sizeof(Elf64_Phdr);
    if (h->e_phoff > file_size || table > file_size - h->e_phoff)
        return ELF_MALFORMED;
    return ELF_OK;
}

static int protection(uint32_t flags) {
    return (flags & PF_PROT_R ? PROT_READ : 0) | (flags & PF_PROT_W ? PROT_WRITE : 0) |
           (flags & PF_PROT_X ? PROT_EXEC : 0);
}

// One PT_LOAD. All sums are checked before they are made.
static enum elf_result add_segment(const Elf64_Phdr *ph, uint64_t file_size,
                                   struct elf_image *out) {
    if (ph->p_memsz == 0)
        return ELF_OK;
    if (out->segment_count == ELF_SEGMENTS_MAX || ph->p_filesz > ph->p_memsz)
        return ELF_MALFORMED;
    if (ph->p_offset > file_size || ph->p_filesz > file_size - ph->p_offset)
        return ELF_MALFORMED;
    // The file is mapped page by page, so address and offset agree within a page.
    if ((ph->p_vaddr ^ ph->p_offset) & (PAGE_SIZE - 1))
        return ELF_MALFORMED;
    if (ph->p_vaddr >= USER_END || ph->p_memsz > USER_END - PAGE_SIZE - ph->p_vaddr)
        return ELF_MALFORMED;
    if (out->segment_count && ROUND_DOWN(ph->p_vaddr, PAGE_SIZE) < out->high)
        return ELF_MALFORMED;
    struct elf_segment *s = &out->segments[out->segment_count++];
    s->start = ph->p_vaddr;
    s->end = ph->p_vaddr + ph->p_memsz;
    s->file_end = ph->p_vaddr + ph->p_filesz;
    s->offset = ph->p_offset;
    s->prot = protection(ph->p_flags);
    if (out->segment_count == 1)
        out->low = ROUND_DOWN(s->start, PAGE_SIZE);
    out->high = ROUND_UP(s->end, PAGE_SIZE);
    return ELF_OK;
}

// Where the program headers will be in memory: in the segment that contains their bytes.
static uint64_t headers_address(const Elf64_Ehdr *h, const struct elf_image *image) {
    uint64_t end = h->e_phoff + h->e_phnum * sizeof(Elf64_Phdr);
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct elf_segment *s = &image->segments[i];
        if (h->e_phoff >= s->offset && end <= s->offset + (s->file_end - s->start))
            return s->start + (h->e_phoff - s->offset);
    }
    return 0;
}

static bool is_executable(const struct elf_image *image, uint64_t address) {
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct elf_segment *s = &image->segments[i];
        if (address >= s->start && address < s->end)
            return s->prot & PROT_EXEC;
    }
    return false;
}

enum elf_result elf_parse(const Elf64_Ehdr *h, const Elf64_Phdr *ph, uint64_t file_size,
                          struct elf_image *out) {
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < h->e_phnum; i++) {
        if (ph[i].p_type == PT_INTERP)
            return ELF_DYNAMIC;
        if (ph[i].p_type == PT_GNU_STACK)
            out->executable_stack = ph[i].p_flags & PF_PROT_X;
        if (ph[i].p_type != PT_LOAD)
            continue;
        enum elf_result r = add_segment(&ph[i], file_size, out);
        if (r != ELF_OK)
            return r;
    }
    out->position_independent = h->e_type == ET_DYN;
    out->entry = h->e_entry;
    out->header_count = h->e_phnum;
    out->headers = headers_address(h, out);
    // Page 0 stays unmapped, and so a null pointer faults.
    if (!out->segment_count || (!out->position_independent && out->low < PAGE_SIZE))
        return ELF_MALFORMED;
    return is_executable(out, out->entry) ? ELF_OK : ELF_MALFORMED;
}
