/* sources: vmm/intel/invalidate.c tests/unit/vmcs_host.c */
// That each invalidation is issued: Bochs flushes its TLB at every entry and exit, so nothing else would
// notice a missing one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "vmcs_host.h"
#include "vmm/intel/invalidate.h"
#include "vmm/intel/vmx.h"

#define OTHERS 3

static struct {
    unsigned invept, invvpid;
    uint64_t eptp, vpid;
    int invept_type, invvpid_type;
} seen;

void vmx_invept(enum invept_type type, uint64_t eptp) {
    seen.invept++;
    seen.invept_type = type;
    seen.eptp = eptp;
}
void vmx_invvpid(enum invvpid_type type, uint16_t vpid, uint64_t address) {
    seen.invvpid++;
    seen.invvpid_type = type;
    seen.vpid = vpid;
    (void)address;
}
void smp_call_others(void (*fn)(void *arg), void *arg) {
    for (unsigned i = 0; i < OTHERS; i++)
        fn(arg);
}

static int set_up(void **state) {
    vmcs_host_good();
    memset(&seen, 0, sizeof(seen));
    return 0;
}

static void second_level_on_every_processor(void **state) {
    struct vcpu cpu = {0};
    struct vm vm = {.vcpus = {&cpu}, .vcpu_count = 1};
    vmx_flush_stage2(&vm, 0x123000);
    assert_int_equal(seen.invept, 1 + OTHERS);
    assert_int_equal(seen.invept_type, INVEPT_SINGLE);
    assert_int_equal(seen.eptp >> 12, 0x123); // the context is bits 51:12
    assert_int_equal(seen.invvpid, 0);
    assert_int_equal(cpu.costs.tlb_invalidations, 1);
}

static void guest_translations_of_one_vcpu(void **state) {
    struct vmx_vcpu vmx = {.vpid = 77};
    struct vcpu cpu = {.arch = &vmx};
    vmx_flush_guest(&cpu);
    assert_int_equal(seen.invvpid, 1);
    assert_int_equal(seen.invvpid_type, INVVPID_SINGLE);
    assert_int_equal(seen.vpid, 77);
    assert_int_equal(seen.invept, 0);
}

// Without VPIDs every entry and exit flushes, and INVVPID may not exist.
static void without_vpid_nothing(void **state) {
    struct vmx_vcpu vmx = {.vpid = 77};
    struct vcpu cpu = {.arch = &vmx};
    vmx_controls.secondary &= ~CPU2_VPID;
    vmx_flush_guest(&cpu);
    vmx_flush_vpid(77);
    assert_int_equal(seen.invvpid, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(second_level_on_every_processor, set_up),
        cmocka_unit_test_setup(guest_translations_of_one_vcpu, set_up),
        cmocka_unit_test_setup(without_vpid_nothing, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
