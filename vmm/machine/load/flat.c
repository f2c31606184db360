// A boot sector or flat binary in real mode: at 0000:7c00 as a BIOS would, the disk's number in DL.
#include "vmm/machine/load/load.h"

#define BOOT_ADDRESS 0x7c00
#define LARGEST      (0x90000 - BOOT_ADDRESS)

bool flat_recognise(const struct load_image *k) {
    return k->size >= 512 && k->size <= LARGEST && k->data[510] == 0x55 && k->data[511] == 0xaa;
}

int flat_load(struct machine *m, const struct load_request *r, struct boot_cpu *out,
              char error[256]) {
    out->mode = BOOT_REAL;
    out->rip = BOOT_ADDRESS;
    out->rsp = BOOT_ADDRESS;
    out->rdx = 0x80;
    return load_copy(m, "the boot sector", BOOT_ADDRESS, r->kernel.data, r->kernel.size, error);
}
