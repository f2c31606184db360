/* sources: kernel/ipc/pipe_ring.c */
// The ring of a pipe against a simple queue of bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "ipc/pipe_ring.h"
#include "lib/errno.h"
#include "mm/frame.h"

static int pages_left = 1000, pages_in_use;

void *pages_alloc(unsigned order) {
    if (pages_left == 0)
        return NULL;
    pages_left--;
    pages_in_use++;
    return calloc(1, PAGE_SIZE << order);
}
void pages_free(void *p) {
    pages_left++;
    pages_in_use--;
    free(p);
}
static ssize_t move(struct uio *u, void *buf, size_t n, bool out) {
    n = MIN(n, u->resid);
    memcpy(out ? u->vec->base : buf, out ? buf : u->vec->base, n);
    u->vec->base = (char *)u->vec->base + n;
    u->resid -= n;
    return n;
}
ssize_t uio_write_out(struct uio *u, const void *buf, size_t n) {
    return move(u, (void *)buf, n, true);
}
ssize_t uio_read_in(struct uio *u, void *buf, size_t n) {
    return move(u, buf, n, false);
}

static ssize_t put(struct pipe_ring *r, void *p, size_t n) {
    struct uio_vec v;
    struct uio u;
    uio_init(&u, &v, p, n, true);
    return pipe_ring_write(r, &u);
}
static ssize_t get(struct pipe_ring *r, void *p, size_t n) {
    struct uio_vec v;
    struct uio u;
    uio_init(&u, &v, p, n, true);
    return pipe_ring_read(r, &u);
}

static void test_random(void **unused) {
    (void)unused;
    struct pipe_ring r;
    uint8_t in = 0, out = 0, buf[20000];
    uint32_t slots = 4;
    size_t used = 0;
    srand(1);
    assert_int_equal(pipe_ring_init(&r, slots), 0);
    for (int i = 0; i < 20000; i++) {
        size_t n = rand() % (i % 3 ? 300 : sizeof(buf));
        if (rand() % 2) {
            for (size_t k = 0; k < n; k++)
                buf[k] = in + k;
            size_t wanted = MIN(n, slots * PAGE_SIZE - used);
            assert_int_equal(put(&r, buf, n), wanted);
            in += wanted;
            used += wanted;
        } else {
            size_t wanted = MIN(n, used);
            assert_int_equal(get(&r, buf, n), wanted);
            for (size_t k = 0; k < wanted; k++)
                assert_int_equal(buf[k], (uint8_t)(out + k));
            out += wanted;
            used -= wanted;
        }
        assert_int_equal(pipe_ring_used(&r), used);
        if (i % 50 == 0) {
            uint32_t want = 1u << rand() % 5;
            int err = pipe_ring_resize(&r, want);
            assert_int_equal(err, used > want * PAGE_SIZE ? -EBUSY : 0);
            if (!err)
                slots = want;
        }
    }
    pipe_ring_destroy(&r);
    assert_int_equal(pages_in_use, 0);
}

static void test_no_memory(void **unused) {
    (void)unused;
    struct pipe_ring r;
    static char buf[4 * 4096];
    pipe_ring_init(&r, 4);
    pages_left = 2;
    assert_int_equal(put(&r, buf, sizeof(buf)), 2 * PAGE_SIZE); // what there were pages for
    assert_int_equal(put(&r, buf, 1), -ENOMEM);
    assert_int_equal(pipe_ring_resize(&r, 8), -ENOMEM);
    assert_int_equal(pipe_ring_used(&r), 2 * PAGE_SIZE); // as it was
    assert_int_equal(get(&r, buf, sizeof(buf)), 2 * PAGE_SIZE);
    pages_left = 1000;
    pipe_ring_destroy(&r);
    assert_int_equal(pages_in_use, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
