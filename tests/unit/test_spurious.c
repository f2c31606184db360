/* sources: vmm/spurious.c */
// Which faults the guest never sees. The walk itself is tested in test_walk.c; here it is scripted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "vmm/spurious.h"

static struct {
    uint64_t gva;
    unsigned access, calls;
    bool user, allowed;
} walk;

int vcpu_translate(struct vcpu *v, uint64_t gva, unsigned access, bool user, uint64_t *gpa,
                   uint32_t *error) {
    walk.gva = gva;
    walk.access = access;
    walk.user = user;
    walk.calls++;
    *gpa = 0x1000;
    *error = 7;
    return walk.allowed ? 0 : 1;
}

static bool fault(uint32_t error, bool allowed) {
    static struct vcpu v;
    struct vm_exit e = {
        .kind = EXIT_EXCEPTION,
        .exception = {.vector = 14, .has_error = true, .error = error, .address = 0x7fff1234}};
    walk.allowed = allowed;
    walk.calls = 0;
    return spurious_fault(&v, &e);
}

static void stale_right_is_hidden(void **state) {
    assert_true(fault(3, true)); // a write by the kernel
    assert_int_equal(walk.gva, 0x7fff1234);
    assert_int_equal(walk.access, ACCESS_WRITE);
    assert_false(walk.user);
    assert_true(fault(7, true)); // by a user
    assert_true(walk.user);
    assert_true(fault(5, true));
    assert_int_equal(walk.access, ACCESS_READ);
    assert_true(fault(0x15, true));
    assert_int_equal(walk.access, ACCESS_EXEC);
}

static void real_faults_are_the_guests(void **state) {
    assert_false(fault(3, false));
    assert_false(fault(7, false));
    assert_false(fault(0x15, false));
    assert_false(fault(0xd, false)); // reserved bit
}

static void absent_pages_need_no_walk(void **state) {
    assert_false(fault(2, true));
    assert_int_equal(walk.calls, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stale_right_is_hidden),
        cmocka_unit_test(real_faults_are_the_guests),
        cmocka_unit_test(absent_pages_need_no_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
