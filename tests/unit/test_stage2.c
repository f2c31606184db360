/* sources: kernel/lib/tree.c kernel/mm/buddy.c kernel/mm/frame.c kernel/mm/heap.c kernel/mm/rmap.c kernel/mm/pagetable.c kernel/mm/region.c kernel/mm/space.c kernel/mm/remap.c kernel/mm/fork.c kernel/mm/fault.c kernel/mm/notify.c vmm/stage2.c vmm/stage2_table.c vmm/stage2_dirty.c vmm/slots.c vmm/watch.c vmm/breakpoint.c vmm/guest_memory.c tests/unit/stage2_model.c tests/unit/mm_host.c tests/unit/vmm_mock.c */
// Random operations on processes and their VMs against a model (stage2_model.h).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "mm/region.h"
#include "vmm/guest_memory.h"
#include "vmm/slots.h"
#include "vmm/stage2_table.h"
#include "mm_host.h"
#include "mm/rmap.h"
#include "stage2_model.h"
#include "vmm_mock.h"

// ---- operations --------------------------------------------------------------------------------

// Creates or deletes a slot, moves it, or turns its log on or off.
static void change_slot(struct machine *m) {
    unsigned id = model_below(SLOTS);
    struct slot_model *s = &m->slots[id];
    uint64_t gpa = id * 2000 * PAGE_SIZE + model_below(3) * 100 * PAGE_SIZE;
    if (!s->there) {
        // The first is congruent with the process's addresses modulo 2 MB, the others share memory with it.
        *s = (struct slot_model){.there = true, .read_only = id == 2, .logged = model_below(2)};
        s->first = id == 0 ? 100 : model_below(100);
        s->pages = id == 0 ? PAGES - 100 : 1 + model_below(1500);
        s->gpa = id == 0 ? 0 : gpa;
    } else if (!model_below(3)) {
        model_set_slot(m, id, s->gpa, 0, s->first, 0);
        s->there = false;
        return;
    } else if (model_below(2) && id) {
        s->gpa = gpa;
    } else {
        s->logged = !s->logged;
        memset(s->dirty, 0, sizeof(s->dirty));
    }
    model_set_slot(m, id, s->gpa, s->pages, s->first,
                   (s->read_only ? KVM_MEM_READONLY : 0) |
                       (s->logged ? KVM_MEM_LOG_DIRTY_PAGES : 0));
}

// As reclaim and sharing by content will.
static void disturb(struct machine *m, unsigned i) {
    struct frame *f;
    bool writable;
    uint64_t size;
    if (space_get_frame(m->vm.space, model_at(i), ACCESS_READ, &f, &writable, &size))
        return;
    assert_true(rmap_write_protect(f));
    frame_put(f);
}

static void step(void) {
    static const int rights[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
                                 PROT_READ | PROT_WRITE};
    struct machine *m = &machines[model_below(VMS)];
    if (!m->used)
        return;
    unsigned first = model_below(PAGES), n = 1 + model_below(model_below(4) ? 20 : 700);
    n = MIN(n, PAGES - first);
    switch (model_below(24)) {
    case 0: model_map(m, first, n, rights[model_below(4)]); break;
    case 1:
        assert_int_equal(space_unmap(m->vm.space, model_at(first), n * PAGE_SIZE), 0);
        memset(&m->pages[first], 0, n * sizeof(m->pages[0]));
        break;
    case 2: model_protect(m, first, n, rights[model_below(4)]); break;
    case 3:
        space_advise(m->vm.space, model_at(first), n * PAGE_SIZE, MADV_DONTNEED);
        for (unsigned i = first; i < first + n; i++)
            m->pages[i].value = 0;
        break;
    case 4: model_clone(m); break;
    case 5:
        if (m != machines)
            model_end(m);
        break;
    case 6: disturb(m, first); break;
    case 7: model_map(m, 100, 1024, PROT_READ | PROT_WRITE); break; // two 2 MB pages
    case 8: change_slot(m); break;
    case 9: model_collect(m); break;
    case 10: stage2_write_protect_all(m->vm.stage2); break;
    case 11: stage2_unmap(m->vm.stage2, model_some_gpa(m), n * PAGE_SIZE); break;
    case 12: model_vmm_write(m, model_some_gpa(m)); break;
    case 13:
    case 14: model_host_write(m, first); break;
    default:
        for (unsigned i = 0; i < 30; i++)
            model_check_access(m, model_some_gpa(m), model_below(2));
    }
}

static void run_seed(unsigned seed, unsigned steps) {
    struct memory_stats before;
    host_memory_init();
    memory_stats(&before);
    srand(seed);
    memset(machines, 0, sizeof(machines));
    mock_on_flush = model_on_flush;
    mock_lacks[ABILITY_DIRTY_BITS] = seed % 3 == 0;
    model_begin(machines, space_create());
    model_map(machines, 0, PAGES, PROT_READ | PROT_WRITE);
    for (unsigned i = 0; i < steps; i++) {
        step();
        for (unsigned k = 0; k < VMS; k++)
            if (machines[k].used) {
                model_check_tlb(&machines[k]);
                model_check_access(&machines[k], model_some_gpa(&machines[k]), false);
            }
    }
    for (unsigned k = 0; k < VMS; k++) {
        if (!machines[k].used)
            continue;
        for (uint64_t gpa = 0; gpa < 6500 * PAGE_SIZE; gpa += PAGE_SIZE)
            model_check_access(&machines[k], gpa, false);
        model_end(&machines[k]);
    }
    mock_lacks[ABILITY_DIRTY_BITS] = false;
    host_assert_no_leak(&before);
}

static void test_random(void **state) {
    (void)state;
    for (unsigned seed = 1; seed <= 12; seed++)
        run_seed(seed, 1500);
    assert_true(model_flushes > 1000); // the check did see something
}

// ---- single cases ------------------------------------------------------------------------------

static void test_large_pages(void **state) {
    (void)state;
    struct machine *m = model_machine();
    unsigned level;
    model_check_access(m, 0x5000, true);
    assert_non_null(stage2_lookup(m->vm.stage2, 0x5000, &level));
    assert_int_equal(level, 2);
    unsigned flushes = mock_stage2_flushes;
    for (uint64_t gpa = 0; gpa < LARGE_PAGE_SIZE; gpa += PAGE_SIZE)
        assert_non_null(stage2_lookup(m->vm.stage2, gpa, &level));
    assert_int_equal(flushes, mock_stage2_flushes); // filling needs none
    // One page of it goes: the others stay mapped.
    space_advise(m->vm.space, model_at(100 + 7), PAGE_SIZE, MADV_DONTNEED);
    assert_int_equal(mock_stage2_flushes, flushes + 1);
    assert_null(stage2_lookup(m->vm.stage2, 7 * PAGE_SIZE, &level));
    assert_non_null(stage2_lookup(m->vm.stage2, 8 * PAGE_SIZE, &level));
    assert_int_equal(level, 1);
    // Memory that no slot shows changes without any flush.
    space_advise(m->vm.space, model_at(3), PAGE_SIZE, MADV_DONTNEED);
    assert_int_equal(mock_stage2_flushes, flushes + 1);
    model_end(m);
}

static void test_neighbours(void **state) {
    (void)state;
    struct machine *m = model_machine();
    unsigned level;
    space_advise(m->vm.space, model_at(0), PAGES * PAGE_SIZE, MADV_NOHUGEPAGE);
    for (unsigned i = 0; i < 64; i++)
        model_host_write(m, 100 + i);
    model_check_access(m, 20 * PAGE_SIZE, false);
    for (unsigned i = 0; i < 64; i++) {
        uint64_t *e = stage2_lookup(m->vm.stage2, i * PAGE_SIZE, &level);
        assert_int_equal(e != NULL, i / 16 == 1);
        if (e && !mock_lacks[ABILITY_DIRTY_BITS])
            assert_int_equal(!!(*e & MOCK_ACCESSED), i == 20);
    }
    model_end(m);
}

// fork: one flush, and only what is written afterwards is copied.
static void test_checkpoint(void **state) {
    (void)state;
    struct machine *m = model_machine();
    for (unsigned i = 0; i < 1024; i++)
        model_check_access(m, i * PAGE_SIZE, true);
    unsigned flushes = mock_stage2_flushes;
    model_clone(m);
    assert_int_equal(mock_stage2_flushes, flushes + 1);
    struct memory_stats before, after;
    memory_stats(&before);
    model_check_access(m, 5 * PAGE_SIZE, true);
    model_check_access(m, 700 * PAGE_SIZE, true);
    memory_stats(&after);
    assert_int_equal(after.anon, before.anon + 2);
    for (unsigned i = 0; i < 1024; i++) {
        model_check_access(&machines[1], i * PAGE_SIZE, false);
        model_check_access(m, i * PAGE_SIZE, false);
    }
    model_end(&machines[1]);
    for (unsigned i = 0; i < 1024; i++)
        model_check_access(m, i * PAGE_SIZE, true);
    model_end(m);
}

static void test_compare_exchange(void **state) {
    (void)state;
    struct machine *m = model_machine();
    uint64_t value = 0x1234567890;
    assert_int_equal(vm_write(&m->vm, 0x8, &value, 8), 0);
    assert_int_equal(vm_compare_exchange(&m->vm, 8, 8, 1, 2), -EAGAIN);
    assert_int_equal(vm_compare_exchange(&m->vm, 8, 8, value, 7), 0);
    assert_int_equal(vm_compare_exchange(&m->vm, 12, 4, 0, 9), 0);
    assert_int_equal(vm_read(&m->vm, 8, &value, 8), 0);
    assert_int_equal(value, 0x900000007);
    assert_int_equal(vm_compare_exchange(&m->vm, 1ull << 40, 8, 0, 0), -EFAULT);
    struct memory_slot last = {0};
    assert_int_equal(vm_read_near(&m->vm, &last, 8, &value, 8), 0);
    assert_int_equal(value, 0x900000007);
    assert_int_equal(vm_read_near(&m->vm, &last, 1ull << 40, &value, 8), -EFAULT);
    model_end(m);
}

int main(int argc, char **argv) {
    if (argc > 2) { // a longer run: SEED STEPS
        run_seed(atoi(argv[1]), atoi(argv[2]));
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_pages), cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_checkpoint),  cmocka_unit_test(test_compare_exchange),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
