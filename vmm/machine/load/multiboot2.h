// What the two files of the Multiboot 2 loader share: the kernel's header and loading (multiboot2.c), and what the kernel
// is told (multiboot2_info.c).
#pragma once
#include "vmm/machine/load/load.h"

#define MULTIBOOT2_LAST 21 // type of information in the Multiboot2 Specification 2.0

struct multiboot2_kernel {
    const struct elf_image *image;
    bool is_elf;      // loaded by its program headers
    bool text;        // takes VGA text as its console
    bool relocatable; // wants to know where it is
};
// Loads the modules behind the kernel, and puts the information at LOAD_BOOT_INFO. 0, or -EINVAL with a sentence.
int multiboot2_inform(struct machine *m, const struct load_request *r,
                      const struct multiboot2_kernel *k, char error[256]);
