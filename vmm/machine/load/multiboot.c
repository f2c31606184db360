// Multiboot 1 (Multiboot Specification 0.6.96): the header is in the first 8 KB; the kernel starts in
// 32-bit protected mode with EAX = 0x2BADB002 and EBX = the information structure.
#include <stddef.h>
#include <string.h>
#include "vmm/machine/firmware/firmware.h"
#include "vmm/machine/load/load.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/vga.h"

#define HEADER_MAGIC   0x1badb002u
#define LOADER_MAGIC   0x2badb002u
#define SEARCH         8192
#define FLAG_VIDEO     (1u << 2)
#define FLAG_ADDRESSES (1u << 16)  // the "a.out kludge": load addresses are in the header
#define COMMAND_LINE   4096        // with the kernel's name, and its zero
#define FLAGS_UNKNOWN  0x0000fff8u // bits 3–15: requirements that this loader does not know

enum {
    INFO_MEMORY = 1,
    INFO_COMMAND_LINE = 1 << 2,
    INFO_MODULES = 1 << 3,
    INFO_MAP = 1 << 6,
    INFO_LOADER = 1 << 9,
    INFO_FRAMEBUFFER = 1 << 12
};

struct header {
    uint32_t magic, flags, checksum;
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr; // with FLAG_ADDRESSES
};
struct info { // 3.3 "Boot information format", as far as this loader fills it
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4],
        mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name,
        apm_table, vbe[4];
    // From here on only for kernels that ask for a video mode (FLAG_VIDEO): ours is text, whatever they prefer.
    uint64_t framebuffer_addr;
    uint32_t framebuffer_pitch, framebuffer_width, framebuffer_height;
    uint8_t framebuffer_bpp, framebuffer_type, colors[6];
};
#define INFO_WITHOUT_VIDEO offsetof(struct info, framebuffer_addr)
struct module {
    uint32_t start, end, string, reserved;
};
struct __attribute__((packed)) map_entry {
    uint32_t size; // of what follows
    uint64_t start, length;
    uint32_t type;
};

// Everything goes one after another from LOAD_BOOT_INFO on.
struct area {
    struct machine *m;
    uint32_t at;
    int err;
    char *error;
};

static uint32_t put(struct area *a, const char *what, const void *data, size_t n) {
    uint32_t at = a->at;
    if (!a->err)
        a->err = load_copy(a->m, what, at, data, n, a->error);
    a->at = (uint32_t)((at + n + 7) & ~7ull);
    return at;
}

// Offset of the header, or -1. It is 4-byte aligned and its three words sum to zero.
static long find_header(const struct load_image *k, struct header *h) {
    size_t end = k->size < SEARCH ? k->size : SEARCH;
    for (size_t i = 0; i + 12 <= end; i += 4) {
        memcpy(h, k->data + i, 12);
        if (h->magic == HEADER_MAGIC && h->magic + h->flags + h->checksum == 0) {
            size_t n = k->size - i < sizeof(*h) ? k->size - i : sizeof(*h);
            memset(h, 0, sizeof(*h));
            memcpy(h, k->data + i, n);
            return (long)i;
        }
    }
    return -1;
}

bool multiboot1_recognise(const struct load_image *k) {
    struct header h = {0};
    return find_header(k, &h) >= 0;
}

// The a.out kludge, 3.1.3: addresses in the header say what of the file goes where.
static int load_kludge(struct machine *m, const struct load_image *k, const struct header *h,
                       long at, struct elf_image *out, char error[256]) {
    if (h->load_addr > h->header_addr || h->header_addr - h->load_addr > (uint64_t)at)
        return load_error(error,
                          "%s: load_addr 0x%x is not before header_addr 0x%x by what the file has",
                          k->name, h->load_addr, h->header_addr);
    uint64_t offset = (uint64_t)at - (h->header_addr - h->load_addr);
    uint64_t n = h->load_end_addr ? (uint64_t)h->load_end_addr - h->load_addr : k->size - offset;
    if (h->load_end_addr && h->load_end_addr < h->load_addr)
        return load_error(error, "%s: load_end_addr 0x%x is below load_addr 0x%x", k->name,
                          h->load_end_addr, h->load_addr);
    if (n > k->size - offset)
        return load_error(error, "%s: load_end_addr 0x%x is past the end of the file", k->name,
                          h->load_end_addr);
    uint64_t end = h->load_addr + n;
    if (h->bss_end_addr > end)
        end = h->bss_end_addr;
    *out = (struct elf_image){.entry = h->entry_addr, .lowest = h->load_addr, .highest = end};
    return load_part(m, "the kernel", h->load_addr, k->data + offset, n, end - h->load_addr, error);
}

// Modules: page-aligned, after the kernel. The name comes before the arguments, as for the kernel.
static void put_modules(struct area *a, const struct load_request *r, uint64_t after,
                        struct info *info) {
    struct module modules[LOAD_MAX_MODULES];
    char line[COMMAND_LINE];
    uint64_t at = (after + 4095) & ~4095ull;
    if (at < 0x100000)
        at = 0x100000;
    for (unsigned i = 0; i < r->module_count && !a->err; i++) {
        const struct load_image *f = &r->modules[i];
        a->err = load_copy(a->m, f->name, at, f->data, f->size, a->error);
        modules[i] = (struct module){(uint32_t)at, (uint32_t)(at + f->size), 0, 0};
        if (!a->err)
            a->err = load_command_line(line, sizeof(line), f->name, f->arguments, a->error);
        if (!a->err)
            modules[i].string = put(a, "a module's command line", line, strlen(line) + 1);
        at = (at + f->size + 4095) & ~4095ull;
    }
    info->mods_count = r->module_count;
    info->mods_addr = put(a, "the list of modules", modules, r->module_count * sizeof(modules[0]));
}

static void put_memory_map(struct area *a, struct info *info) {
    struct e820_entry map[E820_MAX];
    struct map_entry list[E820_MAX];
    unsigned n = e820_build(a->m, map);
    for (unsigned i = 0; i < n; i++)
        list[i] = (struct map_entry){sizeof(list[0]) - 4, map[i].start, map[i].size, map[i].type};
    info->mmap_length = (uint32_t)(n * sizeof(list[0]));
    info->mmap_addr = put(a, "the memory map", list, info->mmap_length);
    info->mem_lower = EBDA_START >> 10;
    info->mem_upper = (uint32_t)((a->m->low_size - 0x100000) >> 10);
}

static int put_info(struct machine *m, const struct load_request *r, bool video, uint64_t after,
                    char error[256]) {
    size_t size = video ? sizeof(struct info) : INFO_WITHOUT_VIDEO;
    struct area a = {m, (uint32_t)(LOAD_BOOT_INFO + size), 0, error};
    struct info info = {.flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MAP |
                                 INFO_LOADER | (video ? INFO_FRAMEBUFFER : 0),
                        .framebuffer_addr = VGA_TEXT,
                        .framebuffer_pitch = VGA_COLUMNS * 2,
                        .framebuffer_width = VGA_COLUMNS,
                        .framebuffer_height = VGA_ROWS,
                        .framebuffer_bpp = 16,
                        .framebuffer_type = FRAMEBUFFER_TEXT};
    static const char loader[] = "Chronovisor";
    char line[COMMAND_LINE];
    // The kernel's own name comes first, as from GRUB 0.97 and QEMU. (GRUB 2 leaves it out: multiboot2.c)
    int err = load_command_line(line, sizeof(line), r->kernel.name, r->command_line, error);
    if (err)
        return err;
    info.cmdline = put(&a, "the command line", line, strlen(line) + 1);
    info.boot_loader_name = put(&a, "the loader's name", loader, sizeof(loader));
    put_modules(&a, r, after, &info);
    put_memory_map(&a, &info);
    return a.err ? a.err : load_copy(m, "the boot information", LOAD_BOOT_INFO, &info, size, error);
}

int multiboot1_load(struct machine *m, const struct load_request *r, struct boot_cpu *out,
                    char error[256]) {
    struct header h = {0};
    long at = find_header(&r->kernel, &h);
    if (h.flags & FLAGS_UNKNOWN)
        return load_error(error,
                          "%s: Multiboot flags 0x%x ask for something this loader does not know",
                          r->kernel.name, h.flags);
    struct elf_image image;
    int err = h.flags & FLAG_ADDRESSES ? load_kludge(m, &r->kernel, &h, at, &image, error)
                                       : elf_load(m, &r->kernel, &image, error);
    if (err || (err = put_info(m, r, h.flags & FLAG_VIDEO, image.highest, error)))
        return err;
    out->mode = BOOT_PROTECTED;
    out->rip = image.entry;
    out->rax = LOADER_MAGIC;
    out->rbx = LOAD_BOOT_INFO;
    return load_flat_gdt(m, false, out, error);
}
