// What a Multiboot 2 kernel is told: a list of tags (Multiboot2 Specification 2.0, 3.6).
#include <elf.h>
#include <string.h>
#include "vmm/machine/config.h"
#include "vmm/machine/firmware/firmware.h"
#include "vmm/machine/load/multiboot2.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/vga.h"

#define INFO_MAX 0x10000u // from LOAD_BOOT_INFO to LOAD_COMMAND_LINE

enum {
    INFO_END = 0,
    INFO_COMMAND_LINE = 1,
    INFO_LOADER = 2,
    INFO_MODULE = 3,
    INFO_MEMORY = 4,
    INFO_MAP = 6,
    INFO_FRAMEBUFFER = 8,
    INFO_SECTIONS = 9,
    INFO_ACPI_OLD = 14,
    INFO_ACPI_NEW = 15,
    INFO_LOAD_BASE = 21
};
#define SECTIONS_MAX (INFO_MAX / 2)
#define RSDP_OLD     20 // bytes of ACPI 1.0's pointer
#define RSDP_NEW     36

struct framebuffer {
    uint64_t address;
    uint32_t pitch, width, height;
    uint8_t bpp, type;
    uint16_t reserved;
};

struct info {
    uint8_t bytes[INFO_MAX];
    uint32_t size;
    bool full;
    uint64_t next; // free memory behind the kernel and what was loaded so far
};

// Room for the body of a tag, NULL: there is none.
static void *tag(struct info *f, uint32_t type, uint32_t body) {
    uint32_t size = 8 + body, step = (size + 7) & ~7u;
    if (f->full || body > INFO_MAX || f->size + step > INFO_MAX - 8) {
        f->full = true;
        return NULL;
    }
    memcpy(f->bytes + f->size, &type, 4);
    memcpy(f->bytes + f->size + 4, &size, 4);
    void *p = f->bytes + f->size + 8;
    f->size += step;
    return p;
}

static void tag_copy(struct info *f, uint32_t type, const void *body, uint32_t n) {
    void *p = tag(f, type, n);
    if (p)
        memcpy(p, body, n);
}

static void tag_string(struct info *f, uint32_t type, const char *s) {
    tag_copy(f, type, s, (uint32_t)strlen(s) + 1);
}

static void tag_memory(struct machine *m, struct info *f) {
    uint32_t basic[2] = {EBDA_START >> 10, (uint32_t)((m->low_size - 0x100000) >> 10)};
    tag_copy(f, INFO_MEMORY, basic, sizeof(basic));
    struct e820_entry map[E820_MAX];
    unsigned n = e820_build(m, map);
    uint32_t *q = tag(f, INFO_MAP, 8 + n * 24);
    if (!q)
        return;
    q[0] = 24; // entry_size
    q[1] = 0;  // entry_version
    for (unsigned i = 0; i < n; i++) {
        uint8_t *e = (uint8_t *)(q + 2) + i * 24;
        memcpy(e, &map[i].start, 8);
        memcpy(e + 8, &map[i].size, 8);
        memcpy(e + 16, &map[i].type, 4);
    }
}

static void tag_acpi(struct machine *m, struct info *f) {
    const void *rsdp = guest_memory(m, FIRMWARE_RSDP, RSDP_NEW);
    tag_copy(f, INFO_ACPI_OLD, rsdp, RSDP_OLD);
    tag_copy(f, INFO_ACPI_NEW, rsdp, RSDP_NEW);
}

static void tag_screen(struct info *f) {
    const struct framebuffer text = {.address = VGA_TEXT,
                                     .pitch = VGA_COLUMNS * 2,
                                     .width = VGA_COLUMNS,
                                     .height = VGA_ROWS,
                                     .bpp = 16,
                                     .type = FRAMEBUFFER_TEXT};
    tag_copy(f, INFO_FRAMEBUFFER, &text, sizeof(text));
}

// A module is known by its arguments, as GRUB 2 has it; by its name where it has none.
static int tag_modules(struct machine *m, const struct load_request *r, struct info *f,
                       char error[256]) {
    for (unsigned i = 0; i < r->module_count; i++) {
        const struct load_image *module = &r->modules[i];
        const char *line = module->arguments ? module->arguments : module->name;
        int err = load_copy(m, module->name, f->next, module->data, module->size, error);
        if (err)
            return err;
        uint32_t *p = tag(f, INFO_MODULE, 8 + (uint32_t)strlen(line) + 1);
        if (p) {
            p[0] = (uint32_t)f->next;
            p[1] = (uint32_t)(f->next + module->size);
            strcpy((char *)(p + 2), line);
        }
        f->next = (f->next + module->size + 4095) & ~4095ull;
    }
    return 0;
}

// ---- sections ----------------------------------------------------------------------------------
// Loads symbols and strings, which are in no segment, and notes where. What does not fit keeps the address 0.
static uint64_t load_section(struct machine *m, const struct load_image *k, struct info *f,
                             uint32_t type, uint64_t offset, uint64_t size) {
    bool wanted = type == SHT_SYMTAB || type == SHT_STRTAB;
    if (!wanted || !size || offset > k->size || size > k->size - offset)
        return 0;
    uint64_t at = f->next;
    void *p = guest_memory(m, at, size);
    if (!p || at + size > UINT32_MAX)
        return 0;
    memcpy(p, k->data + offset, size);
    f->next = (at + size + 15) & ~15ull;
    return at;
}

static void place_section(struct machine *m, const struct load_image *k, struct info *f, bool is_64,
                          uint8_t *header) {
    Elf64_Shdr h;
    Elf32_Shdr h32;
    memcpy(&h32, header, sizeof(h32));
    if (is_64) {
        memcpy(&h, header, sizeof(h));
        if (!h.sh_addr)
            h.sh_addr = load_section(m, k, f, h.sh_type, h.sh_offset, h.sh_size);
        memcpy(header, &h, sizeof(h));
        return;
    }
    if (!h32.sh_addr)
        h32.sh_addr = (uint32_t)load_section(m, k, f, h32.sh_type, h32.sh_offset, h32.sh_size);
    memcpy(header, &h32, sizeof(h32));
}

// The section headers as they are in the file, but for the addresses. Left out where they are very many.
static void tag_sections(struct machine *m, const struct load_image *k, struct info *f) {
    struct elf_sections s;
    if (!elf_find_sections(k, &s) || (uint64_t)s.count * s.entry_size > SECTIONS_MAX)
        return;
    uint32_t *p = tag(f, INFO_SECTIONS, 12 + s.count * s.entry_size);
    if (!p)
        return;
    p[0] = s.count;
    p[1] = s.entry_size;
    p[2] = s.names;
    uint8_t *headers = (uint8_t *)(p + 3);
    memcpy(headers, s.table, (size_t)s.count * s.entry_size);
    for (uint32_t i = 0; i < s.count; i++)
        place_section(m, k, f, s.is_64, headers + (size_t)i * s.entry_size);
}

// ---- all of it ---------------------------------------------------------------------------------
int multiboot2_inform(struct machine *m, const struct load_request *r,
                      const struct multiboot2_kernel *k, char error[256]) {
    static struct info f;
    memset(&f, 0, sizeof(f));
    f.size = 8; // total_size, reserved
    f.next = (k->image->highest + 4095) & ~4095ull;
    if (f.next < 0x100000)
        f.next = 0x100000;
    tag_string(&f, INFO_COMMAND_LINE, r->command_line); // without the kernel's name, as from GRUB 2
    tag_string(&f, INFO_LOADER, "Chronovisor");
    tag_memory(m, &f);
    if (k->text)
        tag_screen(&f);
    if (m->config->acpi)
        tag_acpi(m, &f);
    if (k->relocatable)
        tag_copy(&f, INFO_LOAD_BASE, &(uint32_t){(uint32_t)k->image->lowest}, 4);
    int err = tag_modules(m, r, &f, error);
    if (err)
        return err;
    if (k->is_elf)
        tag_sections(m, &r->kernel, &f);
    if (f.full)
        return load_error(
            error,
            "the command line, module names and ELF sections do not fit into the boot "
            "information (%u bytes)",
            INFO_MAX);
    const uint32_t end[2] = {INFO_END, 8};
    memcpy(f.bytes + f.size, end, 8);
    f.size += 8;
    memcpy(f.bytes, &f.size, 4);
    return load_copy(m, "the boot information", LOAD_BOOT_INFO, f.bytes, f.size, error);
}
