// Kernel stacks live in slots of 32 KB of the stack area: the upper half is the stack, the lower
// half stays unmapped. Freed stacks are kept mapped for the next world, up to CACHED. Beyond that
// their memory is freed at once, but the slot is "stale" until all TLBs have forgotten it; stale
// slots become clean in batches. Slots that find no room in a list are never used again: there are
// 2^28, and the lists are larger than any normal burst.
#include "mm/kstack.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/kernel_map.h"
#include "mm/tlb.h"
#include "sync/spinlock.h"

#define SLOT_SIZE   (2 * KSTACK_SIZE)
#define STACK_ORDER 2u
#define CACHED      32
#define SLOT_LIST   1024
#define FLUSH_BATCH 64
_Static_assert(PAGE_SIZE << STACK_ORDER == KSTACK_SIZE, "one block per stack");

static struct spinlock stack_lock = SPINLOCK_INIT; // covers all of these
static void *cached[CACHED];
static unsigned cached_count;
static uint32_t stale[SLOT_LIST], clean[SLOT_LIST]; // slots without memory; clean: in no TLB
static unsigned stale_count, clean_count;
static uint32_t next_slot;
static uint64_t next_device = DEVICE_AREA;

static inline uint64_t slot_stack(uint32_t slot) {
    return STACK_AREA + slot * SLOT_SIZE + (SLOT_SIZE - KSTACK_SIZE);
}

static void slot_release(uint32_t slot) {
    spin_lock(&stack_lock);
    if (stale_count < SLOT_LIST)
        stale[stale_count++] = slot;
    spin_unlock(&stack_lock);
}

static void clean_some(void) {
    uint32_t batch[FLUSH_BATCH];
    spin_lock(&stack_lock);
    unsigned n = stale_count < FLUSH_BATCH ? 0 : FLUSH_BATCH;
    stale_count -= n;
    memcpy(batch, stale + stale_count, n * sizeof(batch[0]));
    spin_unlock(&stack_lock);
    if (!n)
        return;
    tlb_flush_kernel();
    spin_lock(&stack_lock);
    for (unsigned i = 0; i < n && clean_count < SLOT_LIST; i++)
        clean[clean_count++] = batch[i];
    spin_unlock(&stack_lock);
}

static uint32_t slot_take(void) {
    if (!clean_count)
        clean_some();
    spin_lock(&stack_lock);
    uint32_t slot = clean_count ? clean[--clean_count] : next_slot++;
    spin_unlock(&stack_lock);
    return slot;
}

void *kstack_alloc(void) {
    spin_lock(&stack_lock);
    void *stack = cached_count ? cached[--cached_count] : NULL;
    spin_unlock(&stack_lock);
    if (stack)
        return stack;
    struct frame *f = frame_alloc(STACK_ORDER, 0, FRAME_KERNEL);
    if (!f)
        return NULL;
    uint32_t slot = slot_take();
    if (!kernel_map_range(slot_stack(slot), frame_phys(f), KSTACK_SIZE, KMAP_WRITE)) {
        kernel_unmap_range(slot_stack(slot), KSTACK_SIZE);
        slot_release(slot);
        frame_put(f);
        return NULL;
    }
    return (void *)slot_stack(slot);
}

void kstack_free(void *stack) {
    if (!stack)
        return;
    uint64_t va = (uint64_t)stack;
    ASSERT(va >= STACK_AREA && (va - STACK_AREA) % SLOT_SIZE == SLOT_SIZE - KSTACK_SIZE);
    spin_lock(&stack_lock);
    bool keep = cached_count < CACHED;
    if (keep)
        cached[cached_count++] = stack;
    spin_unlock(&stack_lock);
    if (keep)
        return;
    struct frame *f = phys_frame(kernel_lookup(va));
    kernel_unmap_range(va, KSTACK_SIZE);
    frame_put(f);
    slot_release((va - STACK_AREA) / SLOT_SIZE);
}

void *map_device(paddr_t base, size_t size, bool write_combining) {
    paddr_t start = ROUND_DOWN(base, PAGE_SIZE), end = ROUND_UP(base + size, PAGE_SIZE);
    if (!size || end < start || end - start > GIB * 64)
        return NULL;
    // The same place within 2 MB as in physical memory, so that large pages fit; one page of guard.
    spin_lock(&stack_lock);
    uint64_t va = ROUND_UP(next_device, LARGE_PAGE_SIZE) + start % LARGE_PAGE_SIZE;
    next_device = va + (end - start) + PAGE_SIZE;
    spin_unlock(&stack_lock);
    uint64_t type = write_combining ? KMAP_COMBINE : KMAP_UNCACHED;
    if (!kernel_map_range(va, start, end - start, KMAP_WRITE | type))
        return NULL;
    return (char *)va + (base - start);
}
