// Guest RAM: one anonymous mapping, given to KVM in slots that leave out the hole for device memory below
// 4 GB and the display's graphics memory.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "vmm/machine/config.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/sums.h"

#define LOW_RAM_MAX   0xc0000000ull // 3 GB: device memory above
#define HIGH_RAM_BASE 0x100000000ull
#define HOLE_START    0xa0000ull // graphics memory; text memory from b8000h is plain RAM (vga.c)
#define HOLE_END      0xb8000ull
#define PAGE          4096ull

// Writes are logged where sums of memory will be asked for (sums.h).
static int add_slot(struct machine *m, uint64_t gpa, uint64_t offset, uint64_t size) {
    bool logged = m->config->record || m->config->replay;
    struct kvm_userspace_memory_region region = {
        .slot = m->slot_count,
        .flags = logged ? KVM_MEM_LOG_DIRTY_PAGES : 0,
        .guest_phys_addr = gpa,
        .memory_size = size,
        .userspace_addr = (uintptr_t)m->ram + offset,
    };
    if (ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
        int error = errno;
        machine_log(m, "KVM refuses %lu KB of memory at 0x%lx: %s", size >> 10, gpa,
                    strerror(error));
        return -error;
    }
    m->slots[m->slot_count].offset = offset;
    m->slots[m->slot_count++].size = size;
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
    int error = add_slot(m, 0, 0, HOLE_START);
    if (!error)
        error = add_slot(m, HOLE_END, HOLE_END, m->low_size - HOLE_END);
    if (!error && size > m->low_size)
        error = add_slot(m, HIGH_RAM_BASE, m->low_size, size - m->low_size);
    return error;
}

void memory_clear(struct machine *m) {
    m->memory_written = true;
    if (madvise(m->ram, m->ram_size, MADV_DONTNEED) < 0)
        memset(m->ram, 0, m->ram_size);
    if (m->sums)
        sums_note_cleared(m->sums);
}

uint64_t memory_address(const struct machine *m, uint64_t offset) {
    return offset < m->low_size ? offset : HIGH_RAM_BASE + (offset - m->low_size);
}

// Offset in RAM of [gpa, gpa+n), UINT64_MAX: it is not all RAM.
static uint64_t ram_offset(const struct machine *m, uint64_t gpa, uint64_t n) {
    if (gpa < m->low_size) {
        if (n > m->low_size - gpa || (gpa < HOLE_END && gpa + n > HOLE_START))
            return UINT64_MAX;
        return gpa;
    }
    uint64_t high = m->ram_size - m->low_size;
    if (gpa < HIGH_RAM_BASE || gpa - HIGH_RAM_BASE >= high || n > high - (gpa - HIGH_RAM_BASE))
        return UINT64_MAX;
    return m->low_size + (gpa - HIGH_RAM_BASE);
}

void *guest_memory(struct machine *m, uint64_t gpa, uint64_t n) {
    uint64_t offset = ram_offset(m, gpa, n);
    if (offset == UINT64_MAX)
        return NULL;
    m->memory_written = true;
    if (m->sums)
        sums_note(m->sums, offset, n);
    return m->ram + offset;
}

const void *memory_look(const struct machine *m, uint64_t gpa, uint64_t n) {
    uint64_t offset = ram_offset(m, gpa, n);
    return offset == UINT64_MAX ? NULL : m->ram + offset;
}
