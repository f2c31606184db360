/* sources: vmm/dr.c tests/unit/vmm_mock.c */
// Debug registers and #DB (vmm/dr.c) against the SDM's rules.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "lib/errno.h"
#include "vmm/breakpoint.h"
#include "vmm/clock.h"
#include "vmm/dr.h"
#include "vmm/run.h"
#include "vmm/skip.h"
#include "vmm/spurious.h"
#include "vmm/walk.h"
#include "vmm_mock.h"

// ---- surroundings --------------------------------------------------------------------------------
static struct vm vm;
static struct vcpu vcpu;
static struct kvm_run kvm_run;
static int injected; // vector of the last exception, -1: none
struct vmm_clock vmm_clock = {.rules.skipped = 1};

void vcpu_inject_exception(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error) {
    injected = vector;
    v->event.soft_length = 0;
    (void)has_error, (void)error;
}
void vcpu_debug_changed(struct vcpu *v) {
    (void)v;
}
void vcpu_skip_slow(struct vcpu *v, uint64_t before) {
    (void)v, (void)before;
}
void vcpu_fetch(struct vcpu *v, uint32_t parts) {
    (void)v, (void)parts;
}
int vcpu_step_done(struct vcpu *v) {
    (void)v;
    return 0;
}
static bool event_due;
bool vcpu_event_due(struct vcpu *v) {
    (void)v;
    return event_due;
}
int breakpoint_hit(struct vcpu *v) {
    (void)v;
    return 0;
}
bool spurious_fault(struct vcpu *v, const struct vm_exit *e) {
    (void)v, (void)e;
    return false;
}
int vcpu_translate(struct vcpu *v, uint64_t gva, unsigned access, bool user, uint64_t *gpa,
                   uint32_t *error) {
    (void)v, (void)gva, (void)access, (void)user, (void)gpa, (void)error;
    return 1;
}
int vm_read(struct vm *m, uint64_t gpa, void *buf, size_t n) {
    (void)m, (void)gpa, (void)buf, (void)n;
    return -EFAULT;
}

static int setup(void **state) {
    (void)state;
    memset(&vcpu, 0, sizeof(vcpu));
    vcpu.vm = &vm;
    vcpu.run = &kvm_run;
    vcpu.cr0 = CR0_PE;
    vcpu.dr6 = DR6_FIXED;
    vcpu.dr7 = DR7_FIXED;
    vcpu.rip = 0x1000;
    injected = -1;
    event_due = false;
    return 0;
}

static void set_64(void) {
    vcpu.efer = EFER_LMA;
    vcpu.seg[SEG_CS].l = 1;
}

// MOV to (or from) a debug register with RBX; the vector of the exception, -1: none.
static int mov_dr(unsigned number, bool from) {
    injected = -1;
    dr_exit(&vcpu, &(struct vm_exit){.kind = EXIT_DR,
                                     .length = 3,
                                     .cr = {.number = number, .gpr = GPR_RBX, .access = from}});
    return injected;
}

// ---- MOV DR --------------------------------------------------------------------------------------
static void test_moves(void **state) {
    (void)state;
    set_64();
    vcpu.gpr[GPR_RBX] = 0x123456789a;
    assert_int_equal(mov_dr(2, false), -1);
    assert_int_equal(vcpu.rip, 0x1003);
    assert_int_equal(vcpu.dr[2], 0x123456789a);
    vcpu.gpr[GPR_RBX] = 0x1ffff;
    assert_int_equal(mov_dr(6, false), -1);
    assert_int_equal(mov_dr(6, true), -1);
    assert_int_equal(vcpu.gpr[GPR_RBX], 0xffffeffful);
    vcpu.gpr[GPR_RBX] = 1ull << 32;
    assert_int_equal(mov_dr(6, false), VECTOR_GP);
    assert_int_equal(mov_dr(7, false), VECTOR_GP);
    vcpu.gpr[GPR_RBX] = 0x401;
    assert_int_equal(mov_dr(5, false), -1); // an alias of DR7
    assert_int_equal(vcpu.dr7, 0x401);
    vcpu.cr4 = CR4_DE;
    assert_int_equal(mov_dr(5, false), VECTOR_UD);
}

// Outside of 64-bit mode operands have 32 bits, whatever 64-bit code has left above them.
static void test_width(void **state) {
    (void)state;
    vcpu.gpr[GPR_RBX] = 0xffff888000000401;
    assert_int_equal(mov_dr(7, false), -1);
    assert_int_equal(vcpu.dr7, 0x401);
    assert_int_equal(mov_dr(1, false), -1);
    assert_int_equal(vcpu.dr[1], 0x401);
    vcpu.dr[3] = 0xffff888012345678; // written in 64-bit mode
    assert_int_equal(mov_dr(3, true), -1);
    assert_int_equal(vcpu.gpr[GPR_RBX], 0x12345678);
}

static void test_privilege_and_guard(void **state) {
    (void)state;
    vcpu.seg[SEG_SS].dpl = 3;
    assert_int_equal(mov_dr(0, false), VECTOR_GP);
    vcpu.seg[SEG_SS].dpl = 0;
    vcpu.dr7 |= DR7_GD;
    assert_int_equal(mov_dr(0, false), VECTOR_DB);
    assert_true(vcpu.dr6 & DR6_BD);
    assert_false(vcpu.dr7 & DR7_GD); // its handler may use them
    assert_int_equal(vcpu.rip, 0x1000);
}

// ---- #DB -----------------------------------------------------------------------------------------
static int exception(uint8_t vector, uint8_t type, uint64_t bits) {
    return exception_exit(
        &vcpu, &(struct vm_exit){.kind = EXIT_EXCEPTION,
                                 .length = 1,
                                 .exception = {.vector = vector, .type = type, .address = bits}});
}

static void test_debug_exception(void **state) {
    (void)state;
    vcpu.dr6 |= 1;
    assert_int_equal(exception(VECTOR_DB, 3, DR6_BS | 4), 1);
    assert_int_equal(injected, VECTOR_DB);
    assert_int_equal(vcpu.dr6, DR6_FIXED | DR6_BS | 4);
    assert_int_equal(vcpu.event.soft_length, 0);
}

// The debugger's: DR0 at an instruction, DR1 at data. Where an interrupt or a stop is due, the former waits.
static void test_event_before_breakpoint(void **state) {
    (void)state;
    vcpu.guest_debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    vcpu.hw_dr7 = DR7_FIXED | 0xa | 1ull << 20;
    assert_int_equal(exception(VECTOR_DB, 3, 1), 0);
    assert_int_equal(kvm_run.debug.arch.dr6, DR6_FIXED | 1);
    event_due = true;
    vcpu.attention = false;
    assert_int_equal(exception(VECTOR_DB, 3, 1), 1);
    assert_int_equal(injected, -1);
    assert_true(vcpu.attention);
    assert_int_equal(exception(VECTOR_DB, 3, 1 | 2), 0);
    assert_int_equal(kvm_run.debug.arch.dr6, DR6_FIXED | 2);
    // The guest's own trap is not lost.
    assert_int_equal(exception(VECTOR_DB, 3, 1 | DR6_BS), 1);
    assert_int_equal(injected, VECTOR_DB);
    assert_int_equal(vcpu.dr6, DR6_FIXED | DR6_BS);
}

// INT1 is a trap: its handler returns behind it. DR6 does not tell of it.
static void test_int1(void **state) {
    (void)state;
    vcpu.dr6 |= 1;
    vcpu.dr7 |= DR7_GD;
    assert_int_equal(exception(VECTOR_DB, 5, 0), 1);
    assert_int_equal(injected, VECTOR_DB);
    assert_int_equal(vcpu.event.soft_length, 1);
    assert_int_equal(vcpu.dr6, DR6_FIXED | 1);
    assert_false(vcpu.dr7 & DR7_GD);
    assert_true(vcpu.skipped);
    assert_int_equal(vcpu.count, 1);
}

static void test_int3(void **state) {
    (void)state;
    assert_int_equal(exception(VECTOR_BP, 6, 0), 1);
    assert_int_equal(injected, VECTOR_BP);
    assert_int_equal(vcpu.event.soft_length, 1);
    vcpu.guest_debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
    assert_int_equal(exception(VECTOR_BP, 6, 0), 0);
    assert_int_equal(kvm_run.exit_reason, KVM_EXIT_DEBUG);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_moves),
        TEST(test_width),
        TEST(test_privilege_and_guard),
        TEST(test_debug_exception),
        TEST(test_int1),
        TEST(test_int3),
        TEST(test_event_before_breakpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
