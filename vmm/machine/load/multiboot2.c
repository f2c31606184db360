// Multiboot 2 (Multiboot2 Specification 2.0): the header is in the first 32 KB; the kernel starts in
// 32-bit protected mode with EAX = 0x36D76289 and EBX = a list of tags.
#include <string.h>
#include "vmm/machine/config.h"
#include "vmm/machine/firmware/firmware.h"
#include "vmm/machine/load/load.h"
#include "vmm/machine/machine.h"

#define HEADER_MAGIC 0xe85250d6u
#define LOADER_MAGIC 0x36d76289u
#define SEARCH       32768
#define INFO_MAX     0x10000u // from LOAD_BOOT_INFO to LOAD_COMMAND_LINE

enum { // tags of the header, 3.1.3
    HEADER_END,
    HEADER_INFO_REQUEST,
    HEADER_ADDRESSES,
    HEADER_ENTRY,
    HEADER_CONSOLE,
    HEADER_FRAMEBUFFER,
    HEADER_MODULE_ALIGN,
    HEADER_EFI_SERVICES,
    HEADER_ENTRY_EFI32,
    HEADER_ENTRY_EFI64,
    HEADER_RELOCATABLE
};
enum { // tags of the information, 3.6
    INFO_END = 0,
    INFO_COMMAND_LINE = 1,
    INFO_LOADER = 2,
    INFO_MODULE = 3,
    INFO_MEMORY = 4,
    INFO_MAP = 6,
    INFO_ACPI_NEW = 15
};

struct header {
    uint32_t magic, architecture, length, checksum;
};
struct header_tag {
    uint16_t type, flags; // flags bit 0: optional
    uint32_t size;
};
struct addresses {
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr;
};
struct wishes {
    bool has_addresses, has_entry;
    struct addresses a;
    uint32_t entry;
};

static long find_header(const struct load_image *k, struct header *h) {
    size_t end = k->size < SEARCH ? k->size : SEARCH;
    for (size_t i = 0; i + sizeof(*h) <= end; i += 8) {
        memcpy(h, k->data + i, sizeof(*h));
        if (h->magic == HEADER_MAGIC && h->magic + h->architecture + h->length + h->checksum == 0)
            return (long)i;
    }
    return -1;
}

bool multiboot2_recognise(const struct load_image *k) {
    struct header h = {0};
    return find_header(k, &h) >= 0;
}

static int read_tag(const struct load_image *k, const struct header_tag *t, const uint8_t *body,
                    struct wishes *w, char error[256]) {
    size_t n = t->size - sizeof(*t);
    switch (t->type) {
    case HEADER_ADDRESSES:
        if (n < sizeof(w->a))
            return load_error(error, "%s: Multiboot 2 address tag has size %u", k->name, t->size);
        memcpy(&w->a, body, sizeof(w->a));
        w->has_addresses = true;
        return 0;
    case HEADER_ENTRY:
        if (n < 4)
            return load_error(error, "%s: Multiboot 2 entry tag has size %u", k->name, t->size);
        memcpy(&w->entry, body, 4);
        w->has_entry = true;
        return 0;
    case HEADER_INFO_REQUEST: // wishes; what we have is given always
    case HEADER_CONSOLE:
    case HEADER_FRAMEBUFFER:  // text mode is what there is
    case HEADER_MODULE_ALIGN: // modules always are
    case HEADER_EFI_SERVICES:
    case HEADER_ENTRY_EFI32:
    case HEADER_ENTRY_EFI64:
    case HEADER_RELOCATABLE: return 0;
    default:
        return t->flags & 1 ? 0
                            : load_error(error, "%s: Multiboot 2 header tag %u is not known",
                                         k->name, t->type);
    }
}

static int read_header(const struct load_image *k, long at, const struct header *h,
                       struct wishes *w, char error[256]) {
    if (h->length > k->size - (size_t)at)
        return load_error(error, "%s: Multiboot 2 header_length %u is past the end of the file",
                          k->name, h->length);
    for (size_t i = sizeof(*h); i + sizeof(struct header_tag) <= h->length;) {
        struct header_tag t;
        memcpy(&t, k->data + at + i, sizeof(t));
        if (t.type == HEADER_END)
            return 0;
        if (t.size < sizeof(t) || t.size > h->length - i)
            return load_error(error, "%s: Multiboot 2 header tag %u has size %u", k->name, t.type,
                              t.size);
        int err = read_tag(k, &t, k->data + at + i + sizeof(t), w, error);
        if (err)
            return err;
        i += (t.size + 7) & ~7ull;
    }
    return load_error(error, "%s: the Multiboot 2 header has no end tag", k->name);
}

static int load_by_addresses(struct machine *m, const struct load_image *k,
                             const struct addresses *a, long at, struct elf_image *out,
                             char error[256]) {
    // load_addr 0xffffffff: the file is loaded from its beginning.
    uint64_t before = a->load_addr == UINT32_MAX ? (uint64_t)at
                                                 : (uint64_t)a->header_addr - a->load_addr;
    if (before > (uint64_t)at || a->header_addr < before)
        return load_error(error, "%s: load_addr 0x%x does not fit header_addr 0x%x", k->name,
                          a->load_addr, a->header_addr);
    uint64_t start = a->header_addr - before, offset = (uint64_t)at - before;
    uint64_t n = a->load_end_addr ? a->load_end_addr - start : k->size - offset;
    if ((a->load_end_addr && a->load_end_addr < start) || n > k->size - offset)
        return load_error(error, "%s: load_end_addr 0x%x does not fit the file", k->name,
                          a->load_end_addr);
    int err = load_copy(m, "the kernel", start, k->data + offset, n, error);
    if (!err && a->bss_end_addr > start + n)
        err = load_zero(m, "the kernel's bss", start + n, a->bss_end_addr - start - n, error);
    *out = (struct elf_image){.lowest = start,
                              .highest = a->bss_end_addr > start + n ? a->bss_end_addr : start + n};
    return err;
}

// ---- The information structure: tags appended to a buffer ---------------------------------------
struct info {
    uint8_t bytes[INFO_MAX];
    uint32_t size;
    bool full;
};

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

static void tag_string(struct info *f, uint32_t type, const char *s) {
    char *p = tag(f, type, (uint32_t)strlen(s) + 1);
    if (p)
        strcpy(p, s);
}

static void tag_memory(struct machine *m, struct info *f) {
    uint32_t basic[2] = {EBDA_START >> 10, (uint32_t)((m->low_size - 0x100000) >> 10)};
    void *p = tag(f, INFO_MEMORY, sizeof(basic));
    if (p)
        memcpy(p, basic, sizeof(basic));
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

static int tag_modules(struct machine *m, const struct load_request *r, uint64_t after,
                       struct info *f, char error[256]) {
    uint64_t at = (after + 4095) & ~4095ull;
    if (at < 0x100000)
        at = 0x100000;
    for (unsigned i = 0; i < r->module_count; i++) {
        const struct load_image *mod = &r->modules[i];
        int err = load_copy(m, mod->name, at, mod->data, mod->size, error);
        if (err)
            return err;
        uint32_t *p = tag(f, INFO_MODULE, 8 + (uint32_t)strlen(mod->name) + 1);
        if (p) {
            p[0] = (uint32_t)at;
            p[1] = (uint32_t)(at + mod->size);
            strcpy((char *)(p + 2), mod->name);
        }
        at = (at + mod->size + 4095) & ~4095ull;
    }
    return 0;
}

static int put_info(struct machine *m, const struct load_request *r, uint64_t after,
                    char error[256]) {
    static struct info f;
    memset(&f, 0, sizeof(f));
    f.size = 8;                                         // total_size, reserved
    tag_string(&f, INFO_COMMAND_LINE, r->command_line); // without the kernel's name, as from GRUB 2
    tag_string(&f, INFO_LOADER, "Chronovisor");
    tag_memory(m, &f);
    void *rsdp = m->config->acpi ? tag(&f, INFO_ACPI_NEW, 36) : NULL;
    if (rsdp)
        memcpy(rsdp, guest_memory(m, FIRMWARE_RSDP, 36), 36);
    int err = tag_modules(m, r, after, &f, error);
    if (err)
        return err;
    if (f.full)
        return load_error(
            error,
            "the command line and module names do not fit into the boot information (%u bytes)",
            INFO_MAX);
    const uint32_t end[2] = {INFO_END, 8};
    memcpy(f.bytes + f.size, end, 8);
    f.size += 8;
    memcpy(f.bytes, &f.size, 4);
    return load_copy(m, "the boot information", LOAD_BOOT_INFO, f.bytes, f.size, error);
}

int multiboot2_load(struct machine *m, const struct load_request *r, struct boot_cpu *out,
                    char error[256]) {
    const struct load_image *k = &r->kernel;
    struct header h = {0};
    long at = find_header(k, &h);
    if (h.architecture != 0)
        return load_error(error, "%s: Multiboot 2 architecture %u is not i386 (0)", k->name,
                          h.architecture);
    struct wishes w = {0};
    int err = read_header(k, at, &h, &w, error);
    if (err)
        return err;
    if (w.has_addresses && !w.has_entry)
        return load_error(error, "%s: a Multiboot 2 address tag needs an entry tag", k->name);
    struct elf_image image;
    err = w.has_addresses ? load_by_addresses(m, k, &w.a, at, &image, error)
                          : elf_load(m, k, &image, error);
    if (err || (err = put_info(m, r, image.highest, error)))
        return err;
    out->mode = BOOT_PROTECTED;
    out->rip = w.has_entry ? w.entry : image.entry;
    out->rax = LOADER_MAGIC;
    out->rbx = LOAD_BOOT_INFO;
    return load_flat_gdt(m, false, out, error);
}
