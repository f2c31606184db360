#include "mm/region.h"
#include "fs/file.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "mm/heap.h"

#define MMAP_MIN_ADDR (64 * KIB)

static bool region_less(const struct tree_node *a, const struct tree_node *b) {
    return tree_entry(a, struct region, node)->start < tree_entry(b, struct region, node)->start;
}

static bool counts_as_data(const struct region *r) {
    return r->prot & PROT_WRITE && !(r->flags & (MAP_SHARED | MAP_GROWSDOWN));
}

static void account(struct region *r, int sign) {
    int64_t pages = (int64_t)region_pages(r) * sign;
    r->space->pages_virtual += pages;
    if (counts_as_data(r))
        r->space->pages_data += pages;
}

static inline struct region *from_node(struct tree_node *n) {
    return n ? tree_entry(n, struct region, node) : NULL;
}

struct region *region_next(const struct region *r) {
    return from_node(tree_next(&r->node));
}
struct region *region_prev(const struct region *r) {
    return from_node(tree_prev(&r->node));
}

struct region *region_from(struct space *s, uint64_t addr) {
    struct region *best = NULL;
    for (struct tree_node *n = s->regions.root; n;) {
        struct region *r = from_node(n);
        if (addr < r->end) {
            best = r;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

struct region *space_find(struct space *s, uint64_t addr) {
    struct region *r = s->recent;
    if (r && addr >= r->start && addr < r->end)
        return r;
    r = region_from(s, addr);
    if (!r || addr < r->start)
        return NULL;
    s->recent = r;
    return r;
}

static struct region *duplicate(struct space *s, const struct region *what) {
    struct region *r = kmalloc(sizeof(*r));
    if (r) {
        *r = *what;
        r->space = s;
    }
    return r;
}

static void link_region(struct region *r) {
    tree_insert(&r->space->regions, &r->node, region_less);
    account(r, 1);
}

struct region *region_add(struct space *s, const struct region *what) {
    struct region *r = duplicate(s, what);
    if (r)
        link_region(r);
    return r;
}

struct region *region_insert(struct space *s, const struct region *what) {
    struct region *r = region_add(s, what);
    return r ? region_merge(r) : NULL;
}

void region_remove(struct region *r) {
    account(r, -1);
    tree_remove(&r->space->regions, &r->node);
    if (r->space->recent == r)
        r->space->recent = NULL;
    if (r->ops && r->ops->close)
        r->ops->close(r);
    if (r->file)
        file_put(r->file);
    kfree(r);
}

// b follows a.
static bool can_merge(const struct region *a, const struct region *b) {
    return a->end == b->start && a->prot == b->prot && a->flags == b->flags && a->file == b->file &&
           a->ops == b->ops && a->data == b->data && a->no_huge == b->no_huge &&
           a->want_huge == b->want_huge && a->dont_fork == b->dont_fork &&
           (!a->ops || a->pgoff + region_pages(a) == b->pgoff);
}

struct region *region_merge(struct region *r) {
    struct region *other = region_prev(r);
    if (other && can_merge(other, r)) {
        uint64_t end = r->end;
        region_remove(r);
        region_resize(other, other->start, end);
        r = other;
    }
    other = region_next(r);
    if (other && can_merge(r, other)) {
        uint64_t end = other->end;
        region_remove(other);
        region_resize(r, r->start, end);
    }
    return r;
}

void region_resize(struct region *r, uint64_t start, uint64_t end) {
    account(r, -1);
    r->pgoff += ((int64_t)(start - r->start)) >> PAGE_SHIFT;
    r->start = start;
    r->end = end;
    account(r, 1);
}

void region_set_prot(struct region *r, int prot) {
    account(r, -1);
    r->prot = prot;
    account(r, 1);
}

int region_split(struct space *s, uint64_t at) {
    struct region *r = space_find(s, at);
    if (!r || r->start == at)
        return 0;
    struct region *upper = duplicate(s, r);
    if (!upper)
        return -ENOMEM;
    if (upper->file)
        file_get(upper->file);
    upper->start = at;
    upper->pgoff += (at - r->start) >> PAGE_SHIFT;
    region_resize(r, r->start, at);
    link_region(upper);
    if (upper->ops && upper->ops->open)
        upper->ops->open(upper);
    return 0;
}

// The highest hole whose end is at most `top`.
static uint64_t hole_below(struct space *s, uint64_t top, uint64_t len, uint64_t align) {
    struct region *r = region_from(s, top - 1);
    if (r && r->start < top)
        top = r->start;
    struct region *below = r ? region_prev(r) : from_node(tree_last(&s->regions));
    for (;;) {
        uint64_t bottom = below ? below->end : MMAP_MIN_ADDR;
        if (top >= len && ROUND_DOWN(top - len, align) >= MAX(bottom, MMAP_MIN_ADDR))
            return ROUND_DOWN(top - len, align);
        if (!below)
            return 0;
        top = below->start;
        below = region_prev(below);
    }
}

uint64_t region_find_hole(struct space *s, uint64_t len, uint64_t align) {
    if (len > USER_END)
        return 0;
    uint64_t va = s->mmap_base ? hole_below(s, s->mmap_base, len, align) : 0;
    return va ? va : hole_below(s, USER_END, len, align);
}
