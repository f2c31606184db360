// Guest RAM: one anonymous mapping, given to KVM in slots that leave out the hole for device memory below
// 4 GB and the display's graphics memory.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "vmm/machine/machine.h"

#define LOW_RAM_MAX   0xc0000000ull // 3 GB: device memory above
#define HIGH_RAM_BASE 0x100000000ull
#define HOLE_START    0xa0000ull // graphics memory; text memory from b8000h is plain RAM (vga.c)
#define HOLE_END      0xb8000ull
#define PAGE          4096ull

static int add_slot(struct machine *m, uint64_t gpa, void *host, uint64_t size, uint32_t flags) {
    struct kvm_userspace_memory_region region = {
        .slot = m->slot_count,
        .flags = flags,
        .guest_phys_addr = gpa,
        .memory_size = size,
        .userspace_addr = (uintptr_t)host,
    };
    if (ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
        int error = errno;
        machine_log(m, "KVM refuses %lu KB of memory at 0x%lx: %s", size >> 10, gpa,
                    strerror(error));
        return -error;
    }
    m->slot_count++;
    return 0;
}

int memory_create(struct machine *m, uint64_t size) {
    void *ram = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ram == MAP_FAILED) {
        machine_log(m, "no room for %lu MB of guest memory: %s", size >> 20, strerror(errno));
        return -ENOMEM;
    }
    madvise(ram, size, MADV_HUGEPAGE); // only a wish
    m->ram = ram;
    m->ram_size = size;
    m->low_size = size < LOW_RAM_MAX ? size : LOW_RAM_MAX;
    int error = add_slot(m, 0, m->ram, HOLE_START, 0);
    if (!error)
        error = add_slot(m, HOLE_END, m->ram + HOLE_END, m->low_size - HOLE_END, 0);
    if (!error && size > m->low_size)
        error = add_slot(m, HIGH_RAM_BASE, m->ram + m->low_size, size - m->low_size, 0);
    return error;
}

void memory_clear(struct machine *m) {
    if (madvise(m->ram, m->ram_size, MADV_DONTNEED) < 0)
        memset(m->ram, 0, m->ram_size);
}

void *guest_memory(struct machine *m, uint64_t gpa, uint64_t n) {
    if (gpa < m->low_size) {
        if (n > m->low_size - gpa || (gpa < HOLE_END && gpa + n > HOLE_START))
            return NULL;
        return m->ram + gpa;
    }
    uint64_t high = m->ram_size - m->low_size;
    if (gpa < HIGH_RAM_BASE || gpa - HIGH_RAM_BASE >= high || n > high - (gpa - HIGH_RAM_BASE))
        return NULL;
    return m->ram + m->low_size + (gpa - HIGH_RAM_BASE);
}
