// Guest loaders: a kernel image into guest memory, and the registers with which it expects to start.
// Pure: bytes in, guest memory and a register set out; no files, no hypervisor.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct machine;

struct load_image {
    const char *name; // for messages, and for guests that are told it
    const uint8_t *data;
    size_t size;
    const char *arguments; // of a module; NULL: none
};

#define LOAD_MAX_MODULES 16
struct load_request {
    struct load_image kernel;
    struct load_image modules[LOAD_MAX_MODULES]; // the first is Linux's initrd
    unsigned module_count;
    const char *command_line; // "" for none
    uint8_t seed[32];         // of the random numbers of a Linux kernel
};

// Registers of the boot processor at the first instruction; whatever is not here is as after reset.
struct boot_cpu {
    enum { BOOT_REAL, BOOT_PROTECTED, BOOT_LONG } mode;
    uint64_t rip, rsp, rax, rbx, rdx, rsi;
    // Protected and long mode: flat segments with these selectors from a GDT in guest memory.
    uint16_t code_selector, data_selector, gdt_limit;
    uint64_t gdt_base, cr3; // cr3: long mode, identity map of the first 4 GB
};

// Recognises the image (Linux bzImage or vmlinux, Multiboot 2, Multiboot 1, boot sector) and loads it. 0, or
// -EINVAL / -ENOMEM with a sentence in `error` that names the field and its value.
int load_guest(struct machine *m, const struct load_request *r, struct boot_cpu *out,
               char error[256]);

// ---- The formats; each returns 0 or -errno as above -------------------------------------------
bool linux_recognise(const struct load_image *k);
int linux_load(struct machine *m, const struct load_request *r, struct boot_cpu *out,
               char error[256]);
bool vmlinux_recognise(const struct load_image *k);
int vmlinux_load(struct machine *m, const struct load_request *r, struct boot_cpu *out,
                 char error[256]);
bool multiboot2_recognise(const struct load_image *k);
int multiboot2_load(struct machine *m, const struct load_request *r, struct boot_cpu *out,
                    char error[256]);
bool multiboot1_recognise(const struct load_image *k);
int multiboot1_load(struct machine *m, const struct load_request *r, struct boot_cpu *out,
                    char error[256]);
bool flat_recognise(const struct load_image *k);
int flat_load(struct machine *m, const struct load_request *r, struct boot_cpu *out,
              char error[256]);

// ---- Shared by the formats ---------------------------------------------------------------------
// How Multiboot calls a frame buffer of characters and attributes: the screen of vga.h.
#define FRAMEBUFFER_TEXT 2
// Writes the sentence and returns -EINVAL.
int load_error(char error[256], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Copies into guest RAM; -EINVAL with a sentence when [gpa, gpa+n) is not all RAM above the first page.
int load_copy(struct machine *m, const char *what, uint64_t gpa, const void *data, uint64_t n,
              char error[256]);
int load_zero(struct machine *m, const char *what, uint64_t gpa, uint64_t n, char error[256]);

struct elf_image {
    uint64_t entry;           // physical address of the entry point
    uint64_t lowest, highest; // physical addresses that its segments cover
    bool is_64;
};
// Copies n bytes of a kernel and zeroes what follows up to `size`: RAM that the loaders do not need themselves.
// -EINVAL with a sentence.
int load_part(struct machine *m, const char *what, uint64_t gpa, const void *data, uint64_t n,
              uint64_t size, char error[256]);
// "NAME ARGUMENTS" in at most n bytes with the zero; either may be "" or NULL. -EINVAL with a sentence.
int load_command_line(char *line, size_t n, const char *name, const char *arguments,
                      char error[256]);

// Loads the PT_LOAD segments of a 32- or 64-bit x86 ELF at their physical addresses.
int elf_load(struct machine *m, const struct load_image *k, struct elf_image *out, char error[256]);
// The table of sections, in the file; false: it has none.
struct elf_sections {
    const uint8_t *table;
    uint32_t count, entry_size, names; // names: number of the section with their names
    bool is_64;
};
bool elf_find_sections(const struct load_image *k, struct elf_sections *out);
// Is it a 64-bit ELF file with a note of that owner?
bool elf_has_note(const struct load_image *k, const char *owner);

// Where loaders put what is theirs, below 640 KB, clear of the BIOS data area and of boot sectors.
#define LOAD_GDT          0x1000u
#define LOAD_PAGE_TABLES  0x2000u  // six pages
#define LOAD_BOOT_INFO    0x10000u // Linux: boot_params; Multiboot: information structure
#define LOAD_COMMAND_LINE 0x20000u
#define LOAD_SETUP_DATA   0x30000u // Linux: further setup data, one page
#define LOAD_AREA_END     0x31000u
#define LOAD_STACK_TOP    0x9f000u
// A flat GDT: 0x10 code (32- or 64-bit), 0x18 data, as Linux's boot protocol wants.
int load_flat_gdt(struct machine *m, bool long_mode, struct boot_cpu *out, char error[256]);
