// Linux's vmlinux, the ELF file that a bzImage unpacks to: entered by the 64-bit boot protocol at its entry point.
//
// It needs less memory than the bzImage, whose unpacker works in a space beyond the kernel's end; and it is
// what a developer has symbols in.
#include <string.h>
#include "vmm/machine/load/linux.h"
#include "vmm/machine/machine.h"

// Fields of the setup header that the kernel itself or a loader looks at; vmlinux brings no header along.
#define BOOT_FLAG      0xaa55
#define HEADER_MAGIC   0x53726448 // "HdrS"
#define PROTOCOL       0x020f     // 2.15
#define INITRD_MAX     0x7fffffff // as every kernel since 2.4 says
#define CMDLINE_MAX    2047       // COMMAND_LINE_SIZE of x86 - 1
#define KERNEL_ALIGNED 0x200000   // startup_64 stops when its page tables cannot map it

bool vmlinux_recognise(const struct load_image *k) {
    return elf_has_note(k, "Linux");
}

int vmlinux_load(struct machine *m, const struct load_request *r, struct boot_cpu *out,
                 char error[256]) {
    const struct load_image *k = &r->kernel;
    struct elf_image elf;
    int err = elf_load(m, k, &elf, error);
    if (err)
        return err;
    if (elf.entry % KERNEL_ALIGNED)
        return load_error(error, "%s: e_entry 0x%llx is not at a multiple of 2 MB", k->name,
                          (unsigned long long)elf.entry);
    struct boot_params p = {.hdr = {.boot_flag = BOOT_FLAG,
                                    .header = HEADER_MAGIC,
                                    .version = PROTOCOL,
                                    .loadflags = LOADED_HIGH,
                                    .initrd_addr_max = INITRD_MAX,
                                    .kernel_alignment = KERNEL_ALIGNED,
                                    .cmdline_size = CMDLINE_MAX,
                                    .xloadflags = XLF_KERNEL_64}};
    out->rip = elf.entry;
    return linux_boot(m, r, &p, &(struct linux_span){elf.lowest, elf.highest}, out, error);
}
