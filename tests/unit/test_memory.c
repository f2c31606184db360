/* sources: kernel/lib/tree.c kernel/mm/buddy.c kernel/mm/frame.c kernel/mm/heap.c kernel/mm/rmap.c kernel/mm/pagetable.c kernel/mm/region.c kernel/mm/space.c kernel/mm/remap.c kernel/mm/fork.c kernel/mm/fault.c kernel/mm/notify.c tests/unit/mm_host.c */
// Frames, heap, and the properties of spaces that a model does not show: what is shared, what is
// copied, how big mappings are.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "mm_host.h"
#include "mm/buddy.h"
#include "mm/heap.h"
#include "mm/pagetable.h"
#include "mm/region.h"

#define AREA  0x200000000ull
#define FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)

static struct memory_stats before;

static int setup(void **state) {
    (void)state;
    host_memory_init();
    host_pool_left = -1;
    memory_stats(&before);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    host_assert_no_leak(&before);
    return 0;
}

static void test_buddy(void **state) {
    (void)state;
    enum { PAGES = 5000 };
    struct buddy b;
    struct frame *table = calloc(8192 * 2, sizeof(*table));
    static unsigned order_of[PAGES];
    static bool used[PAGES], head[PAGES];
    buddy_init(&b, table, 8192);
    buddy_add(&b, 3, PAGES);
    srand(2);
    for (int i = 0; i < 20000; i++) {
        unsigned p = (unsigned)rand() % PAGES;
        if (head[p]) {
            buddy_free(&b, p, order_of[p]);
            head[p] = false;
            for (unsigned k = 0; k < 1u << order_of[p]; k++)
                used[p + k] = false;
            continue;
        }
        unsigned order = (unsigned)rand() % 7;
        uint64_t page = buddy_alloc(&b, order, rand() % 2);
        if (page == NO_BLOCK)
            continue;
        assert_true(page >= 3 && page + (1u << order) <= PAGES && page % (1u << order) == 0);
        table[page].kind = FRAME_KERNEL;
        for (unsigned k = 0; k < 1u << order; k++) {
            assert_false(used[page + k]);
            used[page + k] = true;
        }
        head[page] = true;
        order_of[page] = order;
    }
    for (unsigned p = 0; p < PAGES; p++)
        if (head[p])
            buddy_free(&b, p, order_of[p]);
    assert_int_equal(b.free_pages, PAGES - 3);
    assert_int_equal(buddy_alloc(&b, 11, true), 2048); // everything was joined again
    free(table);
}

static void test_heap(void **state) {
    (void)state;
    static unsigned char *blocks[3000];
    static size_t sizes[3000];
    srand(3);
    for (int i = 0; i < 60000; i++) {
        unsigned k = (unsigned)rand() % 3000;
        if (blocks[k]) {
            for (size_t n = 0; n < sizes[k]; n += 97)
                assert_int_equal(blocks[k][n], k & 255);
            kfree(blocks[k]);
            blocks[k] = NULL;
            continue;
        }
        sizes[k] = 1 + (unsigned)rand() % (rand() % 20 ? 2100 : 20000);
        blocks[k] = kmalloc(sizes[k]);
        assert_non_null(blocks[k]);
        assert_int_equal((uintptr_t)virt_to_phys(blocks[k]) % (sizes[k] >= 64 ? 64 : 16), 0);
        memset(blocks[k], k & 255, sizes[k]);
    }
    for (unsigned k = 0; k < 3000; k++) {
        kfree(blocks[k]);
        blocks[k] = NULL;
    }
    volatile size_t huge = SIZE_MAX;
    assert_null(kmalloc(huge));
}

static void put(struct space *s, uint64_t addr, uint64_t v) {
    assert_int_equal(space_copy(s, addr, &v, sizeof(v), true), sizeof(v));
}
static uint64_t get(struct space *s, uint64_t addr) {
    uint64_t v = ~0ull;
    assert_int_equal(space_copy(s, addr, &v, sizeof(v), false), sizeof(v));
    return v;
}
static uint64_t pde_of(struct space *s, uint64_t va) {
    const uint64_t *pde = pt_pde(s, va, false);
    return pde ? *pde : 0;
}

// fork() of 16 MB of small pages costs tables above the last level only, and no frame is touched.
static void test_fork_shares_tables(void **state) {
    (void)state;
    struct space *s = space_create();
    assert_int_equal(space_map(s, AREA, 16 * MIB, PROT_READ | PROT_WRITE, FLAGS, NULL, 0), AREA);
    space_advise(s, AREA, 16 * MIB, MADV_NOHUGEPAGE);
    for (uint64_t va = AREA; va < AREA + 16 * MIB; va += PAGE_SIZE)
        put(s, va, va);
    struct memory_stats a, b;
    memory_stats(&a);
    struct space *child = space_fork(s);
    memory_stats(&b);
    assert_int_equal(b.anon, a.anon);
    assert_int_equal(b.tables - a.tables, 3);
    assert_int_equal(pde_of(child, AREA), pde_of(s, AREA));
    assert_false(pde_of(s, AREA) & PTE_WRITE);
    assert_int_equal(child->pages_mapped, 4096);

    put(child, AREA + 5 * PAGE_SIZE, 1); // unshares one table, copies one page
    memory_stats(&b);
    assert_int_equal(b.anon - a.anon, 1);
    assert_int_equal(b.tables - a.tables, 4);
    assert_int_equal(get(s, AREA + 5 * PAGE_SIZE), AREA + 5 * PAGE_SIZE);
    space_put(s);
    for (uint64_t va = AREA; va < AREA + 16 * MIB; va += PAGE_SIZE)
        assert_int_equal(get(child, va), va == AREA + 5 * PAGE_SIZE ? 1 : va);
    memory_stats(&a);
    put(child, AREA + 4 * MIB, 2); // the only owner by now: nothing is copied
    memory_stats(&b);
    assert_int_equal(b.anon, a.anon);
    space_put(child);
}

static void test_large(void **state) {
    (void)state;
    struct space *s = space_create();
    assert_int_equal(space_map(s, AREA, 6 * MIB, PROT_READ | PROT_WRITE, FLAGS, NULL, 0), AREA);
    put(s, AREA + 3 * MIB, 7);
    assert_true(pde_of(s, AREA + 2 * MIB) & PTE_LARGE);
    struct space *child = space_fork(s);
    assert_true(pde_of(child, AREA + 2 * MIB) & PTE_LARGE);
    assert_int_equal(get(child, AREA + 3 * MIB), 7);
    put(child, AREA + 3 * MIB, 8); // shared: split for both, one page copied
    assert_false(pde_of(s, AREA + 2 * MIB) & PTE_LARGE);
    assert_int_equal(get(s, AREA + 3 * MIB), 7);
    assert_int_equal(s->pages_mapped, 512);
    space_put(child);

    put(s, AREA, 9);
    assert_true(pde_of(s, AREA) & PTE_LARGE);
    assert_int_equal(space_unmap(s, AREA + 64 * PAGE_SIZE, PAGE_SIZE), 0); // a part of it
    assert_false(pde_of(s, AREA) & PTE_LARGE);
    assert_int_equal(get(s, AREA), 9);
    assert_int_equal(space_fault(s, AREA + 64 * PAGE_SIZE, ACCESS_READ), -EFAULT);
    put(s, AREA + 4 * MIB, 10); // moves as a whole when both places are aligned
    assert_int_equal(space_remap(s, AREA + 4 * MIB, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED,
                                 AREA + 32 * MIB),
                     AREA + 32 * MIB);
    assert_true(pde_of(s, AREA + 32 * MIB) & PTE_LARGE);
    assert_int_equal(get(s, AREA + 32 * MIB), 10);
    space_put(s);
}

static bool count_mapping(const struct mapping *m, void *arg) {
    assert_int_equal(m->addr, AREA + PAGE_SIZE);
    ++*(unsigned *)arg;
    return false;
}
static unsigned mappings(struct frame *f) {
    unsigned n = 0;
    spin_lock(&tables_lock);
    rmap_for_each(f, count_mapping, &n);
    spin_unlock(&tables_lock);
    return n;
}

static void test_rmap(void **state) {
    (void)state;
    struct file *file = host_file_create(4);
    struct frame *f = host_file_frame(file, 1);
    struct space *s[9];
    for (int i = 0; i < 9; i++) {
        s[i] = i % 3 ? space_fork(s[i - 1]) : space_create();
        if (i % 3 == 0) {
            assert_int_equal(space_map(s[i], AREA, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_FIXED, file, 0),
                             AREA);
            put(s[i], AREA + PAGE_SIZE, i);
        }
        assert_int_equal(mappings(f), i + 1);
    }
    assert_true(rmap_unmap_all(f));
    assert_int_equal(f->refs, 1);
    for (int i = 0; i < 9; i++)
        assert_int_equal(get(s[i], AREA + PAGE_SIZE), 6);
    assert_true(rmap_write_protect(f));
    for (int i = 0; i < 9; i++)
        put(s[i], AREA + PAGE_SIZE, 20 + i);
    assert_int_equal(host_file_value(file, 1), 28);
    for (int i = 0; i < 9; i++)
        space_put(s[i]);
    host_file_destroy(file);
}

static void test_limits(void **state) {
    (void)state;
    struct space *s = space_create();
    assert_int_equal(space_map(s, AREA, 64 * PAGE_SIZE, PROT_READ | PROT_WRITE, FLAGS, NULL, 0),
                     AREA);
    host_pool_left = 10;
    unsigned n = 0;
    while (space_fault(s, AREA + n * PAGE_SIZE, ACCESS_WRITE) == 0)
        n++;
    assert_int_equal(n, 10);
    assert_int_equal(space_fault(s, AREA + n * PAGE_SIZE, ACCESS_WRITE), -ENOMEM);
    space_advise(s, AREA, 4 * PAGE_SIZE, MADV_DONTNEED);
    assert_int_equal(host_pool_left, 4);
    space_put(s);
    assert_int_equal(host_pool_left, 10);
    host_pool_left = -1;
}

static void test_arguments(void **state) {
    (void)state;
    struct space *s = space_create();
    const int rw = PROT_READ | PROT_WRITE;
    assert_int_equal(space_map(s, 0, 0, rw, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0), -EINVAL);
    assert_int_equal(space_map(s, 0, PAGE_SIZE, rw, MAP_ANONYMOUS, NULL, 0), -EINVAL);
    assert_int_equal(space_map(s, 0, ~0ull, rw, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0), -ENOMEM);
    assert_int_equal(space_map(s, 0, PAGE_SIZE, rw, FLAGS, NULL, 0), -EPERM);
    assert_int_equal(space_map(s, AREA + 1, PAGE_SIZE, rw, FLAGS, NULL, 0), -EINVAL);
    assert_int_equal(space_map(s, USER_END, PAGE_SIZE, rw, FLAGS, NULL, 0), -ENOMEM);
    assert_int_equal(space_map(s, ~0xfffull, PAGE_SIZE, rw, FLAGS, NULL, 0), -ENOMEM);
    assert_int_equal(space_unmap(s, AREA, ~0ull), -EINVAL);
    assert_int_equal(space_unmap(s, ~0xfffull, PAGE_SIZE), -EINVAL);
    assert_int_equal(space_protect(s, AREA, PAGE_SIZE, rw), -ENOMEM);
    assert_int_equal(space_advise(s, AREA, PAGE_SIZE, 12345), -EINVAL);
    assert_int_equal(space_remap(s, AREA, PAGE_SIZE, PAGE_SIZE, 0, 0), -EFAULT);
    assert_int_equal(space_map(s, AREA, PAGE_SIZE, rw, FLAGS, NULL, 0), AREA);
    assert_int_equal(space_map(s, AREA, PAGE_SIZE, rw,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, NULL, 0),
                     -EEXIST);
    space_put(s);
}

static void count_region(struct region *r, void *arg) {
    (void)r;
    ++*(unsigned *)arg;
}

static void test_regions_merge(void **state) {
    (void)state;
    struct space *s = space_create();
    const int rw = PROT_READ | PROT_WRITE;
    for (unsigned i = 0; i < 8; i++)
        space_map(s, AREA + i * PAGE_SIZE, PAGE_SIZE, rw, FLAGS, NULL, 0);
    assert_int_equal(space_protect(s, AREA + 2 * PAGE_SIZE, PAGE_SIZE, PROT_READ), 0);
    unsigned n = 0;
    space_for_each(s, count_region, &n);
    assert_int_equal(n, 3);
    assert_int_equal(space_protect(s, AREA, 8 * PAGE_SIZE, rw), 0);
    n = 0;
    space_for_each(s, count_region, &n);
    assert_int_equal(n, 1);
    assert_int_equal(s->pages_virtual, 8);
    space_put(s);
}

static void test_stack_grows(void **state) {
    (void)state;
    struct space *s = space_create();
    const uint64_t top = AREA + 64 * MIB;
    space_map(s, top - PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE, FLAGS | MAP_GROWSDOWN, NULL,
              0);
    put(s, top - MIB, 1);
    assert_int_equal(space_fault(s, top - 9 * MIB, ACCESS_WRITE), -EFAULT); // RLIMIT_STACK
    space_put(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buddy),
        cmocka_unit_test_setup(test_heap, setup),
        cmocka_unit_test_setup_teardown(test_fork_shares_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rmap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_regions_merge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stack_grows, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
