// What the two forms of a Linux kernel share: the bzImage, which unpacks itself, and vmlinux, the unpacked kernel.
#pragma once
#include <asm/bootparam.h>
#include "vmm/machine/load/load.h"

// Physical memory that the kernel needs for itself, [start, end).
struct linux_span {
    uint64_t start, end;
};

// The kernel is in its place and p->hdr says what its build says: adds the initrd, the command line, the random
// seed and the memory map, writes boot_params, and sets all registers but RIP. 0, or -errno with a sentence.
int linux_boot(struct machine *m, const struct load_request *r, struct boot_params *p,
               const struct linux_span *kernel, struct boot_cpu *out, char error[256]);
