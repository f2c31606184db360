/* sources: kernel/lib/tree.c kernel/mm/buddy.c kernel/mm/frame.c kernel/mm/heap.c kernel/mm/rmap.c kernel/mm/pagetable.c kernel/mm/region.c kernel/mm/space.c kernel/mm/remap.c kernel/mm/fork.c kernel/mm/fault.c kernel/mm/notify.c vmm/stage2.c vmm/stage2_table.c vmm/stage2_dirty.c vmm/slots.c vmm/watch.c vmm/breakpoint.c vmm/guest_memory.c tests/unit/stage2_model.c tests/unit/mm_host.c tests/unit/vmm_mock.c */
// Watches and breakpoints on the pages of a VM (vmm/watch.c, vmm/breakpoint.c).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "stage2_model.h"
#include "vmm/breakpoint.h"
#include "vmm/guest_memory.h"
#include "vmm/watch.h"
#include "vmm_mock.h"

static struct vm_exit violation(uint64_t gpa, unsigned access) {
    return (struct vm_exit){.kind = EXIT_MEMORY,
                            .memory = {.gpa = gpa,
                                       .read = access & ACCESS_READ,
                                       .write = access & ACCESS_WRITE,
                                       .execute = access & ACCESS_EXEC}};
}

static void set_watch(struct machine *m, uint32_t id, unsigned access, uint64_t gpa, uint64_t len) {
    struct chrono_watch w = {.id = id, .access = access, .gpa = gpa, .len = len};
    mutex_lock(&m->vm.lock);
    assert_int_equal(stage2_set_watch(&m->vm, &w), 0);
    mutex_unlock(&m->vm.lock);
}

static void test_watch(void **state) {
    (void)state;
    struct machine *m = model_machine();
    uint64_t value = 1;
    model_check_access(m, 0x3000, true);
    set_watch(m, 5, CHRONO_WRITE, 0x3100, 4);
    m->cpu.control = CHRONO_WATCHES;
    assert_int_equal(model_access(m, 0x3000, ACCESS_READ, &value), 0);
    // A write beside the watched bytes: stepped over, then closed again.
    assert_int_equal(model_access(m, 0x3200, ACCESS_WRITE, &value), 2);
    struct vm_exit e = violation(0x3200, ACCESS_WRITE);
    assert_int_equal(watch_hit(&m->cpu, &e), 1);
    assert_true(m->cpu.step_over);
    assert_int_equal(model_access(m, 0x3200, ACCESS_WRITE, &value), 0);
    watch_step_done(&m->cpu);
    assert_false(m->cpu.step_over);
    assert_int_equal(model_access(m, 0x3200, ACCESS_WRITE, &value), 2);
    // A write that touches them: reported; without CHRONO_WATCHES stepped over.
    e = violation(0x30fc, ACCESS_WRITE);
    assert_int_equal(watch_hit(&m->cpu, &e), 0);
    assert_int_equal(m->run.exit_reason, KVM_EXIT_CHRONO_WATCH);
    assert_int_equal(m->chrono.watch_gpa, 0x30fc);
    assert_int_equal(m->chrono.watch_id, 5);
    m->cpu.control = 0;
    assert_int_equal(watch_hit(&m->cpu, &e), 1);
    assert_int_equal(model_access(m, 0x30f8, ACCESS_WRITE, &value), 0);
    watch_step_done(&m->cpu);
    // Removed: nothing is denied any more.
    set_watch(m, 5, 0, 0, 0);
    assert_false(m->vm.debugged);
    assert_int_equal(model_access(m, 0x3100, ACCESS_WRITE, &value), 0);
    model_end(m);
}

// Bytes around the one that the exit names count, too, and no others.
static void test_watch_around(void **state) {
    (void)state;
    struct machine *m = model_machine();
    struct vm_exit e = violation(0x3228, ACCESS_WRITE);
    m->cpu.control = CHRONO_WATCHES;
    model_reach = (struct reach){40, 8};
    set_watch(m, 5, CHRONO_WRITE, 0x3200, 1);
    assert_int_equal(watch_hit(&m->cpu, &e), 0);
    set_watch(m, 5, CHRONO_WRITE, 0x31ff, 1);
    assert_int_equal(watch_hit(&m->cpu, &e), 1);
    watch_step_done(&m->cpu);
    set_watch(m, 5, CHRONO_WRITE, 0x3230, 8);
    assert_int_equal(watch_hit(&m->cpu, &e), 1);
    watch_step_done(&m->cpu);
    model_reach = (struct reach){0, 512}; // FXSAVE
    set_watch(m, 5, CHRONO_WRITE, 0x3228 + 511, 1);
    assert_int_equal(watch_hit(&m->cpu, &e), 0);
    model_reach = (struct reach){0, 8};
    model_end(m);
}

static bool catches(struct machine *m, uint64_t linear, uint64_t size, unsigned access) {
    return watch_stops(&m->cpu, linear, size, access, false);
}

// What the VMM accesses for an instruction: the bytes, and entries of the guest's tables on the way.
static void test_watch_catches(void **state) {
    (void)state;
    struct machine *m = model_machine();
    walked = (struct walk_path){.looked = 2,
                                .entry_size = 8,
                                .at = {0x5000, 0x6008},
                                .sets = {false, true},
                                .allowed = true};
    assert_false(catches(m, 0x3000, 0x3000, ACCESS_READ)); // nothing is watched
    set_watch(m, 5, CHRONO_WRITE, 0x4100, 4);
    assert_false(catches(m, 0x3000, 0x3000, ACCESS_WRITE)); // without CHRONO_WATCHES
    m->cpu.control = CHRONO_WATCHES;
    assert_false(catches(m, 0x3000, 0x3000, ACCESS_READ));
    assert_false(catches(m, 0x40fe, 2, ACCESS_WRITE));
    assert_false(catches(m, 0x4104, 4, ACCESS_WRITE));
    assert_true(catches(m, 0x3ffe, 0x200, ACCESS_READ | ACCESS_WRITE)); // on its second page
    assert_int_equal(m->run.exit_reason, KVM_EXIT_CHRONO_WATCH);
    assert_int_equal(m->chrono.watch_gpa, 0x4000);
    assert_int_equal(m->chrono.watch_gva, 0x4000);
    assert_int_equal(m->chrono.watch_id, 5);
    assert_int_equal(m->chrono.watch_access, ACCESS_READ | ACCESS_WRITE);
    walked.allowed = false; // a page fault comes first
    assert_false(catches(m, 0x4100, 4, ACCESS_WRITE));
    set_watch(m, 6, CHRONO_READ, 0x5004, 4); // of the first entry, eight bytes long
    assert_true(catches(m, 0x3000, 1, ACCESS_READ));
    assert_int_equal(m->chrono.watch_gpa, 0x5000);
    assert_int_equal(m->chrono.watch_gva, 0x3000);
    set_watch(m, 6, CHRONO_WRITE, 0x5000, 8); // whose bits are set already
    assert_false(catches(m, 0x3000, 1, ACCESS_READ));
    set_watch(m, 6, CHRONO_WRITE, 0x6008, 8);
    assert_true(catches(m, 0x3000, 1, ACCESS_READ));
    // What is no memory is a device's.
    walked = (struct walk_path){.allowed = true};
    set_watch(m, 5, CHRONO_WRITE, 0x7fff00000000, 8);
    assert_false(catches(m, 0x7fff00000000, 8, ACCESS_WRITE));
    model_end(m);
}

static void test_read_watch_takes_all(void **state) {
    (void)state;
    struct machine *m = model_machine();
    uint64_t value;
    set_watch(m, 1, CHRONO_READ, 0x3000, 1);
    assert_int_equal(model_access(m, 0x3000, ACCESS_READ, &value), 2);
    assert_int_equal(model_access(m, 0x3000, ACCESS_WRITE, &value), 2);
    assert_int_equal(model_access(m, 0x3000, ACCESS_EXEC, &value), 0);
    mock_lacks[ABILITY_EXECUTE_ONLY] = true;
    set_watch(m, 1, CHRONO_READ, 0x3000, 1);
    assert_int_equal(model_access(m, 0x3000, ACCESS_EXEC, &value), 2);
    mock_lacks[ABILITY_EXECUTE_ONLY] = false;
    model_end(m);
}

static int set_breakpoint(struct machine *m, uint64_t gpa, bool set) {
    struct chrono_breakpoint b = {.gpa = gpa, .set = set};
    mutex_lock(&m->vm.lock);
    int err = stage2_set_breakpoint(&m->vm, &b);
    mutex_unlock(&m->vm.lock);
    return err;
}

static void test_breakpoint(void **state) {
    (void)state;
    struct machine *m = model_machine();
    uint64_t value = 0x1122334455667788;
    assert_int_equal(model_access(m, 0x4000, ACCESS_WRITE, &value), 0);
    assert_int_equal(set_breakpoint(m, 0x4001, true), 0);
    assert_int_equal(set_breakpoint(m, 0x4003, false), -ENOENT);
    assert_int_equal(set_breakpoint(m, 0x100000000, true), -EINVAL);
    assert_int_equal(model_access(m, 0x4000, ACCESS_EXEC, &value), 0);
    assert_int_equal(value, 0x112233445566cc88);
    // Reads see the original, one instruction at a time.
    assert_int_equal(model_access(m, 0x4000, ACCESS_READ, &value), 2);
    struct vm_exit e = violation(0x4000, ACCESS_READ);
    m->cpu.control = CHRONO_WATCHES;
    assert_int_equal(watch_hit(&m->cpu, &e), 1);
    assert_int_equal(model_access(m, 0x4000, ACCESS_READ, &value), 0);
    assert_int_equal(value, 0x1122334455667788);
    // A write in such a step is in the next copy.
    value = 0x99;
    assert_int_equal(model_access(m, 0x4000, ACCESS_WRITE, &value), 0);
    watch_step_done(&m->cpu);
    assert_int_equal(model_access(m, 0x4000, ACCESS_EXEC, &value), 0);
    assert_int_equal(value, 0xcc99);
    // So is what the VMM and the process write.
    value = 0x77;
    assert_int_equal(vm_write(&m->vm, 0x4000, &value, 8), 0);
    assert_int_equal(model_access(m, 0x4000, ACCESS_EXEC, &value), 0);
    assert_int_equal(value, 0xcc77);
    model_host_write(m, 104);
    breakpoint_enter(&m->cpu);
    assert_int_equal(model_access(m, 0x4000, ACCESS_EXEC, &value), 0);
    assert_int_equal(value, (m->pages[104].value & ~0xff00ull) | 0xcc00);
    // The exit.
    m->cpu.rip = 0x4001;
    assert_int_equal(breakpoint_hit(&m->cpu), 2);
    m->cpu.control = CHRONO_STEP;
    assert_int_equal(breakpoint_hit(&m->cpu), 1);
    assert_int_equal(model_access(m, 0x4000, ACCESS_EXEC, &value), 0);
    assert_int_equal(value, m->pages[104].value);
    watch_step_done(&m->cpu);
    m->cpu.rip = 0x4000;
    assert_int_equal(breakpoint_hit(&m->cpu), 0);
    assert_int_equal(set_breakpoint(m, 0x4001, false), 0);
    assert_int_equal(model_access(m, 0x4000, ACCESS_WRITE, &value), 0);
    model_end(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch),         cmocka_unit_test(test_watch_around),
        cmocka_unit_test(test_watch_catches), cmocka_unit_test(test_read_watch_takes_all),
        cmocka_unit_test(test_breakpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
