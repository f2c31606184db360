// Guest memory by guest-physical address, for the VMM's own accesses.
#include "vmm/guest_memory.h"
#include "lib/errno.h"
#include "mm/frame.h"
#include "mm/uaccess.h"
#include "sched/world.h"
#include "proc/process.h"
#include "vmm/slots.h"
#include "vmm/stage2.h"

// Copies between buf and user memory at hva of the VM's process.
static int copy(struct vm *vm, uint64_t hva, void *buf, size_t n, bool write) {
    if (likely(current_process() && current_process()->space == vm->space))
        return write ? copy_to_user((void __user *)hva, buf, n)
                     : copy_from_user(buf, (const void __user *)hva, n);
    return space_copy(vm->space, hva, buf, n, write) == (long)n ? 0 : -EFAULT;
}

// What changes below a dirty log's and the debugger's eyes.
static void note_write(struct vm *vm, const struct memory_slot *slot, uint64_t gpa, size_t n) {
    if (slot->dirty)
        stage2_mark_dirty(vm->stage2, gpa, n);
    if (unlikely(vm->debugged)) { // copies with breakpoints are made anew at the next fetch
        uint64_t start = ROUND_DOWN(gpa, PAGE_SIZE);
        stage2_unmap(vm->stage2, start, ROUND_UP(gpa + n, PAGE_SIZE) - start);
    }
}

static int access(struct vm *vm, uint64_t gpa, char *buf, size_t n, bool write) {
    while (n) {
        struct memory_slot slot;
        if (!stage2_find_slot(vm->stage2, gpa, &slot))
            return -EFAULT;
        if (write && slot.flags & KVM_MEM_READONLY)
            return -EFAULT;
        uint64_t offset = gpa - slot.gpa;
        size_t part = MIN(n, slot.size - offset);
        int err = copy(vm, slot.hva + offset, buf, part, write);
        if (err)
            return err;
        if (write)
            note_write(vm, &slot, gpa, part);
        gpa += part;
        buf += part;
        n -= part;
    }
    return 0;
}

int vm_read_near(struct vm *vm, struct memory_slot *last, uint64_t gpa, void *buf, size_t n) {
    // A slot that goes meanwhile is as if the read came before: it only names the process's own memory.
    if (unlikely(gpa - last->gpa >= last->size) && !stage2_find_slot(vm->stage2, gpa, last))
        return -EFAULT;
    uint64_t offset = gpa - last->gpa;
    if (unlikely(n > last->size - offset))
        return vm_read(vm, gpa, buf, n);
    return copy(vm, last->hva + offset, buf, n, false);
}

int vm_read(struct vm *vm, uint64_t gpa, void *buf, size_t n) {
    return access(vm, gpa, buf, n, false);
}

int vm_write(struct vm *vm, uint64_t gpa, const void *buf, size_t n) {
    return access(vm, gpa, (char *)buf, n, true);
}

// Whether the value was as expected and is now `new`.
static bool exchange(void *at, unsigned size, uint64_t expected, uint64_t new) {
    if (size == 8)
        return __atomic_compare_exchange_n((uint64_t *)at, &expected, new, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_RELAXED);
    uint32_t expected32 = (uint32_t)expected;
    return __atomic_compare_exchange_n((uint32_t *)at, &expected32, (uint32_t) new, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

int vm_compare_exchange(struct vm *vm, uint64_t gpa, unsigned size, uint64_t expected,
                        uint64_t new) {
    struct memory_slot slot;
    struct frame *f;
    bool writable;
    uint64_t mapped;
    if (!IS_ALIGNED(gpa, size) || !stage2_find_slot(vm->stage2, gpa, &slot) ||
        slot.flags & KVM_MEM_READONLY)
        return -EFAULT;
    uint64_t hva = slot.hva + (gpa - slot.gpa);
    if (space_get_frame(vm->space, hva, ACCESS_WRITE, &f, &writable, &mapped))
        return -EFAULT;
    bool done = exchange((char *)frame_virt(f) + hva % PAGE_SIZE, size, expected, new);
    frame_put(f);
    if (done)
        note_write(vm, &slot, gpa, size);
    return done ? 0 : -EAGAIN;
}
