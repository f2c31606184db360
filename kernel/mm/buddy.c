#include "mm/buddy.h"
#include "lib/assert.h"

static inline unsigned zone_of(uint64_t page) {
    return page < ZONE_BORDER ? ZONE_LOW : ZONE_HIGH;
}

static void push(struct buddy *b, uint64_t page, unsigned order) {
    struct frame *f = &b->table[page];
    unsigned zone = zone_of(page);
    f->kind = FRAME_FREE;
    f->order = order;
    f->flags = FRAME_BLOCK;
    list_add_head(&b->free[zone][order], &f->node);
    b->nonempty[zone] |= BIT(order);
}

static void pull(struct buddy *b, uint64_t page, unsigned order) {
    struct frame *f = &b->table[page];
    unsigned zone = zone_of(page);
    list_remove(&f->node);
    f->flags = 0;
    if (list_empty(&b->free[zone][order]))
        b->nonempty[zone] &= ~BIT(order);
}

void buddy_init(struct buddy *b, struct frame *table, uint64_t end) {
    *b = (struct buddy){.table = table, .end = end};
    for (unsigned zone = 0; zone < ZONE_COUNT; zone++)
        for (unsigned order = 0; order <= ORDER_MAX; order++)
            list_init(&b->free[zone][order]);
}

void buddy_add(struct buddy *b, uint64_t first, uint64_t last) {
    ASSERT(first <= last && last <= b->end);
    while (first < last) { // the largest aligned blocks that fit
        unsigned order = first ? MIN((unsigned)__builtin_ctzll(first), ORDER_MAX) : ORDER_MAX;
        while (first + BIT(order) > last)
            order--;
        buddy_free(b, first, order);
        first += BIT(order);
    }
}

uint64_t buddy_alloc(struct buddy *b, unsigned order, bool below_4g) {
    ASSERT(order <= ORDER_MAX);
    unsigned zone = below_4g ? ZONE_LOW : ZONE_HIGH; // memory that devices can reach comes last
    uint32_t fit = b->nonempty[zone] >> order << order;
    if (!fit && zone == ZONE_HIGH)
        fit = b->nonempty[zone = ZONE_LOW] >> order << order;
    if (!fit)
        return NO_BLOCK;
    unsigned have = __builtin_ctz(fit);
    uint64_t page = list_entry(b->free[zone][have].next, struct frame, node) - b->table;
    pull(b, page, have);
    while (have > order) { // the upper halves go back
        have--;
        push(b, page + BIT(have), have);
    }
    b->free_pages -= BIT(order);
    return page;
}

void buddy_free(struct buddy *b, uint64_t page, unsigned order) {
    ASSERT(order <= ORDER_MAX && IS_ALIGNED(page, BIT(order)) && page + BIT(order) <= b->end);
    ASSERTF(!(b->table[page].kind == FRAME_FREE && b->table[page].flags & FRAME_BLOCK),
            "page %#llx is free already", (unsigned long long)page);
    b->free_pages += BIT(order);
    for (; order < ORDER_MAX; order++) {
        uint64_t other = page ^ BIT(order);
        if (other + BIT(order) > b->end)
            break;
        struct frame *f = &b->table[other];
        if (f->kind != FRAME_FREE || !(f->flags & FRAME_BLOCK) || f->order != order)
            break;
        pull(b, other, order);
        page &= ~BIT(order);
    }
    push(b, page, order);
}
