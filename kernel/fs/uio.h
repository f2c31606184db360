// A transfer to or from one or several buffers in user or kernel memory, as in BSD.
#pragma once
#include "lib/compiler.h"
#include "lib/types.h"

struct uio_vec {
    void *base;
    size_t len;
};
struct uio {
    struct uio_vec *vec; // next piece
    unsigned vec_count;  // pieces left
    size_t resid;        // bytes left in all
    bool kernel;         // buffers are kernel memory
};

// One buffer. `vec` is storage for the caller's stack.
static inline void uio_init(struct uio *u, struct uio_vec *vec, void *base, size_t len,
                            bool kernel) {
    *vec = (struct uio_vec){base, len};
    *u = (struct uio){.vec = vec, .vec_count = 1, .resid = len, .kernel = kernel};
}
// Moves min(n, resid) bytes out of / into `buf` (kernel memory); returns the number or -EFAULT
// when nothing could be moved. May sleep (user memory).
ssize_t uio_write_out(struct uio *u, const void *buf, size_t n); // a read: kernel → caller
ssize_t uio_read_in(struct uio *u, void *buf, size_t n);         // a write: caller → kernel
ssize_t uio_zero(struct uio *u, size_t n);                       // a read of zeroes
