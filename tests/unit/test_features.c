/* sources: vmm/intel/features.c */
// What VT-x must have: every capability alone taken away from a processor that has all of them.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "lib/errno.h"
#include "vmm/intel/controls.h"

enum {
    BASIC,
    MISC = 5,
    SECONDARY = 11,
    EPT_VPID,
    PIN,
    PRIMARY,
    EXIT,
    ENTRY,
    MSRS = 32
}; // 480h + n

static uint64_t msr[MSRS];
static bool read_before[MSRS];
static char said[4096];
static unsigned lines;

uint64_t vmx_capability(uint32_t number) {
    assert_in_range(number, 0x480, 0x480 + MSRS - 1);
    read_before[number - 0x480] = true;
    return msr[number - 0x480];
}
void log_printf(int level, const char *fmt, ...) {
    va_list ap;
    size_t n = strlen(said);
    va_start(ap, fmt);
    vsnprintf(said + n, sizeof(said) - n, fmt, ap);
    va_end(ap);
    lines++;
    (void)level;
}

// All that may be is allowed, nothing is forced on.
static int set_up(void **state) {
    memset(msr, 0, sizeof(msr));
    msr[BASIC] = 1ull << 55 | 42;
    for (unsigned i = PIN; i <= ENTRY; i++)
        msr[i] = 0xffffffffull << 32;
    msr[SECONDARY] = 0xffffffffull << 32;
    msr[EPT_VPID] = UINT64_MAX;
    msr[MISC] = 5;
    memset(&vmx_controls, 0, sizeof(vmx_controls));
    (void)state;
    return 0;
}

static int negotiate(void) {
    memset(read_before, 0, sizeof(read_before));
    said[0] = 0;
    lines = 0;
    return vmx_negotiate();
}

static void all_of_them(void **state) {
    assert_int_equal(negotiate(), 0);
    assert_int_equal(lines, 0);
    const struct vmx_controls *c = &vmx_controls;
    assert_int_equal(c->revision, 42);
    assert_int_equal(c->timer_shift, 5);
    assert_true(c->secondary & CPU2_EPT && c->secondary & CPU2_UNRESTRICTED &&
                c->secondary & CPU2_VPID);
    assert_true(c->pin & PIN_PREEMPTION_TIMER);
    // What is switched on for single entries is off, and may be on.
    assert_int_equal(c->primary & (CPU_PAUSE | CPU_RDTSC | CPU_IRQ_WINDOW), 0);
    assert_int_equal(c->primary_may & (CPU_PAUSE | CPU_RDTSC | CPU_IRQ_WINDOW),
                     CPU_PAUSE | CPU_RDTSC | CPU_IRQ_WINDOW);
}

// One bit of one MSR: either nobody misses it, or it is refused in one line that names it.
static unsigned take_away(unsigned which, unsigned first, unsigned last) {
    unsigned refusals = 0;
    for (unsigned bit = first; bit <= last; bit++) {
        set_up(NULL);
        msr[which] &= ~(1ull << bit);
        int r = negotiate();
        assert_int_equal(lines, r ? 1 : 0);
        if (!r)
            continue;
        assert_int_equal(r, -ENODEV);
        assert_non_null(strstr(said, "this processor lacks "));
        refusals++;
    }
    return refusals;
}

static void one_is_missing(void **state) {
    assert_int_equal(take_away(PIN, 32, 63), 4);
    assert_int_equal(take_away(PRIMARY, 32, 63), 11);
    assert_int_equal(take_away(SECONDARY, 32, 63), 2);
    assert_int_equal(take_away(EXIT, 32, 63), 6);
    assert_int_equal(take_away(ENTRY, 32, 63), 3);
    assert_int_equal(take_away(EPT_VPID, 0, 31), 6);
    assert_int_equal(take_away(BASIC, 55, 55), 1);
}

static void their_names(void **state) {
    msr[SECONDARY] &= ~((uint64_t)CPU2_UNRESTRICTED << 32);
    assert_int_equal(negotiate(), -ENODEV);
    assert_non_null(strstr(said, "lacks \"unrestricted guest\" (secondary controls)"));
    set_up(NULL);
    msr[PIN] &= ~((uint64_t)PIN_PREEMPTION_TIMER << 32);
    assert_int_equal(negotiate(), -ENODEV);
    assert_non_null(strstr(said, "lacks \"VMX-preemption timer\" (pin controls)"));
}

// Everything that can be asked for is named at once; an MSR that does not exist is not read.
static void all_that_is_missing_is_named(void **state) {
    msr[PIN] = msr[PRIMARY] = msr[EXIT] = msr[ENTRY] = 0;
    assert_int_equal(negotiate(), -ENODEV);
    assert_int_equal(lines, 4 + 11 + 6 + 3);
    assert_false(read_before[SECONDARY] || read_before[EPT_VPID]);
    set_up(NULL);
    msr[SECONDARY] = 0;
    assert_int_equal(negotiate(), -ENODEV);
    assert_int_equal(lines, 2);
    assert_false(read_before[EPT_VPID]);
}

static void no_vpid_without_its_invalidations(void **state) {
    static const unsigned bits[] = {32, 41, 42}; // INVVPID, of one context, of all
    for (unsigned i = 0; i < 3; i++) {
        set_up(NULL);
        msr[EPT_VPID] &= ~(1ull << bits[i]);
        assert_int_equal(negotiate(), 0);
        assert_int_equal(vmx_controls.secondary & CPU2_VPID, 0);
    }
}

static void what_must_not_be_is_refused(void **state) {
    msr[PRIMARY] |= CPU_CR3_LOAD; // forced on
    assert_int_equal(negotiate(), -ENODEV);
    assert_non_null(strstr(said, "CR3 exiting cannot be switched off"));
    set_up(NULL);
    msr[PRIMARY] |= 1u << 1; // a reserved one that must be 1 is copied
    assert_int_equal(negotiate(), 0);
    assert_true(vmx_controls.primary & 1u << 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_of_them, set_up),
        cmocka_unit_test_setup(one_is_missing, set_up),
        cmocka_unit_test_setup(their_names, set_up),
        cmocka_unit_test_setup(all_that_is_missing_is_named, set_up),
        cmocka_unit_test_setup(no_vpid_without_its_invalidations, set_up),
        cmocka_unit_test_setup(what_must_not_be_is_refused, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
