// The kernel heap: size classes from slabs; above 2 KiB whole pages.
//
// A free object holds a link to the next one and a word that only a free object holds (a secret
// mixed with its address), which exposes double frees. Each processor has a stack of free objects
// per class, used with interrupts off and no lock; it exchanges half of it with the slabs when it
// runs empty or full. A slab counts its free objects and goes back to the page allocator when it is
// all free and another one with free objects exists.
#include "mm/heap.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/percpu.h"
#include "sync/spinlock.h"

#define LARGEST 2048

// Multiples of 16; from 64 on multiples of 64, so that objects are aligned as promised.
static const uint16_t class_size[] = {16,  32,  48,  64,  128,  192,  256,
                                      320, 448, 576, 768, 1024, 1344, 2048};
#define CLASS_COUNT ARRAY_SIZE(class_size)
static uint8_t class_of[LARGEST / 16 + 1]; // by size in units of 16 bytes, rounded up

struct object {
    struct object *next;
    uint64_t mark;
};

// Lives at the start of its memory, which is 2^slab_order(class) aligned pages.
struct slab {
    struct list_node node; // in partial, or unlinked when no object is free
    struct object *free;
    uint32_t free_count, total;
    uint64_t pad[4];
};
_Static_assert(sizeof(struct slab) == 64, "keeps the objects aligned");

static struct spinlock heap_lock = SPINLOCK_INIT; // covers slabs and lists
static struct list_node partial[CLASS_COUNT];     // slabs with free objects
static struct {
    struct object *free;
    unsigned count;
} magazines[MAX_CPUS][CLASS_COUNT]; // each only by its own processor, interrupts off
static uint64_t secret;

static inline unsigned slab_order(unsigned class) {
    return class_size[class] <= 256 ? 0 : 2;
}
// How many objects a processor may keep.
static inline unsigned magazine_max(unsigned class) {
    return class_size[class] <= 256 ? 32 : 8;
}
static inline uint64_t free_mark(const struct object *o) {
    return secret ^ (uint64_t)o;
}

static struct slab *slab_create(unsigned class) {
    unsigned order = slab_order(class);
    struct frame *f = frame_alloc(order, FRAME_ATOMIC, FRAME_KERNEL);
    if (!f)
        return NULL;
    for (unsigned i = 0; i < BIT(order); i++) { // kfree() finds the class by any of the pages
        f[i].kind = FRAME_KERNEL;
        f[i].flags = FRAME_SLAB | class << FRAME_CLASS_SHIFT;
    }
    struct slab *s = frame_virt(f);
    *s = (struct slab){0};
    s->total = s->free_count = ((PAGE_SIZE << order) - sizeof(*s)) / class_size[class];
    for (unsigned i = s->total; i-- > 0;) {
        struct object *o = (void *)((char *)(s + 1) + (size_t)i * class_size[class]);
        *o = (struct object){s->free, free_mark(o)};
        s->free = o;
    }
    list_add_head(&partial[class], &s->node);
    return s;
}

static void slab_destroy(struct slab *s, unsigned class) {
    list_remove(&s->node);
    struct frame *f = phys_frame(virt_to_phys(s));
    for (unsigned i = 0; i < BIT(slab_order(class)); i++) {
        f[i].kind = i ? FRAME_FREE : FRAME_KERNEL;
        f[i].flags = 0;
    }
    frame_put(f);
}

// Fills half of this processor's magazine. Interrupts off.
static void magazine_fill(unsigned cpu, unsigned class) {
    __typeof__(&magazines[0][0]) m = &magazines[cpu][class];
    spin_lock(&heap_lock);
    while (m->count < magazine_max(class) / 2) {
        struct slab *s = list_first(&partial[class], struct slab, node);
        if (!s && !(s = slab_create(class)))
            break;
        struct object *o = s->free;
        s->free = o->next;
        if (--s->free_count == 0)
            list_remove(&s->node);
        o->next = m->free;
        m->free = o;
        m->count++;
    }
    spin_unlock(&heap_lock);
}

static void magazine_drain(unsigned cpu, unsigned class) {
    __typeof__(&magazines[0][0]) m = &magazines[cpu][class];
    spin_lock(&heap_lock);
    while (m->count > magazine_max(class) / 2) {
        struct object *o = m->free;
        m->free = o->next;
        m->count--;
        struct slab *s = (void *)ROUND_DOWN((uint64_t)o, PAGE_SIZE << slab_order(class));
        if (s->free_count++ == 0)
            list_add_tail(&partial[class], &s->node);
        o->next = s->free;
        s->free = o;
        if (s->free_count == s->total && partial[class].next != partial[class].prev)
            slab_destroy(s, class);
    }
    spin_unlock(&heap_lock);
}

void heap_init(void) {
    for (unsigned class = 0; class < CLASS_COUNT; class ++)
        list_init(&partial[class]);
    for (unsigned units = 0, class = 0; units <= LARGEST / 16; units++) {
        while (class_size[class] < units * 16)
            class ++;
        class_of[units] = class;
    }
    secret = rdtsc() * 0x9e3779b97f4a7c15ull | 1;
}

static void *alloc_pages(size_t size) {
    if (size > PAGE_SIZE << ORDER_MAX)
        return NULL;
    unsigned order = 0;
    while (PAGE_SIZE << order < size)
        order++;
    struct frame *f = frame_alloc(order, FRAME_ATOMIC, FRAME_KERNEL);
    return f ? frame_virt(f) : NULL;
}

void *kmalloc(size_t size) {
    if (unlikely(size > LARGEST))
        return alloc_pages(size);
    unsigned class = class_of[(size + 15) / 16];
    bool on = local_lock();
    unsigned cpu = local_cpu();
    if (unlikely(!magazines[cpu][class].free))
        magazine_fill(cpu, class);
    struct object *o = magazines[cpu][class].free;
    if (likely(o)) {
        ASSERTF(o->mark == free_mark(o), "written after kfree: %p", (void *)o);
        magazines[cpu][class].free = o->next;
        magazines[cpu][class].count--;
        o->mark = 0;
    }
    local_unlock(on);
    return o;
}

void *kzalloc(size_t size) {
    void *p = kmalloc(size);
    return p ? memset(p, 0, size) : NULL;
}

void kfree(void *p) {
    if (!p)
        return;
    struct frame *f = phys_frame(virt_to_phys(p));
    ASSERTF(f->kind == FRAME_KERNEL, "not of the heap: %p", p);
    if (!(f->flags & FRAME_SLAB)) {
        ASSERTF(IS_ALIGNED((uint64_t)p, PAGE_SIZE), "not of the heap: %p", p);
        frame_put(f);
        return;
    }
    unsigned class = f->flags >> FRAME_CLASS_SHIFT;
    struct object *o = p;
    bool on = local_lock();
    unsigned cpu = local_cpu();
    __typeof__(&magazines[0][0]) m = &magazines[cpu][class];
    ASSERTF(o->mark != free_mark(o), "freed twice: %p", p);
    *o = (struct object){m->free, free_mark(o)};
    m->free = o;
    if (unlikely(++m->count > magazine_max(class)))
        magazine_drain(cpu, class);
    local_unlock(on);
}

char *kstrdup(const char *s) {
    size_t n = strlen(s) + 1;
    char *copy = kmalloc(n);
    return copy ? memcpy(copy, s, n) : NULL;
}
