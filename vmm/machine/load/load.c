// Which loader takes the image, and what loaders share.
#include "vmm/machine/load/load.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "vmm/machine/machine.h"

int load_error(char error[256], const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(error, 256, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static void *target(struct machine *m, const char *what, uint64_t gpa, uint64_t n,
                    char error[256]) {
    // The first page holds the real-mode interrupt table and the BIOS data area.
    void *p = gpa >= 0x1000 ? guest_memory(m, gpa, n) : NULL;
    if (!p)
        load_error(error,
                   "%s needs %llu bytes at 0x%llx, where this VM (%llu MiB) has no free memory",
                   what, (unsigned long long)n, (unsigned long long)gpa,
                   (unsigned long long)(m->ram_size >> 20));
    return p;
}

int load_copy(struct machine *m, const char *what, uint64_t gpa, const void *data, uint64_t n,
              char error[256]) {
    if (n == 0)
        return 0;
    void *p = target(m, what, gpa, n, error);
    if (!p)
        return -EINVAL;
    memcpy(p, data, n);
    return 0;
}

int load_zero(struct machine *m, const char *what, uint64_t gpa, uint64_t n, char error[256]) {
    if (n == 0)
        return 0;
    void *p = target(m, what, gpa, n, error);
    if (!p)
        return -EINVAL;
    memset(p, 0, n);
    return 0;
}

// Other kernels than Linux may have parts below 640 KB, too.
static bool is_ours(uint64_t gpa, uint64_t n) {
    bool below = gpa < LOAD_PAGE_TABLES && gpa + n > LOAD_GDT;
    return below || (gpa < LOAD_AREA_END && gpa + n > LOAD_BOOT_INFO);
}

int load_part(struct machine *m, const char *what, uint64_t gpa, const void *data, uint64_t n,
              uint64_t size, char error[256]) {
    if (size < n)
        size = n;
    if (is_ours(gpa, size))
        return load_error(
            error,
            "%s, %llu bytes at 0x%llx, lies where the loader has tables for the kernel "
            "(0x%x to 0x%x, 0x%x to 0x%x): link it elsewhere",
            what, (unsigned long long)size, (unsigned long long)gpa, LOAD_GDT, LOAD_PAGE_TABLES - 1,
            LOAD_BOOT_INFO, LOAD_AREA_END - 1);
    int err = load_copy(m, what, gpa, data, n, error);
    return err ? err : load_zero(m, what, gpa + n, size - n, error);
}

int load_command_line(char *line, size_t n, const char *name, const char *arguments,
                      char error[256]) {
    bool both = *name && arguments && *arguments;
    int length = snprintf(line, n, "%s%s%s", name, both ? " " : "", arguments ? arguments : "");
    if (length < (int)n)
        return 0;
    return load_error(
        error,
        "the command line has %d characters (\"%.30s...\"); a Multiboot kernel is given "
        "%zu at most",
        length, line, n - 1);
}

int load_flat_gdt(struct machine *m, bool long_mode, struct boot_cpu *out, char error[256]) {
    const uint64_t gdt[4] = {0, 0, long_mode ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull,
                             0x00cf93000000ffffull};
    out->code_selector = 0x10;
    out->data_selector = 0x18;
    out->gdt_base = LOAD_GDT;
    out->gdt_limit = sizeof(gdt) - 1;
    return load_copy(m, "the loader's GDT", LOAD_GDT, gdt, sizeof(gdt), error);
}

int load_guest(struct machine *m, const struct load_request *r, struct boot_cpu *out,
               char error[256]) {
    static const struct {
        bool (*recognise)(const struct load_image *k);
        int (*load)(struct machine *m, const struct load_request *r, struct boot_cpu *out,
                    char error[256]);
    } formats[] = {
        {linux_recognise, linux_load},
        {multiboot2_recognise, multiboot2_load},
        {multiboot1_recognise, multiboot1_load},
        {vmlinux_recognise, vmlinux_load},
        {flat_recognise, flat_load},
    };
    *out = (struct boot_cpu){.rsp = LOAD_STACK_TOP};
    for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (formats[i].recognise(&r->kernel))
            return formats[i].load(m, r, out, error);
    return load_error(
        error,
        "%s is no kernel that can be loaded: it has no Linux header (\"HdrS\" at 0x202), no Multiboot "
        "header in its first 8 KB or Multiboot 2 header in its first 32 KB, and is neither a 64-bit vmlinux "
        "nor a boot sector",
        r->kernel.name);
}
