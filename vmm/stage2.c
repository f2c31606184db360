#include "vmm/stage2.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "mm/rmap.h"
#include "vmm/breakpoint.h"
#include "vmm/slots.h"
#include "vmm/stage2_table.h"
#include "vmm/vendor.h"
#include "vmm/watch.h"

#define AROUND 16 // pages mapped at once where the host has them present

enum { MAPPED = 0, NO_MEMORY_THERE = 1, DENIED = 2, READ_ONLY = 3, NOT_PRESENT = 4 };

// The slot that contains gpa; s->lock held.
static struct memory_slot *find_slot(struct stage2 *s, uint64_t gpa) {
    struct memory_slot *slot = s->recent;
    if (likely(slot && gpa - slot->gpa < slot->size))
        return slot;
    slot = slot_find(s->vm, gpa);
    if (slot)
        s->recent = slot;
    return slot;
}

bool stage2_find_slot(struct stage2 *s, uint64_t gpa, struct memory_slot *copy) {
    spin_lock(&s->lock);
    const struct memory_slot *slot = find_slot(s, gpa);
    if (slot)
        *copy = *slot;
    spin_unlock(&s->lock);
    return slot;
}

// ---- filling -----------------------------------------------------------------------------------

struct fill {
    struct memory_slot *slot;
    uint64_t gpa, hva; // of the page that faulted
    unsigned access;
    bool alone;             // no neighbours
    unsigned denied;        // ACCESS_* that watches take away
    struct frame *shadow;   // shown to fetches instead
    struct space_view host; // what the process has there
};

static inline bool slot_covers(const struct memory_slot *slot, uint64_t gpa, uint64_t size) {
    return gpa >= slot->gpa && gpa + size <= slot->gpa + slot->size;
}

// What the debugger wants of these pages; if anything, the page is mapped alone.
static void apply_debugger(struct stage2 *s, struct fill *f) {
    uint64_t start = ROUND_DOWN(f->gpa, AROUND * PAGE_SIZE), size = AROUND * PAGE_SIZE;
    if (!watch_denied(s->vm, start, size) && !breakpoint_in(s->vm, start, size))
        return;
    f->denied = watch_denied(s->vm, f->gpa, PAGE_SIZE);
    f->shadow = breakpoint_shadow(s->vm, f->gpa);
    f->alone = true;
}

// Whether the 2 MB around may be one entry.
static bool large_possible(const struct stage2 *s, const struct fill *f) {
    uint64_t start = ROUND_DOWN(f->gpa, LARGE_PAGE_SIZE);
    return !f->slot->dirty && !((f->gpa ^ f->hva) & (LARGE_PAGE_SIZE - 1)) &&
           slot_covers(f->slot, start, LARGE_PAGE_SIZE) &&
           (likely(!s->vm->debugged) || (!watch_denied(s->vm, start, LARGE_PAGE_SIZE) &&
                                         !breakpoint_in(s->vm, start, LARGE_PAGE_SIZE)));
}

// What pages of the slot allow if the process may write to them. Where only write faults tell what is
// dirty, a logged page becomes writable by a write alone.
static inline unsigned slot_rights(const struct stage2 *s, const struct fill *f, bool written) {
    bool write = !(f->slot->flags & KVM_MEM_READONLY) && (written || s->dirty || !f->slot->dirty);
    return ACCESS_READ | ACCESS_EXEC | (write ? ACCESS_WRITE : 0);
}

static int fill_large(struct stage2 *s, const struct fill *f) {
    bool write = f->access & ACCESS_WRITE;
    uint64_t *e = stage2_descend(s, f->gpa, 2, write);
    if (!e)
        return -ENOMEM;
    unsigned rights = slot_rights(s, f, write) & (f->host.entry & PTE_WRITE ? ~0u : ~ACCESS_WRITE);
    uint64_t old = *e, new = s->large[rights];
    new |= f->host.entry &PTE_ADDR & ~(LARGE_PAGE_SIZE - 1);
    bool table = old & s->format->present && !(old & s->format->large);
    if (!table)
        new |= old &(s->format->accessed | s->dirty);
    WRITE_ONCE(*e, new);
    if (table)
        stage2_drop_table(s, old, 2);
    return MAPPED;
}

// The page that a breakpoint is in: fetches see the copy, all else faults.
static int fill_shadow(struct stage2 *s, const struct fill *f) {
    uint64_t *e = stage2_descend(s, f->gpa, 1, false);
    if (!e)
        return -ENOMEM;
    if (f->access != ACCESS_EXEC || f->denied & ACCESS_EXEC)
        return DENIED;
    breakpoint_refresh(s->vm, f->gpa, phys_to_virt(f->host.entry & PTE_ADDR));
    WRITE_ONCE(*e, s->small[ACCESS_EXEC] | frame_phys(f->shadow));
    return MAPPED;
}

// Maps what is present of the pages around, in the same table here and in the process. e: the entry of
// the page that faulted.
static void fill_neighbours(struct stage2 *s, const struct fill *f, uint64_t *e) {
    uint64_t in_window = f->gpa & (AROUND - 1) * PAGE_SIZE,
             in_table = f->hva & (LARGE_PAGE_SIZE - 1);
    uint64_t back = MIN(MIN(in_window, in_table), f->gpa - f->slot->gpa);
    uint64_t ahead = MIN(MIN(AROUND * PAGE_SIZE - in_window, LARGE_PAGE_SIZE - in_table),
                         f->slot->gpa + f->slot->size - f->gpa);
    uint64_t present = s->format->present, mask = f->host.mask;
    uint64_t writable = s->small[slot_rights(s, f, false)];
    uint64_t readable = s->small[ACCESS_READ | ACCESS_EXEC];
    uint64_t *end = e + (ahead >> PAGE_SHIFT);
    const uint64_t *host = f->host.entries - (back >> PAGE_SHIFT);
    for (e -= back >> PAGE_SHIFT; e < end; e++, host++) {
        uint64_t h = *host & mask;
        if (!(*e & present) && h & PTE_PRESENT)
            WRITE_ONCE(*e, (h & PTE_ADDR) | (h & PTE_WRITE ? writable : readable));
    }
}

// The process has one large page here, of which a logged slot is mapped by small entries: all of them at once,
// or each would cost a fault.
static void fill_large_by_small(struct stage2 *s, const struct fill *f, uint64_t *e) {
    uint64_t before = LARGE_PAGE_SIZE - 1;
    uint64_t back = MIN(MIN(f->gpa & before, f->hva & before), f->gpa - f->slot->gpa);
    uint64_t ahead = LARGE_PAGE_SIZE - MAX(f->gpa & before, f->hva & before);
    ahead = MIN(ahead, f->slot->gpa + f->slot->size - f->gpa);
    unsigned rights = slot_rights(s, f, false) & (f->host.entry & PTE_WRITE ? ~0u : ~ACCESS_WRITE);
    uint64_t new = s->small[rights] | ((f->host.entry & PTE_ADDR) - back);
    uint64_t *end = e + (ahead >> PAGE_SHIFT), present = s->format->present;
    for (e -= back >> PAGE_SHIFT; e < end; e++, new += PAGE_SIZE)
        if (!(*e & present))
            WRITE_ONCE(*e, new);
}

static int fill_small(struct stage2 *s, const struct fill *f) {
    bool write = f->access & ACCESS_WRITE;
    uint64_t host = f->host.entry, *e = stage2_descend(s, f->gpa, 1, write);
    if (!e)
        return -ENOMEM;
    if (unlikely(f->access & f->denied))
        return DENIED;
    if (unlikely(write && f->slot->dirty && !s->dirty))
        slot_set_dirty(f->slot, f->gpa);
    unsigned rights = slot_rights(s, f, write) & (host & PTE_WRITE ? ~0u : ~ACCESS_WRITE);
    uint64_t old = *e, new = s->small[rights & ~f->denied] | (host & PTE_ADDR);
    if (old & s->format->present) {
        ASSERT((old & s->format->address) == (host & PTE_ADDR));
        new |= old &(s->format->accessed | s->dirty);
    }
    WRITE_ONCE(*e, new);
    if (!f->alone && f->host.entries)
        fill_neighbours(s, f, e);
    else if (f->host.size == LARGE_PAGE_SIZE && likely(!s->vm->debugged))
        fill_large_by_small(s, f, e);
    return MAPPED;
}

static int fill(struct stage2 *s, struct fill *f) {
    if (unlikely(s->vm->debugged))
        apply_debugger(s, f);
    if (unlikely(f->shadow))
        return fill_shadow(s, f);
    if (f->host.size == LARGE_PAGE_SIZE && large_possible(s, f))
        return fill_large(s, f);
    return fill_small(s, f);
}

// One attempt with what the process's page tables hold now, which do not change meanwhile. alone: the
// neighbours are known to be of no use. *hva: of the page.
static int map_present(struct stage2 *s, uint64_t gpa, unsigned access, bool alone, uint64_t *hva) {
    struct fill f; // an initialiser would cost as much as the rest of this
    f.gpa = ROUND_DOWN(gpa, PAGE_SIZE);
    f.access = access;
    f.alone = alone;
    f.denied = 0;
    f.shadow = NULL;
    bool write = access & ACCESS_WRITE, flush = false;
    int r;
    spin_lock(&tables_lock);
    spin_lock(&s->lock);
    f.slot = find_slot(s, gpa);
    if (unlikely(!f.slot)) {
        r = NO_MEMORY_THERE;
    } else if (unlikely(write && f.slot->flags & KVM_MEM_READONLY)) {
        r = READ_ONLY;
    } else {
        *hva = f.hva = f.slot->hva + (f.gpa - f.slot->gpa);
        bool there = space_peek(s->vm->space, f.hva, &f.host);
        r = there && (!write || f.host.entry & PTE_WRITE) ? fill(s, &f) : NOT_PRESENT;
        flush = s->flush_due;
    }
    spin_unlock(&s->lock);
    spin_unlock(&tables_lock);
    if (unlikely(flush))
        stage2_flush(s);
    return r;
}

// A table could not be had with locks held: makes room. 0 or -ENOMEM.
static int make_room(void) {
    struct frame *f = frame_alloc(0, 0, FRAME_TABLE_PAGE);
    if (!f)
        return -ENOMEM;
    frame_put(f);
    return 0;
}

int stage2_fault(struct stage2 *s, uint64_t gpa, unsigned access) {
    for (bool alone = false;; alone = true) {
        uint64_t hva = 0;
        int r = map_present(s, gpa, access, alone, &hva);
        if (r == -ENOMEM)
            r = make_room();
        else if (r == NOT_PRESENT)
            r = space_fault(s->vm->space, hva, access & ACCESS_WRITE ? ACCESS_WRITE : ACCESS_READ);
        else
            return r;
        if (r)
            return r == -ENOMEM ? r : -EFAULT;
    }
}

// ---- taking away -------------------------------------------------------------------------------

void stage2_unmap(struct stage2 *s, uint64_t gpa, uint64_t size) {
    spin_lock(&s->lock);
    stage2_zap_pages(s, gpa, size);
    spin_unlock(&s->lock);
    stage2_flush(s);
}

void stage2_write_protect_all(struct stage2 *s) {
    spin_lock(&s->lock);
    stage2_clear_write(s);
    spin_unlock(&s->lock);
    stage2_flush(s);
}

void stage2_lock_slots(struct stage2 *s) {
    ASSERT(mutex_held(&s->vm->lock));
    spin_lock(&s->lock);
}

void stage2_unlock_slots(struct stage2 *s) {
    s->recent = NULL;
    __atomic_add_fetch(&s->vm->slot_changes, 1, __ATOMIC_RELEASE);
    bool flush = s->flush_due;
    spin_unlock(&s->lock);
    if (flush)
        stage2_flush(s);
}

void stage2_zap_slot(struct stage2 *s, struct memory_slot *slot) {
    stage2_zap(s, slot->gpa, slot->gpa + slot->size, slot->dirty ? slot : NULL);
}

// ---- following the process's memory --------------------------------------------------------------

static inline struct stage2 *stage2_of(struct space_notifier *n) {
    return container_of(n, struct vm, notifier)->stage2;
}

static void on_invalidate(struct space_notifier *n, uint64_t start, uint64_t end) {
    struct stage2 *s = stage2_of(n);
    spin_lock(&s->lock);
    for (unsigned i = 0; i < s->vm->slot_count; i++) {
        struct memory_slot *slot = s->vm->slots[i];
        uint64_t from = MAX(start, slot->hva), to = MIN(end, slot->hva + slot->size);
        if (from < to)
            stage2_zap(s, slot->gpa + (from - slot->hva), slot->gpa + (to - slot->hva),
                       slot->dirty ? slot : NULL);
    }
    spin_unlock(&s->lock);
}

static void on_write_protect_all(struct space_notifier *n) {
    struct stage2 *s = stage2_of(n);
    spin_lock(&s->lock);
    stage2_clear_write(s);
    spin_unlock(&s->lock);
}

static void on_flush(struct space_notifier *n) {
    stage2_flush(stage2_of(n));
}

// ---- life --------------------------------------------------------------------------------------

struct stage2 *stage2_create(struct vm *vm) {
    struct stage2 *s = kzalloc(sizeof(*s));
    struct frame *root = frame_alloc(0, FRAME_ZERO, FRAME_TABLE_PAGE);
    if (!s || !root) {
        if (root)
            frame_put(root);
        kfree(s);
        return NULL;
    }
    s->vm = vm;
    s->format = vmm_vendor->stage2;
    s->dirty = vmm_vendor->has(ABILITY_DIRTY_BITS) ? s->format->dirty : 0;
    for (unsigned rights = 0; rights < ARRAY_SIZE(s->small); rights++) {
        s->small[rights] = s->format->make(0, 1, rights, true, false);
        s->large[rights] = s->format->make(0, 2, rights, true, false);
    }
    s->root = frame_phys(root);
    s->top = frame_virt(root);
    spin_init(&s->lock);
    mutex_init(&s->flush_lock);
    list_init(&s->doomed);
    vm->stage2 = s;
    vm->root = s->root;
    vm->notifier.invalidate = on_invalidate;
    vm->notifier.write_protect_all = on_write_protect_all;
    vm->notifier.flush = on_flush;
    space_add_notifier(vm->space, &vm->notifier);
    return s;
}

void stage2_free(struct stage2 *s) {
    struct vm *vm = s->vm;
    space_remove_notifier(vm->space, &vm->notifier);
    debugger_free(vm);
    spin_lock(&s->lock);
    stage2_zap(s, 0, UINT64_MAX, NULL);
    s->flush_due = true; // processors may know the root itself, which will be another VM's
    spin_unlock(&s->lock);
    stage2_flush(s);
    frame_put(phys_frame(s->root));
    vm->stage2 = NULL;
    kfree(s);
}

paddr_t stage2_root(const struct stage2 *s) {
    return s->root;
}
