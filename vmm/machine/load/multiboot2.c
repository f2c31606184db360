// Multiboot 2 (Multiboot2 Specification 2.0): the header is in the first 32 KB; the kernel starts in
// 32-bit protected mode with EAX = 0x36D76289 and EBX = a list of tags (multiboot2_info.c).
#include <string.h>
#include "vmm/machine/load/multiboot2.h"

#define HEADER_MAGIC     0xe85250d6u
#define LOADER_MAGIC     0x36d76289u
#define SEARCH           32768
#define OPTIONAL         1 // flag of a header tag
#define CONSOLE_REQUIRED 1 // flags of the console tag
#define CONSOLE_TEXT     2

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

struct header {
    uint32_t magic, architecture, length, checksum;
};
struct header_tag {
    uint16_t type, flags;
    uint32_t size;
};
struct addresses {
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr;
};
struct wishes {
    bool has_addresses, has_entry, no_text, relocatable;
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

// A loader must know what is asked for, but need not have it: there is no EFI here, for instance.
static int read_request(const struct load_image *k, const struct header_tag *t, const uint8_t *body,
                        char error[256]) {
    for (size_t n = (t->size - sizeof(*t)) / 4; n; n--, body += 4) {
        uint32_t type;
        memcpy(&type, body, 4);
        if (type > MULTIBOOT2_LAST && !(t->flags & OPTIONAL))
            return load_error(error,
                              "%s requires Multiboot 2 information tag %u, which is not known",
                              k->name, type);
    }
    return 0;
}

static int read_console(const struct load_image *k, const struct header_tag *t, const uint8_t *body,
                        struct wishes *w, char error[256]) {
    uint32_t flags;
    if (t->size < sizeof(*t) + sizeof(flags))
        return load_error(error, "%s: Multiboot 2 console tag has size %u", k->name, t->size);
    memcpy(&flags, body, sizeof(flags));
    w->no_text = !(flags & CONSOLE_TEXT);
    if (w->no_text && (flags & CONSOLE_REQUIRED) && !(t->flags & OPTIONAL))
        return load_error(error, "%s requires a graphics mode; the only console here is VGA text",
                          k->name);
    return 0;
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
    case HEADER_INFO_REQUEST: return read_request(k, t, body, error);
    case HEADER_CONSOLE: return read_console(k, t, body, w, error);
    case HEADER_RELOCATABLE: w->relocatable = true; return 0;
    case HEADER_FRAMEBUFFER:  // a preference
    case HEADER_MODULE_ALIGN: // modules always are
    case HEADER_EFI_SERVICES:
    case HEADER_ENTRY_EFI32:
    case HEADER_ENTRY_EFI64: return 0;
    default:
        return t->flags & OPTIONAL ? 0
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
    uint64_t end = a->bss_end_addr > start + n ? a->bss_end_addr : start + n;
    *out = (struct elf_image){.lowest = start, .highest = end};
    return load_part(m, "the kernel", start, k->data + offset, n, end - start, error);
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
    const struct multiboot2_kernel kernel = {.image = &image,
                                             .is_elf = !w.has_addresses,
                                             .text = !w.no_text,
                                             .relocatable = w.relocatable};
    if (err || (err = multiboot2_inform(m, r, &kernel, error)))
        return err;
    out->mode = BOOT_PROTECTED;
    out->rip = w.has_entry ? w.entry : image.entry;
    out->rax = LOADER_MAGIC;
    out->rbx = LOAD_BOOT_INFO;
    return load_flat_gdt(m, false, out, error);
}
