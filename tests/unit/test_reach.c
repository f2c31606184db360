/* sources: vmm/reach.c vmm/decode.c vmm/decode_tables.c tests/unit/vmm_mock.c */
// Which bytes instructions and deliveries of events touch (vmm/reach.c).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "cpu/fpu.h"
#include "lib/errno.h"
#include "vmm/reach.h"
#include "vmm/walk.h"
#include "vmm/x86.h"
#include "vmm_mock.h"

#define XSAVE_AREA 832

static struct vm vm;
static struct vcpu vcpu;
static uint8_t code[4096];

size_t fpu_area_size(void) {
    return XSAVE_AREA;
}
int vcpu_translate(struct vcpu *v, uint64_t gva, unsigned access, bool user, uint64_t *gpa,
                   uint32_t *error) {
    (void)v, (void)access, (void)user, (void)error;
    *gpa = gva;
    return 0;
}
int vm_read(struct vm *m, uint64_t gpa, void *buf, size_t n) {
    (void)m;
    memcpy(buf, code + gpa % sizeof(code), n);
    return 0;
}

static void test_instructions(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        enum decode_mode mode;
        unsigned before, size;
    } cases[] = {
        {"\x88\x03", DECODE_64, 0, 1},             // mov [rbx], al
        {"\x48\x89\x03", DECODE_64, 0, 8},         // mov [rbx], rax
        {"\x0f\xb6\x03", DECODE_64, 0, 1},         // movzx eax, byte [rbx]
        {"\x48\x63\x03", DECODE_64, 0, 4},         // movsxd rax, dword [rbx]
        {"\x0f\x29\x03", DECODE_64, 0, 16},        // movaps [rbx], xmm0
        {"\xc5\xfc\x29\x03", DECODE_64, 0, 32},    // vmovaps [rbx], ymm0
        {"\x55", DECODE_64, 0, 8},                 // push rbp
        {"\x41\x5c", DECODE_64, 0, 8},             // pop r12
        {"\x66\x50", DECODE_64, 0, 2},             // push ax
        {"\xe8\x01\x02\x03\x04", DECODE_64, 0, 8}, // call
        {"\xc3", DECODE_64, 0, 8},                 // ret
        {"\xff\x13", DECODE_64, 0, 8},             // call [rbx]
        {"\xff\x23", DECODE_64, 0, 8},             // jmp [rbx]
        {"\xff\x33", DECODE_64, 0, 8},             // push [rbx]
        {"\xff\xd0", DECODE_64, 0, 8},             // call rax
        {"\x48\xcf", DECODE_64, 0, 40},            // iretq
        {"\x55", DECODE_32, 0, 4},                 // push ebp
        {"\x66\x55", DECODE_16, 0, 4},
        {"\x55", DECODE_16, 0, 2},
        {"\x60", DECODE_32, 28, 4},                     // pusha: downwards
        {"\x61", DECODE_32, 0, 32},                     // popa
        {"\x0f\xae\x03", DECODE_64, 0, 512},            // fxsave [rbx]
        {"\x48\x0f\xae\x23", DECODE_64, 0, XSAVE_AREA}, // xsave64 [rbx]
        {"\x0f\xae\x1b", DECODE_64, 0, 4},              // stmxcsr [rbx]
        {"\x0f\x01\x03", DECODE_64, 0, 10},             // sgdt [rbx]
        {"\x0f\x58\x03", DECODE_64, 0, 64},             // addps xmm0, [rbx]: not known
        {"\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66", DECODE_64, 0, 64},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t bytes[15] = {0};
        memcpy(bytes, cases[i].bytes, strlen(cases[i].bytes));
        struct reach r = reach_of_instruction(bytes, sizeof(bytes), cases[i].mode);
        if (r.before != cases[i].before || r.size != cases[i].size)
            fail_msg("case %u: %u before, %u from there", i, r.before, r.size);
    }
}

static struct reach reach(uint64_t gpa, uint64_t gva, bool write, bool vectoring) {
    struct vm_exit e = {
        .vectoring = vectoring,
        .memory = {.gpa = gpa, .gva = gva, .gva_valid = true, .write = write, .read = !write}};
    return reach_of(&vcpu, &e);
}

static void check_reach(struct reach r, unsigned before, unsigned size) {
    assert_int_equal(r.before, before);
    assert_int_equal(r.size, size);
}

// The frame that a delivery pushes goes down from its first fault; the instruction at RIP has nothing to do with it.
static void test_deliveries(void **state) {
    (void)state;
    vcpu = (struct vcpu){.vm = &vm, .cr0 = CR0_PE, .efer = EFER_LMA, .rip = 0x100};
    vcpu.seg[SEG_CS].l = 1;
    memcpy(code + 0x100, "\x88\x03", 2); // mov [rbx], al
    check_reach(reach(0x5008, 0x5008, true, false), 0, 1);
    check_reach(reach(0x5208, 0x5208, true, true), 32, 8);
    vcpu.event.exception_pending = vcpu.event.exception_has_error = true;
    check_reach(reach(0x5208, 0x5208, true, true), 40, 8);
    check_reach(reach(0x5008, 0x5008, true, true), 8, 8); // the rest is on another page
    vcpu.idt = (struct kvm_dtable){.base = 0x7000, .limit = 0xfff};
    check_reach(reach(0x7100, 0x7100, false, true), 0, 16); // a gate
    check_reach(reach(0x8010, 0x8010, false, true), 0, 8);  // a descriptor
    vcpu.efer = 0;
    check_reach(reach(0x5208, 0x5208, true, true), 36, 4);
    vcpu.cr0 = 0;
    check_reach(reach(0x5208, 0x5208, true, true), 4, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_instructions),
        cmocka_unit_test(test_deliveries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
