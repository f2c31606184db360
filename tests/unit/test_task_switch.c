/* sources: vmm/task_switch.c vmm/segment.c vmm/emulate.c vmm/xmm.c vmm/access.c vmm/fetch.c vmm/operate.c vmm/decode.c vmm/decode_tables.c tests/unit/vmm_guest.c tests/unit/vmm_mock.c */
// Hardware task switches: what is saved, loaded, marked busy and linked, and the exceptions.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "vmm_guest.h"
#include "vmm/emulate.h"
#include "vmm/watch.h"
#include "vmm/x86.h"

#define GDT      0x1000ull
#define OLD      0x2000ull // task state segments
#define NEW      0x3ff0ull // across a page
#define STACK    0x8000ull
#define CODE_SEL 0x08
#define DATA_SEL 0x10
#define OLD_SEL  0x18
#define NEW_SEL  0x20
#define LDT_SEL  0x28
#define USER_SEL 0x30
enum { BY_CALL, BY_IRET, BY_JMP, BY_GATE };

static uint8_t ram[0x10000];
static struct guest g;

static void put(uint64_t at, uint64_t value, unsigned size) {
    memcpy(ram + at, &value, size);
}
static uint64_t get(uint64_t at, unsigned size) {
    uint64_t value = 0;
    memcpy(&value, ram + at, size);
    return value;
}

static void descriptor(unsigned selector, uint64_t base, uint64_t limit, uint64_t access,
                       uint64_t flags) {
    put(GDT + selector,
        (limit & 0xffff) | (base & 0xffffff) << 16 | access << 40 | (limit >> 16 & 15) << 48 |
            flags << 52 | (base >> 24 & 255) << 56,
        8);
}

static uint8_t access_byte(unsigned selector) {
    return ram[GDT + selector + 5];
}

// The new task, in the 32-bit format, with recognizable values.
static void new_task(void) {
    put(NEW + 0x1c, 0x7000, 4);   // CR3
    put(NEW + 0x20, 0x401234, 4); // EIP
    put(NEW + 0x24, 0x246, 4);    // EFLAGS
    for (unsigned i = 0; i < 8; i++)
        put(NEW + 0x28 + 4 * i, i == GPR_RSP ? STACK : 0x1000 + i, 4);
    for (unsigned i = 0; i < 6; i++)
        put(NEW + 0x48 + 4 * i, i == SEG_CS ? CODE_SEL : i == SEG_FS ? 0 : DATA_SEL, 2);
    put(NEW + 0x60, LDT_SEL, 2);
}

static int setup(void **state) {
    guest_init(&g);
    guest_set_32(&g);
    memset(ram, 0, sizeof(ram));
    guest_add_memory(&g, 0, ram, sizeof(ram), false);
    descriptor(CODE_SEL, 0, 0xfffff, 0x9a, 12);
    descriptor(DATA_SEL, 0, 0xfffff, 0x92, 12);
    descriptor(OLD_SEL, OLD, 0x67, 0x8b, 0);
    descriptor(NEW_SEL, NEW, 0x67, 0x89, 0);
    descriptor(LDT_SEL, 0x5000, 0xff, 0x82, 0);
    descriptor(USER_SEL, 0, 0xfffff, 0xf2, 12);
    new_task();
    struct vcpu *v = &g.v;
    v->gdt = (struct kvm_dtable){.base = GDT, .limit = 0x37};
    v->seg[SEG_TR] = (struct kvm_segment){
        .selector = OLD_SEL, .base = OLD, .limit = 0x67, .type = 11, .present = 1};
    for (unsigned i = 0; i < 8; i++)
        v->gpr[i] = 0xaa00 + i;
    for (unsigned i = 0; i < 6; i++)
        v->seg[i].selector = (uint16_t)(0x100 + i);
    v->rip = 0x1000;
    v->rflags = 0x4002; // NT
    v->dr7 = 0x7ff;
    return 0;
}
static int teardown(void **state) {
    guest_free(&g);
    return 0;
}

static int switch_by(unsigned source) {
    struct vm_exit e = {.kind = EXIT_TASK_SWITCH, .length = 7, .vectoring = source == BY_GATE};
    e.task.selector = NEW_SEL;
    e.task.source = (uint8_t)source;
    return emulate_task_switch(&g.v, &e);
}

static void expect_new_task(void) {
    struct vcpu *v = &g.v;
    assert_int_equal(g.exceptions, 0);
    assert_int_equal(v->rip, 0x401234);
    for (unsigned i = 0; i < 8; i++)
        if (i != GPR_RSP)
            assert_int_equal(v->gpr[i], 0x1000 + i);
    assert_int_equal(v->seg[SEG_CS].selector, CODE_SEL);
    assert_int_equal(v->seg[SEG_CS].type, 11); // accessed
    assert_int_equal(access_byte(CODE_SEL), 0x9b);
    assert_int_equal(v->seg[SEG_SS].limit, 0xffffffff);
    assert_true(v->seg[SEG_FS].unusable);
    assert_int_equal(v->seg[SEG_LDTR].base, 0x5000);
    assert_int_equal(v->seg[SEG_TR].selector, NEW_SEL);
    assert_int_equal(v->seg[SEG_TR].type, 11);
    assert_int_equal(access_byte(NEW_SEL), 0x8b);
    assert_true(v->cr0 & CR0_TS);
    assert_int_equal(v->dr7 & 0x155, 0);
}

static void expect_saved(uint64_t eip, uint64_t eflags) {
    assert_int_equal(get(OLD + 0x20, 4), eip);
    assert_int_equal(get(OLD + 0x24, 4), eflags);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(get(OLD + 0x28 + 4 * i, 4), 0xaa00 + i);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(get(OLD + 0x48 + 4 * i, 2), 0x100 + i);
}

static void test_jump(void **state) {
    assert_int_equal(switch_by(BY_JMP), 1);
    expect_new_task();
    expect_saved(0x1007, 0x4002);
    assert_int_equal(access_byte(OLD_SEL), 0x89); // free again
    assert_int_equal(get(NEW, 2), 0);             // no link
    assert_int_equal(g.v.rflags, 0x246);
    assert_int_equal(g.v.count, 1);
}

static void test_call(void **state) {
    assert_int_equal(switch_by(BY_CALL), 1);
    expect_new_task();
    expect_saved(0x1007, 0x4002);
    assert_int_equal(access_byte(OLD_SEL), 0x8b); // still busy
    assert_int_equal(get(NEW, 2), OLD_SEL);
    assert_int_equal(g.v.rflags, 0x4246); // NT
}

static void test_return(void **state) {
    descriptor(NEW_SEL, NEW, 0x67, 0x8b, 0); // the caller is busy
    assert_int_equal(switch_by(BY_IRET), 1);
    expect_new_task();
    expect_saved(0x1007, 2); // without NT
    assert_int_equal(access_byte(OLD_SEL), 0x89);
    assert_int_equal(g.v.rflags, 0x246);
}

// A double fault through a task gate: the way in which kernels report that their stack is gone.
static void test_double_fault(void **state) {
    g.v.event.exception_pending = g.v.event.exception_has_error = true;
    g.v.event.exception_vector = VECTOR_DF;
    assert_int_equal(switch_by(BY_GATE), 1);
    expect_new_task();
    expect_saved(0x1000, 0x4002); // the instruction that faulted
    assert_int_equal(g.v.gpr[GPR_RSP], STACK - 4);
    assert_int_equal(get(STACK - 4, 4), 0);
    assert_false(g.v.event.exception_pending); // delivered
    assert_int_equal(g.v.count, 0);            // the clock counted the delivery already
    assert_int_equal(get(NEW, 2), OLD_SEL);
}

static void test_interrupts_through_gate(void **state) {
    g.v.event.interrupt_pending = true;
    g.v.event.interrupt_soft = true; // INT n: returns behind it
    assert_int_equal(switch_by(BY_GATE), 1);
    assert_int_equal(get(OLD + 0x20, 4), 0x1007);
    assert_false(g.v.event.interrupt_pending);
    assert_int_equal(g.v.gpr[GPR_RSP], STACK); // no error code
}

static void test_nmi_through_gate(void **state) {
    g.v.event.nmi_injected = true;
    assert_int_equal(switch_by(BY_GATE), 1);
    assert_false(g.v.event.nmi_injected);
    assert_true(g.v.interruptibility & BLOCKED_BY_NMI);
    assert_int_equal(get(OLD + 0x20, 4), 0x1000);
}

static void test_address_space(void **state) {
    g.v.cr0 |= CR0_PG;
    g.v.cr3 = 0x6000;
    assert_int_equal(switch_by(BY_JMP), 1);
    assert_int_equal(g.v.cr3, 0x7000);
}

static void test_16_bits(void **state) {
    memset(ram + NEW, 0, 0x80);
    descriptor(NEW_SEL, NEW, 0x2b, 0x81, 0);
    put(NEW + 0x0e, 0x1234, 2); // IP
    put(NEW + 0x10, 0x202, 2);
    for (unsigned i = 0; i < 8; i++)
        put(NEW + 0x12 + 2 * i, 0x2000 + i, 2);
    for (unsigned i = 0; i < 4; i++)
        put(NEW + 0x22 + 2 * i, i == SEG_CS ? CODE_SEL : DATA_SEL, 2);
    assert_int_equal(switch_by(BY_JMP), 1);
    assert_int_equal(g.exceptions, 0);
    assert_int_equal(g.v.rip, 0x1234);
    assert_int_equal(g.v.gpr[GPR_RBX], 0xffff2003);
    assert_int_equal(g.v.seg[SEG_TR].type, 3);
    assert_true(g.v.seg[SEG_GS].unusable && g.v.seg[SEG_LDTR].unusable);
    // And back, saving the 16-bit task.
    struct vm_exit e = {.kind = EXIT_TASK_SWITCH, .length = 2};
    e.task.selector = OLD_SEL;
    e.task.source = BY_JMP;
    put(OLD + 0x4c, CODE_SEL, 2);
    put(OLD + 0x50, DATA_SEL, 2);
    g.v.gpr[GPR_RDX] = 0x12345678;
    (void)emulate_task_switch(&g.v, &e);
    assert_int_equal(get(NEW + 0x0e, 2), 0x1236);
    assert_int_equal(get(NEW + 0x16, 2), 0x5678);
    assert_int_equal(get(NEW + 0x22, 2), DATA_SEL);
}

static void test_virtual_8086(void **state) {
    put(NEW + 0x24, 0x20202, 4);
    put(NEW + 0x4c, 0xf000, 2);
    put(NEW + 0x20, 0xfff0, 4);
    assert_int_equal(switch_by(BY_JMP), 1);
    assert_int_equal(g.exceptions, 0);
    assert_int_equal(g.v.seg[SEG_CS].base, 0xf0000);
    assert_int_equal(g.v.seg[SEG_DS].dpl, 3);
}

// ---- exceptions ------------------------------------------------------------------------------------
static void expect_fault_in_old_task(uint8_t vector, uint32_t error) {
    assert_int_equal(g.exceptions, 1);
    assert_int_equal(g.vector, vector);
    assert_int_equal(g.error, error);
    assert_int_equal(g.v.rip, 0x1000);
    assert_int_equal(g.v.seg[SEG_TR].selector, OLD_SEL);
    assert_int_equal(get(OLD + 0x20, 4), 0);
    assert_int_equal(access_byte(OLD_SEL), 0x8b);
}

static void test_bad_descriptors(void **state) {
    static const struct {
        uint16_t limit;
        uint8_t access, source, vector;
    } cases[] = {
        {0x66, 0x89, BY_JMP, VECTOR_TS},  // too short
        {0x67, 0x8b, BY_JMP, VECTOR_GP},  // busy
        {0x67, 0x89, BY_IRET, VECTOR_TS}, // not busy
        {0x67, 0x09, BY_CALL, VECTOR_NP}, // absent
        {0x67, 0x82, BY_CALL, VECTOR_GP}, // an LDT
        {0x67, 0x92, BY_CALL, VECTOR_GP}, // data
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g.exceptions = 0;
        descriptor(NEW_SEL, NEW, cases[i].limit, cases[i].access, 0);
        assert_int_equal(switch_by(cases[i].source), 1);
        expect_fault_in_old_task(cases[i].vector, NEW_SEL);
    }
    g.exceptions = 0;
    g.v.gdt.limit = NEW_SEL + 6;
    assert_int_equal(switch_by(BY_JMP), 1);
    expect_fault_in_old_task(VECTOR_GP, NEW_SEL);
}

static void test_state_not_mapped(void **state) {
    guest_map(&g, 0, 0x4000, 0); // the new state's second page is missing
    assert_int_equal(switch_by(BY_CALL), 1);
    expect_fault_in_old_task(VECTOR_PF, 2);
    assert_int_equal(g.v.cr2, 0x4000);
}

static void test_bad_segments_of_new_task(void **state) {
    static const struct {
        unsigned seg;
        uint16_t selector;
        uint8_t vector;
    } cases[] = {
        {SEG_CS, 0, VECTOR_TS},        {SEG_CS, DATA_SEL, VECTOR_TS},
        {SEG_SS, 0, VECTOR_TS},        {SEG_SS, CODE_SEL, VECTOR_TS},
        {SEG_SS, USER_SEL, VECTOR_TS}, {SEG_DS, NEW_SEL, VECTOR_TS},
        {SEG_ES, 0x38, VECTOR_TS},     {SEG_CS, CODE_SEL | 3, VECTOR_TS},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        teardown(NULL);
        setup(NULL);
        put(NEW + 0x48 + 4 * cases[i].seg, cases[i].selector, 2);
        assert_int_equal(switch_by(BY_JMP), 1);
        assert_int_equal(g.exceptions, 1);
        assert_int_equal(g.vector, cases[i].vector);
        assert_int_equal(g.error, cases[i].selector & 0xfffc);
        assert_int_equal(g.v.seg[SEG_TR].selector, NEW_SEL); // it is the new task's fault
        assert_int_equal(g.v.rip, 0x401234);
    }
}

static void test_not_present_segments(void **state) {
    descriptor(DATA_SEL, 0, 0xfffff, 0x12, 12);
    assert_int_equal(switch_by(BY_JMP), 1);
    assert_int_equal(g.vector, VECTOR_SS);
    assert_int_equal(g.error, DATA_SEL);
}

static void test_debug_trap(void **state) {
    put(NEW + 0x64, 1, 2);
    assert_int_equal(switch_by(BY_JMP), 1);
    assert_int_equal(g.vector, VECTOR_DB);
    assert_true(g.v.dr6 & DR6_BT);
}

// A watched byte of either task's state or descriptor stops the switch before it has begun.
static void stops_at(unsigned source, uint64_t at, unsigned access, bool stops) {
    uint8_t before[sizeof(ram)];
    memcpy(before, ram, sizeof(ram));
    g.watch = (struct guest_watch){at, 1, access};
    if (!stops) {
        assert_int_equal(switch_by(source), 1);
        return;
    }
    assert_int_equal(switch_by(source), 0);
    assert_int_equal(g.v.run->exit_reason, KVM_EXIT_CHRONO_WATCH);
    assert_int_equal(g.v.rip, 0x1000);
    assert_int_equal(g.v.count, 0);
    assert_memory_equal(ram, before, sizeof(ram));
}

static void test_watches(void **state) {
    g.vm.debugged = true;
    g.v.control = CHRONO_WATCHES;
    stops_at(BY_JMP, OLD + 0x20, ACCESS_WRITE, true);        // EIP is saved
    stops_at(BY_JMP, NEW + 0x67, ACCESS_READ, true);         // on its second page
    stops_at(BY_JMP, GDT + NEW_SEL + 5, ACCESS_WRITE, true); // becomes busy
    stops_at(BY_JMP, GDT + OLD_SEL + 5, ACCESS_WRITE, true); // is no more
    stops_at(BY_CALL, NEW, ACCESS_WRITE, true);              // the link
    stops_at(BY_CALL, GDT + OLD_SEL + 5, ACCESS_READ, true);
    stops_at(BY_JMP, NEW, ACCESS_WRITE, false); // no link
    expect_new_task();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_jump),
        TEST(test_call),
        TEST(test_return),
        TEST(test_double_fault),
        TEST(test_interrupts_through_gate),
        TEST(test_nmi_through_gate),
        TEST(test_address_space),
        TEST(test_16_bits),
        TEST(test_virtual_8086),
        TEST(test_bad_descriptors),
        TEST(test_state_not_mapped),
        TEST(test_bad_segments_of_new_task),
        TEST(test_not_present_segments),
        TEST(test_debug_trap),
        TEST(test_watches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
