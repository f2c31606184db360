// The bytes of a pipe: a ring of pages. Pages are allocated when first written and kept until the
// ring goes, so that a steady flow allocates nothing. No locking: the pipe's mutex covers a ring.
#pragma once
#include "fs/uio.h"
#include "mm/layout.h"

struct pipe_ring {
    void **pages;   // `slots` of them, NULL until first used
    uint32_t slots; // a power of two
    uint64_t head;  // bytes ever written
    uint64_t tail;  // bytes ever read; head - tail are in the ring
};

// 0 or -ENOMEM. `slots`: capacity in pages, a power of two.
int pipe_ring_init(struct pipe_ring *r, uint32_t slots);
void pipe_ring_destroy(struct pipe_ring *r);
static inline size_t pipe_ring_used(const struct pipe_ring *r) {
    return READ_ONCE(r->head) - READ_ONCE(r->tail);
}
static inline size_t pipe_ring_free(const struct pipe_ring *r) {
    return r->slots * PAGE_SIZE - pipe_ring_used(r);
}
// Moves as many bytes as there are and fit. Returns their number (0: the ring is empty or full), or
// -EFAULT or -ENOMEM when none could be moved. May sleep for user memory.
ssize_t pipe_ring_read(struct pipe_ring *r, struct uio *u);
ssize_t pipe_ring_write(struct pipe_ring *r, struct uio *u);
// Changes the capacity, keeping the contents. 0, -EBUSY (they do not fit) or -ENOMEM.
int pipe_ring_resize(struct pipe_ring *r, uint32_t slots);
