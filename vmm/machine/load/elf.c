// ELF kernels: the loadable segments of a 32- or 64-bit x86 executable, at their physical addresses.
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include "vmm/machine/load/load.h"

// One program header in 64-bit form, whatever the file's class.
static Elf64_Phdr program_header(bool is_64, const uint8_t *at) {
    Elf64_Phdr h;
    if (is_64) {
        memcpy(&h, at, sizeof(h));
        return h;
    }
    Elf32_Phdr p;
    memcpy(&p, at, sizeof(p));
    h = (Elf64_Phdr){.p_type = p.p_type,
                     .p_offset = p.p_offset,
                     .p_vaddr = p.p_vaddr,
                     .p_paddr = p.p_paddr,
                     .p_filesz = p.p_filesz,
                     .p_memsz = p.p_memsz};
    return h;
}

static int load_segment(struct machine *m, const struct load_image *k, unsigned i,
                        const Elf64_Phdr *h, struct elf_image *out, char error[256]) {
    char what[64];
    snprintf(what, sizeof(what), "ELF segment %u", i);
    if (h->p_offset > k->size || h->p_filesz > k->size - h->p_offset)
        return load_error(
            error,
            "%s: program header %u: p_offset 0x%llx + p_filesz 0x%llx is past the end of the file",
            k->name, i, (unsigned long long)h->p_offset, (unsigned long long)h->p_filesz);
    if (h->p_memsz < h->p_filesz)
        return load_error(
            error, "%s: program header %u: p_memsz 0x%llx is less than p_filesz 0x%llx", k->name, i,
            (unsigned long long)h->p_memsz, (unsigned long long)h->p_filesz);
    if (h->p_paddr + h->p_memsz < h->p_paddr)
        return load_error(
            error, "%s: program header %u: p_paddr 0x%llx + p_memsz 0x%llx wraps around", k->name,
            i, (unsigned long long)h->p_paddr, (unsigned long long)h->p_memsz);
    int err = load_part(m, what, h->p_paddr, k->data + h->p_offset, h->p_filesz, h->p_memsz, error);
    if (h->p_paddr < out->lowest)
        out->lowest = h->p_paddr;
    if (h->p_paddr + h->p_memsz > out->highest)
        out->highest = h->p_paddr + h->p_memsz;
    return err;
}

// Kernels linked high name a virtual entry point; it lies in one of the segments.
static uint64_t physical_entry(uint64_t entry, const Elf64_Phdr *h) {
    return entry - h->p_vaddr + h->p_paddr;
}

int elf_load(struct machine *m, const struct load_image *k, struct elf_image *out,
             char error[256]) {
    if (k->size < sizeof(Elf32_Ehdr) || memcmp(k->data, ELFMAG, SELFMAG))
        return load_error(error, "%s: no ELF header", k->name);
    Elf64_Ehdr e = {0};
    Elf32_Ehdr e32;
    memcpy(&e32, k->data, sizeof(e32));
    bool is_64 = e32.e_ident[EI_CLASS] == ELFCLASS64;
    if (is_64 && k->size < sizeof(e))
        return load_error(error, "%s: the ELF header is cut off", k->name);
    if (is_64)
        memcpy(&e, k->data, sizeof(e));
    uint16_t machine = is_64 ? e.e_machine : e32.e_machine;
    if (machine != EM_386 && machine != EM_X86_64)
        return load_error(error, "%s: e_machine %u is not x86", k->name, machine);
    uint64_t phoff = is_64 ? e.e_phoff : e32.e_phoff, entry = is_64 ? e.e_entry : e32.e_entry;
    unsigned phnum = is_64 ? e.e_phnum : e32.e_phnum,
             size = is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    unsigned stride = is_64 ? e.e_phentsize : e32.e_phentsize;
    if (stride < size || phoff > k->size || (uint64_t)phnum * stride > k->size - phoff)
        return load_error(
            error, "%s: program headers (e_phoff 0x%llx, e_phnum %u) are past the end of the file",
            k->name, (unsigned long long)phoff, phnum);
    *out = (struct elf_image){.entry = entry, .lowest = UINT64_MAX, .is_64 = is_64};
    for (unsigned i = 0; i < phnum; i++) {
        Elf64_Phdr h = program_header(is_64, k->data + phoff + (uint64_t)i * stride);
        if (h.p_type != PT_LOAD || h.p_memsz == 0)
            continue;
        int err = load_segment(m, k, i, &h, out, error);
        if (err)
            return err;
        if (entry - h.p_vaddr < h.p_memsz)
            out->entry = physical_entry(entry, &h);
    }
    return out->highest ? 0
                        : load_error(error, "%s: the ELF file has no loadable segment", k->name);
}

bool elf_find_sections(const struct load_image *k, struct elf_sections *out) {
    Elf64_Ehdr e = {0};
    Elf32_Ehdr e32;
    if (k->size < sizeof(e) || memcmp(k->data, ELFMAG, SELFMAG))
        return false;
    memcpy(&e, k->data, sizeof(e));
    memcpy(&e32, k->data, sizeof(e32));
    bool is_64 = e.e_ident[EI_CLASS] == ELFCLASS64;
    uint64_t offset = is_64 ? e.e_shoff : e32.e_shoff;
    *out = (struct elf_sections){.count = is_64 ? e.e_shnum : e32.e_shnum,
                                 .entry_size = is_64 ? e.e_shentsize : e32.e_shentsize,
                                 .names = is_64 ? e.e_shstrndx : e32.e_shstrndx,
                                 .is_64 = is_64};
    if (!out->count || out->entry_size < (is_64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr)) ||
        offset > k->size || (uint64_t)out->count * out->entry_size > k->size - offset)
        return false;
    out->table = k->data + offset;
    return true;
}

// Looks for the owner in the notes of one segment: a header of three words, the name, the description, each
// padded to 4 bytes.
static bool note_in(const uint8_t *notes, uint64_t size, const char *owner) {
    Elf64_Nhdr h;
    uint64_t length = strlen(owner) + 1;
    while (size >= sizeof(h)) {
        memcpy(&h, notes, sizeof(h));
        uint64_t name = (h.n_namesz + 3ull) & ~3ull, description = (h.n_descsz + 3ull) & ~3ull;
        uint64_t whole = sizeof(h) + name + description;
        if (whole > size)
            return false;
        if (h.n_namesz == length && !memcmp(notes + sizeof(h), owner, length))
            return true;
        notes += whole;
        size -= whole;
    }
    return false;
}

bool elf_has_note(const struct load_image *k, const char *owner) {
    Elf64_Ehdr e;
    Elf64_Phdr h;
    if (k->size < sizeof(e) || memcmp(k->data, ELFMAG, SELFMAG))
        return false;
    memcpy(&e, k->data, sizeof(e));
    if (e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_phentsize < sizeof(h) || e.e_phoff > k->size ||
        (uint64_t)e.e_phnum * e.e_phentsize > k->size - e.e_phoff)
        return false;
    for (unsigned i = 0; i < e.e_phnum; i++) {
        memcpy(&h, k->data + e.e_phoff + (uint64_t)i * e.e_phentsize, sizeof(h));
        if (h.p_type == PT_NOTE && h.p_offset <= k->size && h.p_filesz <= k->size - h.p_offset &&
            note_in(k->data + h.p_offset, h.p_filesz, owner))
            return true;
    }
    return false;
}
