// The kernel's side of the tables: where they are, and what is done with them at boot.
#include "acpi/acpi.h"
#include "boot/boot_info.h"
#include "boot/main.h"
#include "lib/log.h"
#include "mm/kstack.h"

struct acpi_info acpi_info;

// What the firmware's map lists, and the first MB, is in the direct map.
static bool in_direct_map(paddr_t start, paddr_t end) {
    if (end <= MIB || (start >= boot_info.image_start && end <= boot_info.image_end))
        return true;
    for (unsigned i = 0; i < boot_info.memory_count; i++)
        if (start >= boot_info.memory[i].start && end <= boot_info.memory[i].end)
            return true;
    return false;
}

static const void *map_physical(const struct acpi_memory *m, paddr_t addr, size_t size) {
    paddr_t end;
    if (__builtin_add_overflow(addr, size, &end) || end > 1ull << 46)
        return NULL;
    if (in_direct_map(addr, end))
        return phys_to_virt(addr);
    return map_device(addr, size, false);
}

void acpi_init(void) {
    static const struct acpi_memory memory = {.map = map_physical};
    paddr_t rsdp = boot_info.rsdp ? boot_info.rsdp : acpi_find_rsdp(&memory);
    const char *problem = acpi_parse(&memory, rsdp, &acpi_info);
    if (problem)
        log_warning("acpi: %s: going on with one processor", problem);
    else
        log_info("acpi: %u processors, %u IOAPICs, PM timer %s, power-off %s",
                 acpi_info.processor_count, acpi_info.ioapic_count,
                 acpi_info.pm_timer ? "present" : "absent",
                 acpi_info.s5_valid ? "by S5" : "unknown");
    if (acpi_info.processors_ignored)
        log_warning("acpi: %u more processors are left alone: the kernel uses at most %u",
                    acpi_info.processors_ignored, ACPI_MAX_PROCESSORS);
}
