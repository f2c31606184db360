// Linux's x86 boot protocol (the kernel's Documentation/arch/x86/boot.rst), entered directly in 64-bit
// mode at the protected-mode kernel + 0x200, or in 32-bit mode when the kernel has no 64-bit entry.
#include <asm/bootparam.h>
#include <stdio.h>
#include <string.h>
#include "vmm/machine/config.h"
#include "vmm/machine/firmware/firmware.h"
#include "vmm/machine/load/linux.h"
#include "vmm/machine/machine.h"

#define SETUP_HEADER   0x1f1 // of the header in the file and in boot_params
#define SECTOR         512
#define HIGH_LOAD      0x100000u
#define ENTRY_64       0x200
#define LOADER_UNKNOWN 0xff   // type_of_loader: "unassigned"
#define OLDEST         0x020c // protocol 2.12 (Linux 3.8) has xloadflags

bool linux_recognise(const struct load_image *k) {
    return k->size >= SETUP_HEADER + sizeof(struct setup_header) &&
           !memcmp(k->data + 0x202, "HdrS", 4);
}

// Identity map of the first 4 GB in 2 MB pages: one PML4, one PDPT, four page directories.
static int identity_map(struct machine *m, struct boot_cpu *out, char error[256]) {
    uint64_t *t = guest_memory(m, LOAD_PAGE_TABLES, 6 * 4096);
    if (!t)
        return load_error(error,
                          "this VM has too little memory for a 64-bit kernel's first page tables");
    memset(t, 0, 6 * 4096);
    t[0] = (LOAD_PAGE_TABLES + 4096) | 3;
    for (unsigned i = 0; i < 4; i++)
        t[512 + i] = (LOAD_PAGE_TABLES + (2 + i) * 4096) | 3;
    for (uint64_t i = 0; i < 2048; i++)
        t[1024 + i] = i << 21 | 0x83;
    out->cr3 = LOAD_PAGE_TABLES;
    return 0;
}

static int check_header(const struct load_image *k, const struct setup_header *h, char error[256]) {
    if (h->boot_flag != 0xaa55)
        return load_error(error, "%s: boot_flag is 0x%x, not 0xaa55", k->name, h->boot_flag);
    if (h->version < OLDEST)
        return load_error(error, "%s: boot protocol %u.%02u is too old (2.12 is needed: Linux 3.8)",
                          k->name, h->version >> 8, h->version & 0xff);
    if (!(h->loadflags & LOADED_HIGH))
        return load_error(error, "%s: loadflags 0x%x: a zImage that loads low is not supported",
                          k->name, h->loadflags);
    unsigned sectors = h->setup_sects ? h->setup_sects : 4;
    if ((uint64_t)(sectors + 1) * SECTOR >= k->size)
        return load_error(error, "%s: setup_sects %u is past the end of the file (%zu bytes)",
                          k->name, sectors, k->size);
    return 0;
}

// The highest place below `limit`, or 0.
static uint64_t place_below(uint64_t limit, uint64_t size) {
    return size < limit ? (limit - size) & ~4095ull : 0;
}

// As high as the kernel allows and memory has it, clear of the kernel's own working space; else below it.
static int place_initrd(struct machine *m, const struct load_request *r, struct setup_header *h,
                        const struct linux_span *kernel, char error[256]) {
    if (!r->module_count)
        return 0;
    const struct load_image *rd = &r->modules[0];
    uint64_t limit = m->low_size;
    if (limit > (uint64_t)h->initrd_addr_max + 1)
        limit = (uint64_t)h->initrd_addr_max + 1;
    uint64_t at = place_below(limit, rd->size);
    if (at < kernel->end)
        at = place_below(kernel->start, rd->size);
    if (at < HIGH_LOAD)
        return load_error(error,
                          "the initrd %s (%zu bytes) does not fit below 0x%llx beside the kernel, "
                          "which needs memory from 0x%llx to 0x%llx: give the VM more memory",
                          rd->name, rd->size, (unsigned long long)limit,
                          (unsigned long long)kernel->start, (unsigned long long)kernel->end);
    h->ramdisk_image = (uint32_t)at;
    h->ramdisk_size = (uint32_t)rd->size;
    return load_copy(m, "the initrd", at, rd->data, rd->size, error);
}

static int place_command_line(struct machine *m, const struct load_request *r,
                              struct setup_header *h, char error[256]) {
    size_t n = strlen(r->command_line);
    if (n > h->cmdline_size)
        return load_error(
            error, "the command line has %zu characters; this kernel takes %u (cmdline_size)", n,
            h->cmdline_size);
    h->cmd_line_ptr = LOAD_COMMAND_LINE;
    return load_copy(m, "the command line", LOAD_COMMAND_LINE, r->command_line, n + 1, error);
}

// The virtual CPU has no RDRAND: without a seed the kernel would gather randomness by busy loops. Kernels
// before 5.20 pass over data of an unknown type.
static int place_seed(struct machine *m, const struct load_request *r, struct setup_header *h,
                      char error[256]) {
    uint8_t data[sizeof(struct setup_data) + sizeof(r->seed)];
    const struct setup_data head = {.type = SETUP_RNG_SEED, .len = sizeof(r->seed)};
    memcpy(data, &head, sizeof(head));
    memcpy(data + sizeof(head), r->seed, sizeof(r->seed));
    h->setup_data = LOAD_SETUP_DATA;
    return load_copy(m, "the random seed", LOAD_SETUP_DATA, data, sizeof(data), error);
}

static void fill_memory_map(struct machine *m, struct boot_params *p) {
    struct e820_entry map[E820_MAX];
    p->e820_entries = (uint8_t)e820_build(m, map);
    for (unsigned i = 0; i < p->e820_entries; i++)
        p->e820_table[i] = (struct boot_e820_entry){map[i].start, map[i].size, map[i].type};
    p->acpi_rsdp_addr = m->config->acpi ? FIRMWARE_RSDP : 0;
    // An 80x25 colour text screen, cursor at the top.
    p->screen_info = (struct screen_info){.orig_video_mode = 3,
                                          .orig_video_cols = 80,
                                          .orig_video_lines = 25,
                                          .orig_video_isVGA = 1,
                                          .orig_video_points = 16};
}

int linux_boot(struct machine *m, const struct load_request *r, struct boot_params *p,
               const struct linux_span *kernel, struct boot_cpu *out, char error[256]) {
    int err;
    p->hdr.type_of_loader = LOADER_UNKNOWN;
    p->hdr.code32_start = (uint32_t)kernel->start;
    fill_memory_map(m, p);
    if ((err = place_initrd(m, r, &p->hdr, kernel, error)) ||
        (err = place_command_line(m, r, &p->hdr, error)) ||
        (err = place_seed(m, r, &p->hdr, error)) ||
        (err = load_copy(m, "boot_params", LOAD_BOOT_INFO, p, sizeof(*p), error)))
        return err;
    bool long_mode = p->hdr.xloadflags & XLF_KERNEL_64;
    out->mode = long_mode ? BOOT_LONG : BOOT_PROTECTED;
    out->rsi = LOAD_BOOT_INFO;
    if (long_mode && (err = identity_map(m, out, error)))
        return err;
    return load_flat_gdt(m, long_mode, out, error);
}

int linux_load(struct machine *m, const struct load_request *r, struct boot_cpu *out,
               char error[256]) {
    const struct load_image *k = &r->kernel;
    struct boot_params p = {0};
    memcpy(&p.hdr, k->data + SETUP_HEADER, sizeof(p.hdr));
    int err = check_header(k, &p.hdr, error);
    if (err)
        return err;
    uint64_t setup = (uint64_t)((p.hdr.setup_sects ? p.hdr.setup_sects : 4) + 1) * SECTOR;
    // A relocatable kernel decompresses to pref_address anyway: loading it there avoids a move.
    uint64_t at = p.hdr.relocatable_kernel && p.hdr.pref_address ? p.hdr.pref_address : HIGH_LOAD;
    if (at + p.hdr.init_size > m->low_size)
        return load_error(
            error,
            "init_size is 0x%x: to unpack itself the kernel needs %llu MB of memory, this "
            "VM has %llu; its vmlinux needs less",
            p.hdr.init_size, (unsigned long long)((at + p.hdr.init_size) >> 20) + 1,
            (unsigned long long)(m->low_size >> 20));
    out->rip = at + (p.hdr.xloadflags & XLF_KERNEL_64 ? ENTRY_64 : 0);
    err = load_copy(m, "the kernel", at, k->data + setup, k->size - setup, error);
    if (err)
        return err;
    return linux_boot(m, r, &p, &(struct linux_span){at, at + p.hdr.init_size}, out, error);
}
