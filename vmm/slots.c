// Memory slots and dirty logs (KVM API, "KVM_SET_USER_MEMORY_REGION", "KVM_GET_DIRTY_LOG").
#include "vmm/slots.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "vmm/stage2.h"

#define FLAGS_KNOWN    (KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY)
#define SLOT_PAGES_MAX ((1ull << 31) - 1) // KVM's limit
#define GPA_END        (1ull << 48)       // a walk of four levels

static struct memory_slot *slot_by_id(const struct vm *vm, uint32_t id) {
    for (unsigned i = 0; i < vm->slot_count; i++)
        if (vm->slots[i]->id == id)
            return vm->slots[i];
    return NULL;
}

struct memory_slot *slot_find(const struct vm *vm, uint64_t gpa) {
    unsigned low = 0, high = vm->slot_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        struct memory_slot *s = vm->slots[middle];
        if (gpa < s->gpa)
            high = middle;
        else if (gpa - s->gpa >= s->size)
            low = middle + 1;
        else
            return s;
    }
    return NULL;
}

static uint64_t bitmap_words(uint64_t size) {
    return DIV_ROUND_UP(size >> PAGE_SHIFT, 64);
}

static int check(const struct kvm_userspace_memory_region *r) {
    if (r->flags & ~FLAGS_KNOWN)
        return -EINVAL;
    if (r->slot >= VM_MAX_SLOTS) // also: address spaces other than 0 (bits 16 and up)
        return -EINVAL;
    if ((r->memory_size | r->guest_phys_addr | r->userspace_addr) & (PAGE_SIZE - 1))
        return -EINVAL;
    if (r->memory_size >> PAGE_SHIFT > SLOT_PAGES_MAX)
        return -EINVAL;
    if (r->userspace_addr > USER_END || r->memory_size > USER_END - r->userspace_addr)
        return -EINVAL;
    if (r->guest_phys_addr >= GPA_END || r->memory_size > GPA_END - r->guest_phys_addr)
        return -EINVAL;
    return 0;
}

static bool overlaps(const struct vm *vm, const struct kvm_userspace_memory_region *r) {
    for (unsigned i = 0; i < vm->slot_count; i++) {
        const struct memory_slot *s = vm->slots[i];
        if (s->id != r->slot && r->guest_phys_addr < s->gpa + s->size &&
            s->gpa < r->guest_phys_addr + r->memory_size)
            return true;
    }
    return false;
}

static void insert(struct vm *vm, struct memory_slot *s) {
    unsigned i = vm->slot_count++;
    for (; i > 0 && vm->slots[i - 1]->gpa > s->gpa; i--)
        vm->slots[i] = vm->slots[i - 1];
    vm->slots[i] = s;
}

static void take_out(struct vm *vm, struct memory_slot *s) {
    unsigned i = 0;
    while (vm->slots[i] != s)
        i++;
    for (vm->slot_count--; i < vm->slot_count; i++)
        vm->slots[i] = vm->slots[i + 1];
}

static void slot_free(struct memory_slot *s) {
    kfree(s->dirty);
    kfree(s);
}

static int start_log(struct vm *vm, struct memory_slot *s) {
    if (s->dirty)
        return 0;
    uint64_t *bitmap = kzalloc(bitmap_words(s->size) * 8);
    if (!bitmap)
        return -ENOMEM;
    stage2_lock_slots(vm->stage2);
    stage2_zap_slot(vm->stage2, s); // what is mapped from now on is logged
    s->dirty = bitmap;
    stage2_unlock_slots(vm->stage2);
    return 0;
}

static int create(struct vm *vm, const struct kvm_userspace_memory_region *r) {
    if (vm->slot_count == VM_MAX_SLOTS)
        return -EINVAL;
    struct memory_slot *s = kzalloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (struct memory_slot){.id = r->slot,
                              .flags = r->flags,
                              .gpa = r->guest_phys_addr,
                              .size = r->memory_size,
                              .hva = r->userspace_addr};
    if (s->flags & KVM_MEM_LOG_DIRTY_PAGES) {
        s->dirty = kzalloc(bitmap_words(s->size) * 8);
        if (!s->dirty) {
            kfree(s);
            return -ENOMEM;
        }
    }
    stage2_lock_slots(vm->stage2);
    insert(vm, s);
    stage2_unlock_slots(vm->stage2);
    return 0;
}

static int move(struct vm *vm, struct memory_slot *s, uint64_t gpa) {
    stage2_lock_slots(vm->stage2);
    take_out(vm, s);
    stage2_zap_slot(vm->stage2, s);
    s->gpa = gpa;
    insert(vm, s);
    stage2_unlock_slots(vm->stage2);
    return 0;
}

static int change_flags(struct vm *vm, struct memory_slot *s, uint32_t flags) {
    if (flags & KVM_MEM_LOG_DIRTY_PAGES) {
        int err = start_log(vm, s);
        if (err)
            return err;
    } else {
        uint64_t *bitmap = s->dirty;
        stage2_lock_slots(vm->stage2);
        s->dirty = NULL;
        stage2_unlock_slots(vm->stage2);
        kfree(bitmap);
    }
    s->flags = flags;
    return 0;
}

static int set_locked(struct vm *vm, const struct kvm_userspace_memory_region *r) {
    struct memory_slot *old = slot_by_id(vm, r->slot);
    if (!r->memory_size) {
        if (!old)
            return -EINVAL;
        stage2_lock_slots(vm->stage2);
        take_out(vm, old);
        stage2_zap_slot(vm->stage2, old);
        stage2_unlock_slots(vm->stage2);
        slot_free(old);
        return 0;
    }
    if (overlaps(vm, r))
        return -EEXIST;
    if (!old)
        return create(vm, r);
    if (r->userspace_addr != old->hva || r->memory_size != old->size ||
        ((r->flags ^ old->flags) & KVM_MEM_READONLY))
        return -EINVAL; // what a slot is cannot change, only where it is and whether it is logged
    int err = change_flags(vm, old, r->flags);
    if (!err && r->guest_phys_addr != old->gpa)
        err = move(vm, old, r->guest_phys_addr);
    return err;
}

int slots_set(struct vm *vm, const struct kvm_userspace_memory_region *r) {
    int err = check(r);
    if (err)
        return err;
    mutex_lock(&vm->lock);
    err = set_locked(vm, r);
    mutex_unlock(&vm->lock);
    return err;
}

// ---- dirty logs --------------------------------------------------------------------------------
static int get_dirty_locked(struct vm *vm, const struct kvm_dirty_log *log) {
    struct memory_slot *s = log->slot < VM_MAX_SLOTS ? slot_by_id(vm, log->slot) : NULL;
    if (log->slot >= VM_MAX_SLOTS)
        return -EINVAL;
    if (!s || !s->dirty)
        return -ENOENT;
    stage2_collect_dirty(vm->stage2, s, s->dirty);
    // Bits are set at any time: each word is taken once, and put back if it does not arrive.
    for (uint64_t i = 0; i < bitmap_words(s->size); i++) {
        uint64_t word = vm->manual_dirty_log
                            ? READ_ONCE(s->dirty[i])
                            : __atomic_exchange_n(&s->dirty[i], 0, __ATOMIC_RELAXED);
        if (put_user(word, (uint64_t __user *)log->dirty_bitmap + i)) {
            __atomic_fetch_or(&s->dirty[i], word, __ATOMIC_RELAXED);
            return -EFAULT;
        }
    }
    return 0;
}

int slots_get_dirty(struct vm *vm, const struct kvm_dirty_log *log) {
    mutex_lock(&vm->lock);
    int err = get_dirty_locked(vm, log);
    mutex_unlock(&vm->lock);
    return err;
}

static int clear_dirty_locked(struct vm *vm, const struct kvm_clear_dirty_log *log) {
    if (log->slot >= VM_MAX_SLOTS)
        return -EINVAL;
    struct memory_slot *s = slot_by_id(vm, log->slot);
    if (!s || !s->dirty)
        return -ENOENT;
    uint64_t pages = s->size >> PAGE_SHIFT;
    if ((log->first_page & 63) || log->first_page > pages ||
        log->num_pages > pages - log->first_page ||
        (log->num_pages < pages - log->first_page && (log->num_pages & 63)))
        return -EINVAL;
    uint64_t *words = s->dirty + log->first_page / 64;
    for (uint64_t i = 0; i < DIV_ROUND_UP((uint64_t)log->num_pages, 64); i++) {
        uint64_t clear;
        if (get_user(clear, (uint64_t __user *)log->dirty_bitmap + i))
            return -EFAULT;
        // Pages that are written again show up in the next collection.
        __atomic_fetch_and(&words[i], ~clear, __ATOMIC_RELAXED);
    }
    return 0;
}

int slots_clear_dirty(struct vm *vm, const struct kvm_clear_dirty_log *log) {
    mutex_lock(&vm->lock);
    int err = clear_dirty_locked(vm, log);
    mutex_unlock(&vm->lock);
    return err;
}

// ---- life --------------------------------------------------------------------------------------
int slots_clone(struct vm *to, struct vm *from) {
    for (unsigned i = 0; i < from->slot_count; i++) {
        struct memory_slot *s = from->slots[i];
        int err = create(to, &(struct kvm_userspace_memory_region){
                                 .slot = s->id,
                                 .flags = s->flags,
                                 .guest_phys_addr = s->gpa,
                                 .memory_size = s->size,
                                 .userspace_addr = s->hva,
                             });
        if (err)
            return err;
        if (!s->dirty)
            continue;
        stage2_collect_dirty(from->stage2, s, s->dirty);
        memcpy(slot_by_id(to, s->id)->dirty, s->dirty, bitmap_words(s->size) * 8);
    }
    return 0;
}

void slots_free(struct vm *vm) {
    while (vm->slot_count)
        slot_free(vm->slots[--vm->slot_count]);
}
