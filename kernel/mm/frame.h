// Physical memory: page frames and their allocator.
#pragma once
#include "lib/list.h"
#include "mm/layout.h"

enum frame_kind {
    FRAME_FREE,
    FRAME_RESERVED,   // firmware, kernel image, initrd
    FRAME_KERNEL,     // heap, stacks, drivers
    FRAME_TABLE_PAGE, // a page table
    FRAME_ANON,       // anonymous memory of UserWorlds (and so of guests)
    FRAME_CACHE,      // page cache of a file or block device
    FRAME_KIND_COUNT
};

struct frame {
    uint32_t refs;  // users: mappings, caches, temporary holders; atomic
    uint8_t kind;   // enum frame_kind
    uint8_t order;  // of the allocation (head frame) or free block
    uint16_t flags; // mm/'s own
    union {
        struct list_node node; // free list, or the owner's list
        struct {
            // FRAME_CACHE: struct pagecache, NULL once the page was taken out of it.
            // FRAME_ANON: the struct pool that is charged, or NULL.
            // FRAME_TABLE_PAGE: the space of an upper table, NULL for a last-level one.
            void *owner;
            // FRAME_CACHE: page number in it. FRAME_TABLE_PAGE: first virtual address covered.
            uint64_t index;
        };
    };
    uint64_t rmap; // which page-table entries point to this frame; mm/rmap.c only
};
_Static_assert(sizeof(struct frame) == 32, "0.8 % of memory; index by shift");

// struct frame::flags. Page tables keep the number of their used entries there instead.
#define FRAME_BLOCK       1u // head of a free block of the buddy allocator
#define FRAME_SLAB        2u // part of a slab; the size class is in the bits from FRAME_CLASS_SHIFT on
#define FRAME_CLASS_SHIFT 8

#define FRAME_ZERO    1u // contents zeroed
#define FRAME_BELOW4G 2u // for devices with 32-bit DMA
#define FRAME_ATOMIC  4u // never sleep, never reclaim (interrupt handlers, locks held)
#define FRAME_USER    8u // for a UserWorld: leave a reserve for the kernel, count against its limit

#define ORDER_2M  9u
#define ORDER_MAX 18u

// 2^order contiguous frames, naturally aligned, one reference. NULL when there are none. Without
// FRAME_ATOMIC it may sleep to reclaim clean page cache.
struct frame *frame_alloc(unsigned order, unsigned flags, enum frame_kind kind);
// Takes / drops a reference; the last one frees the block. Any context.
static inline void frame_get(struct frame *f) {
    __atomic_fetch_add(&f->refs, 1, __ATOMIC_RELAXED);
}
void frame_put(struct frame *f);
// As frame_put by the only holder of a single frame whose content is all zero: a later FRAME_ZERO
// allocation saves the work.
void frame_put_zeroed(struct frame *f);
// Makes 2^order frames of their own, one reference each, of a block just allocated (or with one
// reference): kind and owner are those of the head.
void frame_split(struct frame *f, unsigned order);
// Drops one reference of each of the 512 frames of a 2 MB page made by frame_split(), from its first
// frame on; cheap when these are the last ones.
void frame_put_large(struct frame *head);
// Clears one free frame for later use if there is reason to; false: nothing to do. For the idle loop.
bool frame_zero_some(void);

#ifdef UNIT_TEST
extern struct frame *test_frame_table;
#define FRAMES test_frame_table
#else
#define FRAMES ((struct frame *)FRAME_TABLE)
#endif
static inline struct frame *phys_frame(paddr_t p) {
    return FRAMES + (p >> PAGE_SHIFT);
}
static inline paddr_t frame_phys(const struct frame *f) {
    return (paddr_t)(f - FRAMES) << PAGE_SHIFT;
}
// In the direct map.
static inline void *frame_virt(const struct frame *f) {
    return phys_to_virt(frame_phys(f));
}

// Boot only (mm/init.c): the table is mapped and zeroed; page numbers are below `end`.
void frame_init(uint64_t end);
// Boot only: RAM pages [first, last) exist and are reserved (counted), or free to use.
void frame_add_reserved(uint64_t first, uint64_t last);
void frame_add_free(uint64_t first, uint64_t last);
// Gives the whole pages in [start, end), until now reserved (an initrd), to the allocator.
void frame_release_range(paddr_t start, paddr_t end);

// Pages, for sysinfo and tests.
struct memory_stats {
    uint64_t total, free, kernel, tables, anon, cache;
};
void memory_stats(struct memory_stats *s);
// Free pages, without the processors' own stocks: cheap, for decisions.
uint64_t frame_free_hint(void);
// Allocates and returns zeroed kernel pages in the direct map (contiguous); free by address.
void *pages_alloc(unsigned order);
void pages_free(void *p);

// Clear or copy a page through the widest vector registers that are on, which are preserved
// (mm/page_ops.S). Both arguments are page aligned.
void page_clear(void *page);
void page_copy(void *to, const void *from);
// Chooses the variant; boot only, after XCR0 was set up.
void page_ops_init(void);
