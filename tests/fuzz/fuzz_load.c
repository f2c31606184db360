/* sources: vmm/machine/load/load.c vmm/machine/load/elf.c vmm/machine/load/linux.c vmm/machine/load/vmlinux.c vmm/machine/load/multiboot.c vmm/machine/load/multiboot2.c vmm/machine/load/multiboot2_info.c vmm/machine/load/flat.c vmm/machine/firmware/e820.c vmm/machine/firmware/acpi.c vmm/machine/firmware/mptable.c */
// Any bytes as a guest kernel: an error or a loaded image, never an access outside of guest memory.
#include <string.h>
#include "vmm/machine/config.h"
#include "vmm/machine/firmware/firmware.h"
#include "vmm/machine/load/load.h"
#include "vmm/machine/machine.h"

#define RAM (4u << 20)
static uint8_t ram[RAM];
static struct config config = {.acpi = true};

void *guest_memory(struct machine *m, uint64_t gpa, uint64_t n) {
    return gpa >= RAM || n > RAM - gpa ? NULL : ram + gpa;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct machine m = {
        .config = &config, .ram = ram, .ram_size = RAM, .low_size = RAM, .cpu_count = 1};
    struct load_request r = {.kernel = {"kernel", data, n},
                             .modules = {{"module", data, n, "arguments"}},
                             .module_count = 1,
                             .command_line = "x"};
    struct boot_cpu cpu;
    char error[256];
    firmware_write(&m);
    return load_guest(&m, &r, &cpu, error) > 0;
}
