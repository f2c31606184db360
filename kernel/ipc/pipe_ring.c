// See pipe_ring.h.
#include "ipc/pipe_ring.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/heap.h"

int pipe_ring_init(struct pipe_ring *r, uint32_t slots) {
    *r = (struct pipe_ring){.pages = kzalloc(slots * sizeof(void *)), .slots = slots};
    return r->pages ? 0 : -ENOMEM;
}

void pipe_ring_destroy(struct pipe_ring *r) {
    for (uint32_t i = 0; r->pages && i < r->slots; i++)
        if (r->pages[i])
            pages_free(r->pages[i]);
    kfree(r->pages);
}

// The slot that byte number `pos` falls into.
static void **ring_slot(struct pipe_ring *r, uint64_t pos) {
    return &r->pages[pos / PAGE_SIZE & (r->slots - 1)];
}

ssize_t pipe_ring_read(struct pipe_ring *r, struct uio *u) {
    size_t done = 0;
    while (u->resid && r->tail != r->head) {
        size_t offset = r->tail % PAGE_SIZE;
        size_t n = MIN(r->head - r->tail, PAGE_SIZE - offset);
        ssize_t moved = uio_write_out(u, (char *)*ring_slot(r, r->tail) + offset, n);
        if (moved <= 0)
            return done ? (ssize_t)done : moved;
        WRITE_ONCE(r->tail, r->tail + moved);
        done += moved;
    }
    // Empty: start again in the first page, which is in the cache.
    if (r->tail == r->head)
        r->tail = r->head = 0;
    return done;
}

ssize_t pipe_ring_write(struct pipe_ring *r, struct uio *u) {
    size_t done = 0;
    while (u->resid && pipe_ring_free(r)) {
        size_t offset = r->head % PAGE_SIZE;
        void **page = ring_slot(r, r->head);
        if (!*page && !(*page = pages_alloc(0)))
            return done ? (ssize_t)done : -ENOMEM;
        size_t n = MIN(pipe_ring_free(r), PAGE_SIZE - offset);
        ssize_t moved = uio_read_in(u, (char *)*page + offset, n);
        if (moved <= 0)
            return done ? (ssize_t)done : moved;
        WRITE_ONCE(r->head, r->head + moved);
        done += moved;
    }
    return done;
}

int pipe_ring_resize(struct pipe_ring *r, uint32_t slots) {
    size_t used = pipe_ring_used(r);
    if (used > slots * PAGE_SIZE)
        return -EBUSY;
    struct pipe_ring new;
    int err = pipe_ring_init(&new, slots);
    if (err)
        return err;
    // Page by page through a kernel uio: the offsets in the pages differ between the rings.
    while (pipe_ring_used(r)) {
        size_t offset = r->tail % PAGE_SIZE;
        size_t n = MIN(r->head - r->tail, PAGE_SIZE - offset);
        struct uio_vec vec;
        struct uio u;
        uio_init(&u, &vec, (char *)*ring_slot(r, r->tail) + offset, n, true);
        ssize_t moved = pipe_ring_write(&new, &u);
        if (moved < 0 || u.resid) {
            r->tail = r->head - used;
            pipe_ring_destroy(&new);
            return -ENOMEM;
        }
        r->tail += n;
    }
    pipe_ring_destroy(r);
    *r = new;
    return 0;
}
