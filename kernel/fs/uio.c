// Transfers between kernel buffers and the caller's memory.
#include "fs/uio.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/uaccess.h"

enum direction { OUT, IN, ZERO };

// Inline, and so is transfer(): one version of both for each direction, without the tests.
static always_inline int move(struct uio *u, enum direction dir, char *buf, void *caller,
                              size_t n) {
    if (u->kernel) {
        if (dir == OUT)
            memcpy(caller, buf, n);
        else if (dir == IN)
            memcpy(buf, caller, n);
        else
            memset(caller, 0, n);
        return 0;
    }
    if (dir == OUT)
        return copy_to_user(caller, buf, n);
    if (dir == IN)
        return copy_from_user(buf, caller, n);
    return clear_user(caller, n);
}

static always_inline ssize_t transfer(struct uio *u, enum direction dir, char *buf, size_t n) {
    size_t done = 0;
    n = MIN(n, u->resid);
    if (likely(n <= u->vec->len && u->vec_count == 1)) { // the usual read() or write()
        if (n && move(u, dir, buf, u->vec->base, n))
            return -EFAULT;
        u->vec->base = (char *)u->vec->base + n;
        u->vec->len -= n;
        u->resid -= n;
        return n;
    }
    while (done < n) {
        struct uio_vec *v = u->vec;
        size_t part = MIN(v->len, n - done);
        if (move(u, dir, buf + done, v->base, part))
            return done ? (ssize_t)done : -EFAULT;
        v->base = (char *)v->base + part;
        v->len -= part;
        u->resid -= part;
        done += part;
        if (!v->len && u->vec_count > 1) {
            u->vec++;
            u->vec_count--;
        }
    }
    return done;
}

ssize_t uio_write_out(struct uio *u, const void *buf, size_t n) {
    return transfer(u, OUT, (char *)buf, n);
}

ssize_t uio_read_in(struct uio *u, void *buf, size_t n) {
    return transfer(u, IN, buf, n);
}

ssize_t uio_zero(struct uio *u, size_t n) {
    return transfer(u, ZERO, NULL, n);
}
