/* sources: kernel/lib/tree.c kernel/mm/buddy.c kernel/mm/frame.c kernel/mm/heap.c kernel/mm/rmap.c kernel/mm/pagetable.c kernel/mm/region.c kernel/mm/space.c kernel/mm/remap.c kernel/mm/fork.c kernel/mm/fault.c kernel/mm/notify.c tests/unit/mm_host.c */
// Random operations on several spaces against a model that knows what each page must hold, with a
// follower of the notifiers that checks that it is told of every change, as EPT will rely on it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "mm_host.h"
#include "mm/pagetable.h"
#include "mm/region.h"

#define PAGES      1800 // not a multiple of 512: ends inside a 2 MB page
#define BASE       (0x40000000ull - 100 * PAGE_SIZE)
#define FILE_PAGES 64
#define SPACES     4

struct page { // what the model expects
    bool mapped, shared, from_file;
    int prot;
    unsigned file_page;
    uint64_t value; // private pages; ~0: what the file has now
};
struct shadow {
    struct frame *frame;
    bool writable;
};
struct user {
    struct space *space;
    struct page pages[PAGES];
    struct shadow shadow[PAGES];
    struct space_notifier notifier;
    bool flush_due;
};
#define FROM_FILE (~0ull)

static struct user users[SPACES];
static struct file *file;
static uint64_t next_value;

static unsigned below(unsigned n) {
    return (unsigned)rand() % n;
}
static uint64_t at(unsigned page) {
    return BASE + page * PAGE_SIZE;
}

static void on_invalidate(struct space_notifier *n, uint64_t start, uint64_t end) {
    struct user *u = container_of(n, struct user, notifier);
    assert_true(spin_held(&tables_lock));
    for (unsigned i = 0; i < PAGES; i++)
        if (at(i) >= start && at(i) < end)
            u->shadow[i].frame = NULL;
    u->flush_due = true;
}
static void on_write_protect(struct space_notifier *n) {
    struct user *u = container_of(n, struct user, notifier);
    for (unsigned i = 0; i < PAGES; i++)
        u->shadow[i].writable = false;
    u->flush_due = true;
}
static void on_flush(struct space_notifier *n) {
    assert_false(spin_held(&tables_lock));
    container_of(n, struct user, notifier)->flush_due = false;
}

static void attach(struct user *u, struct space *s) {
    u->space = s;
    memset(u->shadow, 0, sizeof(u->shadow));
    u->notifier = (struct space_notifier){
        .invalidate = on_invalidate, .write_protect_all = on_write_protect, .flush = on_flush};
    space_add_notifier(s, &u->notifier);
}

// What the follower believes must be true of the page tables.
static void check_shadow(struct user *u) {
    assert_false(u->flush_due);
    for (unsigned i = 0; i < PAGES; i++) {
        if (!u->shadow[i].frame)
            continue;
        uint64_t *pde = pt_pde(u->space, at(i), false);
        assert_true(pde && *pde);
        uint64_t e = *pde & PTE_LARGE ? *pde : *pt_entry(pde, at(i));
        struct frame *f = entry_frame(e) + (*pde & PTE_LARGE ? table_index(at(i), 1) : 0);
        assert_true(e & PTE_PRESENT);
        assert_ptr_equal(f, u->shadow[i].frame);
        if (u->shadow[i].writable)
            assert_true(e & PTE_WRITE && *pde & PTE_WRITE);
    }
}

static uint64_t expected(const struct page *p) {
    if (p->shared || (p->from_file && p->value == FROM_FILE))
        return host_file_value(file, p->file_page);
    return p->value;
}

static void check_page(struct user *u, unsigned i) {
    const struct page *p = &u->pages[i];
    struct frame *f;
    bool writable;
    uint64_t size;
    int err = space_get_frame(u->space, at(i), ACCESS_READ, &f, &writable, &size);
    assert_int_equal(err, p->mapped && p->prot ? 0 : -EFAULT);
    if (err)
        return;
    assert_true(!writable || p->prot & PROT_WRITE);
    assert_int_equal(*(uint64_t *)frame_virt(f), expected(p));
    u->shadow[i] = (struct shadow){f, writable};
    frame_put(f);
}

static void write_page(struct user *u, unsigned i) {
    struct page *p = &u->pages[i];
    uint64_t v = ++next_value;
    long n = space_copy(u->space, at(i), &v, sizeof(v), true);
    if (!p->mapped || !(p->prot & PROT_WRITE)) {
        assert_int_equal(n, -EFAULT);
        return;
    }
    assert_int_equal(n, sizeof(v));
    if (!p->shared)
        p->value = v;
}

static void map_pages(struct user *u, unsigned first, unsigned n, int prot, int kind) {
    bool from_file = kind > 0, shared = kind == 2;
    unsigned offset = from_file ? below(FILE_PAGES) : 0;
    if (from_file && n > FILE_PAGES - offset)
        n = FILE_PAGES - offset;
    int flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED | (from_file ? 0 : MAP_ANONYMOUS);
    long r = space_map(u->space, at(first), n * PAGE_SIZE, prot, flags, from_file ? file : NULL,
                       offset * PAGE_SIZE);
    assert_int_equal(r, at(first));
    for (unsigned i = 0; i < n; i++)
        u->pages[first + i] = (struct page){.mapped = true,
                                            .shared = shared,
                                            .from_file = from_file,
                                            .prot = prot,
                                            .file_page = offset + i,
                                            .value = from_file ? FROM_FILE : 0};
}

static void protect_pages(struct user *u, unsigned first, unsigned n, int prot) {
    bool whole = true;
    for (unsigned i = first; i < first + n; i++)
        whole &= u->pages[i].mapped;
    int err = space_protect(u->space, at(first), n * PAGE_SIZE, prot);
    assert_int_equal(err, whole ? 0 : -ENOMEM);
    for (unsigned i = first; whole && i < first + n; i++)
        u->pages[i].prot = prot;
}

static void drop_pages(struct user *u, unsigned first, unsigned n) {
    space_advise(u->space, at(first), n * PAGE_SIZE, MADV_DONTNEED);
    for (unsigned i = first; i < first + n; i++)
        u->pages[i].value = u->pages[i].from_file ? FROM_FILE : 0;
}

// Moves n pages to another place, when they lie in one region.
static void move_pages(struct user *u, unsigned first, unsigned n, unsigned to) {
    struct region *r = space_find(u->space, at(first));
    if (!r || r->end < at(first + n) || (to < first + n && first < to + n))
        return;
    long res = space_remap(u->space, at(first), n * PAGE_SIZE, n * PAGE_SIZE,
                           MREMAP_MAYMOVE | MREMAP_FIXED, at(to));
    assert_int_equal(res, at(to));
    memmove(&u->pages[to], &u->pages[first], n * sizeof(u->pages[0]));
    memset(&u->pages[first], 0, n * sizeof(u->pages[0]));
}

static void fork_user(struct user *u) {
    for (unsigned i = 0; i < SPACES; i++) {
        if (users[i].space)
            continue;
        struct space *child = space_fork(u->space);
        assert_false(IS_ERR(child));
        memcpy(users[i].pages, u->pages, sizeof(u->pages));
        attach(&users[i], child);
        return;
    }
}

static void end_user(struct user *u) {
    space_remove_notifier(u->space, &u->notifier);
    space_put(u->space);
    u->space = NULL;
}

// As reclaim, sharing by content and compression will.
static void disturb(struct user *u, unsigned i) {
    struct page *p = &u->pages[i];
    struct frame *f;
    bool writable;
    uint64_t size;
    if (space_get_frame(u->space, at(i), ACCESS_READ, &f, &writable, &size))
        return;
    if (p->shared || (p->from_file && p->value == FROM_FILE))
        assert_true(rmap_unmap_all(f));
    else
        assert_true(rmap_write_protect(f));
    frame_put(f);
}

static void step(void) {
    static const int rights[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
                                 PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC};
    struct user *u = &users[below(SPACES)];
    if (!u->space)
        return;
    unsigned first = below(PAGES), n = 1 + below(below(4) ? 20 : 700);
    n = MIN(n, PAGES - first);
    int prot = rights[below(5)];
    switch (below(16)) {
    case 0: map_pages(u, first, n, prot, 0); break;
    case 1: map_pages(u, first, n, prot, 1 + below(2)); break;
    case 2:
        assert_int_equal(space_unmap(u->space, at(first), n * PAGE_SIZE), 0);
        memset(&u->pages[first], 0, n * sizeof(u->pages[0]));
        break;
    case 3: protect_pages(u, first, n, prot); break;
    case 4: drop_pages(u, first, n); break;
    case 5: move_pages(u, first, n, below(PAGES - n + 1)); break;
    case 6: fork_user(u); break;
    case 7:
        if (u != &users[0])
            end_user(u);
        break;
    case 8: disturb(u, first); break;
    case 9: map_pages(u, 100, 1024, PROT_READ | PROT_WRITE, 0); break; // two 2 MB pages
    default:
        for (unsigned i = 0; i < 20; i++)
            write_page(u, below(PAGES));
    }
}

static void check_all(void) {
    for (unsigned k = 0; k < SPACES; k++) {
        if (!users[k].space)
            continue;
        check_shadow(&users[k]);
        for (unsigned i = 0; i < PAGES; i++)
            check_page(&users[k], i);
        check_shadow(&users[k]);
    }
}

static void run_seed(unsigned seed, unsigned steps) {
    struct memory_stats before;
    host_memory_init();
    memory_stats(&before);
    file = host_file_create(FILE_PAGES);
    srand(seed);
    memset(users, 0, sizeof(users));
    attach(&users[0], space_create());
    for (unsigned i = 0; i < steps; i++) {
        step();
        for (unsigned k = 0; k < SPACES; k++) {
            if (!users[k].space)
                continue;
            check_shadow(&users[k]);
            check_page(&users[k], below(PAGES));
        }
        if (i % 100 == 99)
            check_all();
    }
    check_all();
    for (unsigned k = 0; k < SPACES; k++)
        if (users[k].space)
            end_user(&users[k]);
    host_file_destroy(file);
    host_assert_no_leak(&before);
}

static void test_random(void **state) {
    (void)state;
    for (unsigned seed = 1; seed <= 12; seed++)
        run_seed(seed, 1500);
}

int main(int argc, char **argv) {
    if (argc > 2) { // a longer run: SEED STEPS
        run_seed(atoi(argv[1]), atoi(argv[2]));
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
