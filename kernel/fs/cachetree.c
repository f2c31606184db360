// A radix tree from page numbers to slots: 64 slots per node, as high as the largest number needs.
#include "fs/pagecache_internal.h"
#include "mm/heap.h"

#define FANOUT_SHIFT 6u
#define FANOUT       (1u << FANOUT_SHIFT)

struct tree_level {
    uintptr_t slot[FANOUT];
};

static inline unsigned slot_number(uint64_t index, unsigned level) {
    return index >> (level * FANOUT_SHIFT) & (FANOUT - 1);
}

static inline bool in_reach(const struct pagecache *c, uint64_t index) {
    unsigned bits = c->height * FANOUT_SHIFT;
    return bits >= 64 || !(index >> bits);
}

uintptr_t *cachetree_find(struct pagecache *c, uint64_t index) {
    if (!in_reach(c, index))
        return NULL;
    uintptr_t *s = &c->root;
    for (unsigned level = c->height; level-- > 0;) {
        if (!*s)
            return NULL;
        s = &((struct tree_level *)*s)->slot[slot_number(index, level)];
    }
    return s;
}

uintptr_t *cachetree_make(struct pagecache *c, uint64_t index) {
    while (!in_reach(c, index)) {
        if (c->root) {
            struct tree_level *top = kzalloc(sizeof(*top));
            if (!top)
                return NULL;
            top->slot[0] = c->root;
            c->root = (uintptr_t)top;
        }
        c->height++;
    }
    uintptr_t *s = &c->root;
    for (unsigned level = c->height; level-- > 0;) {
        if (!*s && !(*s = (uintptr_t)kzalloc(sizeof(struct tree_level))))
            return NULL;
        s = &((struct tree_level *)*s)->slot[slot_number(index, level)];
    }
    return s;
}

uintptr_t *cachetree_next(struct pagecache *c, uint64_t *index) {
    while (in_reach(c, *index)) {
        uintptr_t *s = &c->root;
        unsigned level = c->height;
        while (*s && level > 0)
            s = &((struct tree_level *)*s)->slot[slot_number(*index, --level)];
        if (*s)
            return s;
        // Nothing in this subtree of 64^level pages: go behind it.
        uint64_t last = *index | (level * FANOUT_SHIFT >= 64 ? UINT64_MAX
                                                             : (1ull << level * FANOUT_SHIFT) - 1);
        if (last == UINT64_MAX)
            return NULL;
        *index = last + 1;
    }
    return NULL;
}

static void free_level(uintptr_t node, unsigned level) {
    if (!node || !level)
        return;
    for (unsigned i = 0; i < FANOUT && level > 1; i++)
        free_level(((struct tree_level *)node)->slot[i], level - 1);
    kfree((void *)node);
}

void cachetree_free(struct pagecache *c) {
    spin_lock(&c->lock);
    if (!c->pages) {
        free_level(c->root, c->height);
        c->root = 0;
        c->height = 0;
    }
    spin_unlock(&c->lock);
}
