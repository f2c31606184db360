// What the boot loader told us.
#pragma once
#include "lib/compiler.h"
#include "mm/layout.h"

struct memory_range {
    paddr_t start, end;
    bool usable; // else reserved, ACPI or bad
};
struct boot_info {
    char cmdline[1024];
    struct memory_range memory[128]; // as the firmware says, sorted, not overlapping
    unsigned memory_count;
    paddr_t initrd_start, initrd_end; // 0: none
    paddr_t image_start, image_end;   // the kernel
    paddr_t rsdp;                     // copy of the RSDP made by the loader, 0: search for it
    char loader[64];
};
extern struct boot_info boot_info;

// Value of `name=value` on the command line; the n-th of several (0 first). NULL when absent. The
// result is a static copy valid until the next call.
const char *cmdline_get(const char *name, unsigned n);
// True when the word `name` stands alone or with a value.
bool cmdline_has(const char *name);
