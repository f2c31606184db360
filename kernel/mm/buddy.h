// Binary buddy allocator over the frame table: free blocks of 2^order frames, naturally aligned.
// It knows nothing of processors or locks (mm/frame.c covers it with frame_lock).
#pragma once
#include "mm/frame.h"

// Blocks below and above 4 GiB are kept apart, so that FRAME_BELOW4G needs no search. A block never
// spans the border: it is aligned to 1 GiB at most.
enum { ZONE_LOW, ZONE_HIGH, ZONE_COUNT };
#define ZONE_BORDER (4 * GIB >> PAGE_SHIFT)
#define NO_BLOCK    UINT64_MAX

struct buddy {
    struct list_node free[ZONE_COUNT][ORDER_MAX + 1];
    uint32_t nonempty[ZONE_COUNT]; // bit per order: its list has a block
    struct frame *table;           // frame of page 0
    uint64_t end;                  // page numbers are below this
    uint64_t free_pages;
};

// `table` is indexed by page number; entries outside the ranges added later are never touched.
void buddy_init(struct buddy *b, struct frame *table, uint64_t end);
// Gives frames [first, last) to the allocator. Every frame that can be the buddy of one of them must
// be readable in the table with flags that lack FRAME_BLOCK.
void buddy_add(struct buddy *b, uint64_t first, uint64_t last);
// Number of the first page of a block, or NO_BLOCK. The frames' fields are left as they are, but
// the head's FRAME_BLOCK is cleared.
uint64_t buddy_alloc(struct buddy *b, unsigned order, bool below_4g);
void buddy_free(struct buddy *b, uint64_t page, unsigned order);
