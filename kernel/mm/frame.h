// Physical memory: page frames and their allocator.
#pragma once
#include "lib/list.h"
#include "mm/layout.h"

enum frame_kind {
    FRAME_FREE,
    FRAME_RESERVED, // firmware, kernel image, initrd
    FRAME_KERNEL,   // heap, stacks, drivers
    FRAME_TABLE_PAGE, // a page table
    FRAME_ANON,     // anonymous memory of UserWorlds (and so of guests)
    FRAME_CACHE,    // page cache of a file or block device
};

struct frame {
    uint32_t refs;    // users: mappings, caches, temporary holders; atomic
    uint8_t kind;     // enum frame_kind
    uint8_t order;    // of the allocation (head frame) or free block
    uint16_t flags;   // mm/'s own
    union {
        struct list_node node; // free list, or the owner's list
        struct {
            void *owner;       // FRAME_CACHE: struct pagecache
            uint64_t index;    // page number in it
        };
    };
    uint64_t rmap;    // which page tables map this frame; mm/rmap.c only
};

#define FRAME_ZERO    1u // contents zeroed
#define FRAME_BELOW4G 2u // for devices with 32-bit DMA
#define FRAME_ATOMIC  4u // never sleep, never reclaim (interrupt handlers, locks held)
#define FRAME_USER    8u // for a UserWorld: leave a reserve for the kernel, count against its limit

#define ORDER_2M 9u
#define ORDER_MAX 18u

// 2^order contiguous frames, naturally aligned, one reference. NULL when there are none. Without
// FRAME_ATOMIC it may sleep to reclaim clean page cache.
struct frame *frame_alloc(unsigned order, unsigned flags, enum frame_kind kind);
// Takes / drops a reference; the last one frees the block. Any context.
void frame_get(struct frame *f);
void frame_put(struct frame *f);
paddr_t frame_phys(const struct frame *f);
struct frame *phys_frame(paddr_t p);
void *frame_virt(const struct frame *f); // in the direct map
// Pages, for sysinfo and tests.
struct memory_stats {
    uint64_t total, free, kernel, tables, anon, cache;
};
void memory_stats(struct memory_stats *s);
// Allocates and returns zeroed kernel pages in the direct map (contiguous); free by address.
void *pages_alloc(unsigned order);
void pages_free(void *p);
