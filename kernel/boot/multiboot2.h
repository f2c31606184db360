// Reads the information that a multiboot2 loader leaves (Multiboot2 Specification 2.0, "Boot
// information format"). Pure: bytes in, struct boot_info out.
#pragma once
#include "boot/boot_info.h"

#define MULTIBOOT2_LOADER_MAGIC 0x36d76289

// `data`: at most `size` bytes of information that lie at physical address `base`. Unknown and cut
// tags are skipped. Returns NULL, or a sentence that says what is indispensable and missing.
// image_start and image_end of *info are left alone.
const char *multiboot2_parse(const void *data, size_t size, paddr_t base, struct boot_info *info);
