// What the boot loader told us: taken over into boot_info while its memory is still intact.
#include "boot/boot_info.h"
#include "boot/main.h"
#include "boot/multiboot2.h"
#include "lib/assert.h"
#include "lib/string.h"

struct boot_info boot_info;

extern char kernel_image_start[], kernel_image_end[]; // boot/kernel.ld

#define MAX_INFO_SIZE (1 * MIB) // boot/entry.S maps the first 4 GB; the information is far smaller

// The loader's copy of the RSDP (at most 36 bytes, ACPI 6.5, 5.2.5.3) lies in memory that will be
// given away before acpi_init() reads it.
static uint8_t rsdp_copy[36] aligned_to(8);

static void keep_rsdp(void) {
    if (!boot_info.rsdp)
        return;
    memcpy(rsdp_copy, phys_to_virt(boot_info.rsdp), sizeof(rsdp_copy));
    boot_info.rsdp = (uint64_t)rsdp_copy - KERNEL_BASE;
}

void boot_info_parse(uint32_t magic, uint64_t info) {
    boot_info.image_start = (uint64_t)kernel_image_start - KERNEL_BASE;
    boot_info.image_end = (uint64_t)kernel_image_end - KERNEL_BASE;
    if (magic != MULTIBOOT2_LOADER_MAGIC)
        panic("boot: the loader's magic is %#x, not that of multiboot2", magic);
    const char *problem = multiboot2_parse(phys_to_virt(info), MAX_INFO_SIZE, info, &boot_info);
    if (problem)
        panic("boot: %s", problem);
    keep_rsdp();
}
