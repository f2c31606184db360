// Frames: the buddy allocator behind per-processor stocks of single pages.
//
// A single page usually comes from and goes to the stock of this processor, with interrupts off but
// without a lock. Stocks are filled from and emptied to the buddy allocator in batches.
#include "mm/frame.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "mm/buddy.h"
#include "mm/percpu.h"
#include "mm/reclaim.h"
#include "proc/pool.h"
#include "proc/process.h"
#include "sync/spinlock.h"

#define STOCK_ORDER 4u // filled by a block of 16
#define STOCK_MAX   64
#define ZEROED_MAX  64

struct frame_stock { // a stack linked through node.next
    struct frame *top;
    unsigned count;
};
static struct {
    struct frame_stock free, zeroed;
    int64_t pages[FRAME_KIND_COUNT]; // allocated minus freed here; meaningful as a sum
} aligned_to(64) stocks[MAX_CPUS];   // each only by its own processor, interrupts off

static struct spinlock frame_lock = SPINLOCK_INIT; // covers buddy
static struct buddy buddy;
static uint64_t total_pages, reserved_pages; // fixed after boot
static uint64_t user_reserve;                // pages that FRAME_USER leaves free

static inline void stock_push(struct frame_stock *s, struct frame *f) {
    f->node.next = s->top ? &s->top->node : NULL;
    s->top = f;
    s->count++;
}

static inline struct frame *stock_pop(struct frame_stock *s) {
    struct frame *f = s->top;
    if (f) {
        s->top = f->node.next ? list_entry(f->node.next, struct frame, node) : NULL;
        s->count--;
    }
    return f;
}

void frame_init(uint64_t end) {
    buddy_init(&buddy, FRAMES, end);
}

void frame_add_reserved(uint64_t first, uint64_t last) {
    for (uint64_t page = first; page < last; page++)
        FRAMES[page] = (struct frame){.refs = 1, .kind = FRAME_RESERVED};
    total_pages += last - first;
    reserved_pages += last - first;
}

void frame_add_free(uint64_t first, uint64_t last) {
    spin_lock(&frame_lock);
    buddy_add(&buddy, first, last);
    spin_unlock(&frame_lock);
    total_pages += last - first;
    user_reserve = MAX(total_pages / 64, MIB >> PAGE_SHIFT);
}

void frame_release_range(paddr_t start, paddr_t end) {
    uint64_t first = DIV_ROUND_UP(start, PAGE_SIZE), last = end >> PAGE_SHIFT;
    for (uint64_t page = first; page < last; page++) {
        ASSERT(FRAMES[page].kind == FRAME_RESERVED);
        FRAMES[page] = (struct frame){.kind = FRAME_FREE};
    }
    if (first >= last)
        return;
    spin_lock(&frame_lock);
    reserved_pages -= last - first;
    buddy_add(&buddy, first, last);
    spin_unlock(&frame_lock);
}

static bool enough_for(unsigned flags, uint64_t pages) {
    return !(flags & FRAME_USER) || buddy.free_pages >= user_reserve + pages;
}

// Takes a block of 2^order frames apart into the stock. Interrupts off, frame_lock held.
static bool stock_add_block(struct frame_stock *s, unsigned order) {
    uint64_t page = buddy_alloc(&buddy, order, false);
    if (page == NO_BLOCK)
        return false;
    for (uint64_t i = BIT(order); i-- > 0;) { // ascending addresses come out
        struct frame *f = &FRAMES[page + i];
        f->kind = FRAME_FREE;
        f->flags = 0;
        stock_push(s, f);
    }
    return true;
}

// Interrupts off.
static bool stock_refill(struct frame_stock *s, unsigned flags) {
    spin_lock(&frame_lock);
    if (enough_for(flags, BIT(STOCK_ORDER)) && !stock_add_block(s, STOCK_ORDER))
        (void)stock_add_block(s, 0); // memory is scarce and in pieces
    spin_unlock(&frame_lock);
    return s->top;
}

static void stock_drain(struct frame_stock *s, unsigned keep) {
    spin_lock(&frame_lock);
    while (s->count > keep)
        buddy_free(&buddy, stock_pop(s) - FRAMES, 0);
    spin_unlock(&frame_lock);
}

static inline void account(enum frame_kind kind, int64_t pages) {
    stocks[local_cpu()].pages[kind] += pages;
}

static inline struct frame *prepare(struct frame *f, unsigned order, enum frame_kind kind) {
    f->refs = 1;
    f->kind = kind;
    f->order = order;
    f->flags = 0;
    f->owner = NULL;
    f->index = 0;
    f->rmap = 0;
    return f;
}

// One page from this processor's stock. *zeroed: it is clear already.
static struct frame *alloc_single(unsigned flags, enum frame_kind kind, bool *zeroed) {
    bool on = local_lock();
    __typeof__(&stocks[0]) stock = &stocks[local_cpu()];
    struct frame *f = NULL;
    *zeroed = false;
    if (flags & FRAME_ZERO)
        *zeroed = (f = stock_pop(&stock->zeroed));
    if (!f)
        f = stock_pop(&stock->free);
    if (!f && stock_refill(&stock->free, flags))
        f = stock_pop(&stock->free);
    if (!f && !(flags & FRAME_USER))
        f = stock_pop(&stock->zeroed);
    if (likely(f))
        stock->pages[kind]++;
    local_unlock(on);
    return f;
}

static struct frame *alloc_block(unsigned order, unsigned flags, enum frame_kind kind) {
    struct frame *f = NULL;
    spin_lock(&frame_lock);
    if (enough_for(flags, BIT(order))) {
        uint64_t page = buddy_alloc(&buddy, order, flags & FRAME_BELOW4G);
        if (page != NO_BLOCK) {
            f = &FRAMES[page];
            account(kind, BIT(order));
        }
    }
    spin_unlock(&frame_lock);
    return f;
}

static struct frame *alloc_once(unsigned order, unsigned flags, enum frame_kind kind) {
    bool zeroed = false;
    struct frame *f = order == 0 && !(flags & FRAME_BELOW4G) ? alloc_single(flags, kind, &zeroed)
                                                             : alloc_block(order, flags, kind);
    if (unlikely(!f))
        return NULL;
    prepare(f, order, kind);
    if ((flags & FRAME_ZERO) && !zeroed) {
        char *p = frame_virt(f);
        for (uint64_t i = 0; i < BIT(order); i++)
            page_clear(p + i * PAGE_SIZE);
    }
    return f;
}

struct frame *frame_alloc(unsigned order, unsigned flags, enum frame_kind kind) {
    struct pool *pool = NULL;
    if (flags & FRAME_USER) {
        struct process *p = current_process();
        pool = p ? p->pool : NULL;
        if (pool && !pool_charge(pool, BIT(order)))
            return NULL;
    }
    struct frame *f = alloc_once(order, flags, kind);
    if (unlikely(!f) && !(flags & FRAME_ATOMIC) && local_may_sleep())
        while (!f && reclaim_frames(MAX(BIT(order), 32ull)))
            f = alloc_once(order, flags, kind);
    if (likely(f) && kind == FRAME_ANON)
        f->owner = pool;
    else if (pool) // failed, or of a kind that cannot remember whom it was charged to
        pool_uncharge(pool, BIT(order));
    return f;
}

static inline void release_owner(struct frame *f, unsigned order) {
    ASSERT(f->kind > FRAME_RESERVED && f->kind < FRAME_KIND_COUNT && f->rmap == 0);
    if (f->kind == FRAME_ANON && f->owner)
        pool_uncharge(f->owner, BIT(order));
}

static void free_single(struct frame *f, bool zeroed) {
    release_owner(f, 0);
    bool on = local_lock();
    __typeof__(&stocks[0]) stock = &stocks[local_cpu()];
    stock->pages[f->kind]--;
    f->kind = FRAME_FREE;
    f->flags = 0;
    f->refs = 0;
    if (zeroed && stock->zeroed.count < ZEROED_MAX) {
        stock_push(&stock->zeroed, f);
    } else {
        stock_push(&stock->free, f);
        if (stock->free.count > STOCK_MAX)
            stock_drain(&stock->free, STOCK_MAX / 2);
    }
    local_unlock(on);
}

static void free_block(struct frame *f, unsigned order) {
    spin_lock(&frame_lock);
    account(f->kind, -(int64_t)BIT(order));
    f->kind = FRAME_FREE;
    f->flags = 0;
    f->refs = 0;
    buddy_free(&buddy, f - FRAMES, order);
    spin_unlock(&frame_lock);
}

void frame_put(struct frame *f) {
    uint32_t before = __atomic_fetch_sub(&f->refs, 1, __ATOMIC_ACQ_REL);
    ASSERT(before > 0);
    if (before > 1)
        return;
    if (f->order == 0) {
        free_single(f, false);
    } else {
        release_owner(f, f->order);
        free_block(f, f->order);
    }
}

void frame_put_zeroed(struct frame *f) {
    ASSERT(f->refs == 1 && f->order == 0);
    free_single(f, true);
}

void frame_split(struct frame *f, unsigned order) {
    ASSERT(f->order == order && f->refs == 1);
    f->order = 0;
    for (uint64_t i = 1; i < BIT(order); i++) {
        prepare(&f[i], 0, f->kind);
        f[i].owner = f->owner;
    }
}

void frame_put_large(struct frame *head) {
    unsigned single = 0;
    while (single < BIT(ORDER_2M) && READ_ONCE(head[single].refs) == 1)
        single++;
    if (single < BIT(ORDER_2M)) { // somebody still looks at a part of it
        for (unsigned i = 0; i < BIT(ORDER_2M); i++)
            frame_put(&head[i]);
        return;
    }
    release_owner(head, ORDER_2M); // all were charged to the same pool
    for (unsigned i = 1; i < BIT(ORDER_2M); i++) {
        head[i].refs = 0;
        head[i].kind = FRAME_FREE;
    }
    free_block(head, ORDER_2M);
}

bool frame_zero_some(void) {
    bool on = local_lock();
    __typeof__(&stocks[0]) stock = &stocks[local_cpu()];
    struct frame *f = stock->zeroed.count < ZEROED_MAX ? stock_pop(&stock->free) : NULL;
    if (!f && stock->zeroed.count < ZEROED_MAX && buddy.free_pages > 2 * user_reserve &&
        stock_refill(&stock->free, FRAME_USER))
        f = stock_pop(&stock->free);
    if (f) {
        page_clear(frame_virt(f));
        stock_push(&stock->zeroed, f);
    }
    local_unlock(on);
    return f;
}

uint64_t frame_free_hint(void) {
    return READ_ONCE(buddy.free_pages);
}

void memory_stats(struct memory_stats *s) {
    int64_t pages[FRAME_KIND_COUNT] = {0};
    uint64_t stocked = 0;
    for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++) {
        stocked += stocks[cpu].free.count + stocks[cpu].zeroed.count;
        for (unsigned kind = 0; kind < FRAME_KIND_COUNT; kind++)
            pages[kind] += READ_ONCE(stocks[cpu].pages[kind]);
    }
    *s = (struct memory_stats){
        .total = total_pages,
        .free = frame_free_hint() + stocked,
        .kernel = pages[FRAME_KERNEL] + reserved_pages,
        .tables = pages[FRAME_TABLE_PAGE],
        .anon = pages[FRAME_ANON],
        .cache = pages[FRAME_CACHE],
    };
}

void *pages_alloc(unsigned order) {
    struct frame *f = frame_alloc(order, FRAME_ZERO | FRAME_ATOMIC, FRAME_KERNEL);
    return f ? frame_virt(f) : NULL;
}

void pages_free(void *p) {
    if (p)
        frame_put(phys_frame(virt_to_phys(p)));
}
