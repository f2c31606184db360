// Reading ELF program images (System V ABI, "Object Files"; x86-64 psABI). Pure: no memory but the
// caller's, whatever the bytes are.
#pragma once
#include <linux/elf.h>
#include "lib/compiler.h"

#define ELF_SEGMENTS_MAX 32
#define ELF_HEADERS_MAX  128 // program headers of one file

struct elf_segment {
    uint64_t start, end; // addresses as linked, [start, end), of what is in memory
    uint64_t file_end;   // start + bytes that come from the file; the rest is zero
    uint64_t offset;     // in the file, of `start`
    int prot;            // PROT_*
};

struct elf_image {
    bool position_independent; // static-pie: may be placed anywhere
    bool executable_stack;
    uint64_t entry;
    uint64_t headers; // address of the program headers in memory, 0: not loaded
    unsigned header_count;
    uint64_t low, high; // all segments lie in [low, high), page aligned
    unsigned segment_count;
    struct elf_segment segments[ELF_SEGMENTS_MAX]; // ascending, on different pages
};

enum elf_result {
    ELF_OK,
    ELF_NOT_ELF,     // other magic
    ELF_UNSUPPORTED, // ELF, but not an x86-64 program
    ELF_MALFORMED,
    ELF_DYNAMIC, // wants a dynamic linker (PT_INTERP)
};

// Checks the ELF header, of which `size` bytes are at `h`. On ELF_OK the program headers are the
// h->e_phnum (1..ELF_HEADERS_MAX) structures at file offset h->e_phoff.
enum elf_result elf_check_header(const void *h, size_t size, uint64_t file_size);
// Checks the program headers and describes what to load.
enum elf_result elf_parse(const Elf64_Ehdr *h, const Elf64_Phdr *ph, uint64_t file_size,
                          struct elf_image *out);
