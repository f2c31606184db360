/* sources: vmm/intel/exits.c vmm/intel/inject.c vmm/intel/state.c tests/unit/vmcs_host.c */
// What the hardware says about an exit, into the neutral record: with no more VMREADs than needed; and
// events into an entry and back out of an interrupted delivery.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "vmcs_host.h"
#include "vmm/clock.h"
#include "vmm/intel/pmc.h"
#include "vmm/intel/vmx.h"

struct vmm_clock vmm_clock = {.rules = {1, 1, 1}};
bool vmx_pmc_on;
void vmx_msrs_changed(struct vcpu *v) {}
void vmx_read_kernel_gs_base(struct vcpu *v) {}
void vmx_flush_vpid(uint16_t vpid) {}

static struct vcpu cpu;
static struct vmx_vcpu vmx;
static struct vm_exit e;

static int set_up(void **state) {
    vmcs_host_good();
    memset(&cpu, 0, sizeof(cpu));
    memset(&vmx, 0, sizeof(vmx));
    memset(&e, 0, sizeof(e));
    cpu.arch = &vmx;
    cpu.stale = PART_ALL;
    return 0;
}

static unsigned all_reads(void) {
    unsigned n = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(vmcs_host.reads); i++)
        n += vmcs_host.reads[i];
    return n;
}

static bool decode(uint32_t reason, uint64_t qualification, uint32_t length) {
    memset(vmcs_host.reads, 0, sizeof(vmcs_host.reads));
    vmcs_host.value[EXIT_REASON] = reason;
    vmcs_host.value[EXIT_QUALIFICATION] = qualification;
    vmcs_host.value[EXIT_INSTRUCTION_LENGTH] = length;
    e = (struct vm_exit){.raw_reason = reason};
    return vmx_decode_exit(&cpu, &e);
}

static void plain_instructions(void **state) {
    static const struct {
        uint32_t reason;
        enum exit_kind kind;
    } rows[] = {{10, EXIT_CPUID},   {12, EXIT_HLT},    {13, EXIT_WBINVD}, {16, EXIT_RDTSC},
                {18, EXIT_VMCALL},  {31, EXIT_RDMSR},  {32, EXIT_WRMSR},  {40, EXIT_PAUSE},
                {51, EXIT_RDTSCP},  {54, EXIT_WBINVD}, {55, EXIT_XSETBV}, {23, EXIT_VMX_INSN},
                {50, EXIT_VMX_INSN}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        decode(rows[i].reason, 0xbad, 3);
        assert_int_equal(e.kind, rows[i].kind);
        assert_int_equal(e.length, 3);
        assert_int_equal(all_reads(), 1); // the length alone
    }
}

static void host_reasons_read_nothing(void **state) {
    decode(1, 0, 0);
    assert_int_equal(e.kind, EXIT_INTERRUPT);
    assert_int_equal(all_reads(), 0);
    decode(52, 0, 0);
    assert_int_equal(e.kind, EXIT_COUNT);
    assert_int_equal(all_reads(), 0);
}

static void port_access(void **state) {
    decode(30, 0x3f8ull << 16 | 1 << 3, 1); // IN AL, DX
    assert_int_equal(e.kind, EXIT_IO);
    assert_int_equal(e.io.port, 0x3f8);
    assert_int_equal(e.io.size, 1);
    assert_true(e.io.in);
    assert_false(e.io.string);
    vmcs_host.value[EXIT_INSTRUCTION_INFO] = 2 << 7 | 3 << 15; // 64-bit addresses, DS
    decode(30, 0x60ull << 16 | 3 | 1 << 4 | 1 << 5, 2);        // REP OUTSD
    assert_int_equal(e.io.size, 4);
    assert_false(e.io.in);
    assert_true(e.io.string && e.io.rep);
    assert_int_equal(e.io.address_size, 8);
    assert_int_equal(e.io.segment, SEG_DS);
}

static void ept_violation(void **state) {
    vmcs_host.value[GUEST_PHYSICAL_ADDRESS] = 0xfee00300;
    vmcs_host.value[GUEST_LINEAR_ADDRESS] = 0xffffffffff5fc300;
    decode(48, 2 | 1 << 3 | 1 << 7 | 1 << 8, 0); // a write; reads are allowed; final access
    assert_int_equal(e.kind, EXIT_MEMORY);
    assert_true(e.memory.write && !e.memory.read && !e.memory.execute && e.memory.mapped);
    assert_true(e.memory.gva_valid && !e.memory.page_walk);
    assert_int_equal(e.memory.gpa, 0xfee00300);
    assert_true(e.memory.gva == 0xffffffffff5fc300);
    decode(48, 1 | 1 << 7, 0);
    assert_true(e.memory.read && e.memory.page_walk && !e.memory.mapped);
    assert_false(e.vectoring);
}

static void control_and_debug_registers(void **state) {
    decode(28, 0 | 1 << 4 | 12 << 8, 3); // MOV R12, CR0
    assert_int_equal(e.kind, EXIT_CR);
    assert_int_equal(e.cr.number, 0);
    assert_int_equal(e.cr.access, 1);
    assert_int_equal(e.cr.gpr, 12);
    decode(28, 3 << 4 | 0x1234ull << 16, 3); // LMSW
    assert_int_equal(e.cr.access, 3);
    assert_int_equal(e.cr.lmsw, 0x1234);
    decode(29, 7 | 1 << 4 | 3 << 8, 3); // MOV RBX, DR7
    assert_int_equal(e.kind, EXIT_DR);
    assert_int_equal(e.cr.number, 7);
    assert_int_equal(e.cr.access, 1);
    assert_int_equal(e.cr.gpr, GPR_RBX);
}

static void exceptions(void **state) {
    vmcs_host.value[EXIT_INTERRUPTION_INFO] = 0x80000b11; // #AC
    assert_true(decode(0, 0, 4));
    assert_int_equal(e.kind, EXIT_EXCEPTION);
    assert_int_equal(e.exception.vector, 17);
    assert_true(e.exception.has_error);
    vmcs_host.value[EXIT_INTERRUPTION_INFO] = 0x80000202;
    assert_true(decode(0, 0, 0));
    assert_int_equal(e.kind, EXIT_NMI);
}

static void random_numbers(void **state) {
    vmcs_host.value[EXIT_INSTRUCTION_INFO] = 2 << 11 | 9 << 3;
    assert_false(decode(57, 0, 4));
    assert_int_equal(e.kind, EXIT_RDRAND);
    assert_int_equal(e.random.gpr, 9);
    assert_int_equal(e.random.size, 8);
}

static void unknown_and_failed(void **state) {
    decode(63, 0x77, 0);
    assert_int_equal(e.kind, EXIT_UNKNOWN);
    assert_int_equal(e.qualification, 0x77);
    decode(35, 0, 0); // a reason that does not exist
    assert_int_equal(e.kind, EXIT_UNKNOWN);
    assert_true(decode(1u << 31 | 33, 2, 0));
    assert_int_equal(e.kind, EXIT_ENTRY_FAILED);
}

static void false_single_step_is_dropped(void **state) {
    vmcs_host.value[GUEST_PENDING_DEBUG] = 1 << 14;
    decode(48, 1, 0);
    assert_int_equal(cpu.pending_debug, 0);
    assert_true(cpu.dirty & PART_ACTIVITY);
    // but kept where the next entry insists on it
    set_up(NULL);
    vmcs_host.value[GUEST_PENDING_DEBUG] = 1 << 14;
    cpu.stale &= ~PART_EAGER; // as vmx_run() leaves them
    cpu.interruptibility = BLOCKED_BY_MOV_SS;
    decode(48, 1, 0);
    assert_false(cpu.dirty & PART_ACTIVITY);
}

static void iret_that_faulted_blocks_nmis_again(void **state) {
    decode(48, 1 | 1 << 12, 0);
    assert_true(cpu.interruptibility & BLOCKED_BY_NMI);
    set_up(NULL);
    vmcs_host.value[IDT_VECTORING_INFO] = 0x80000030; // then the bit means nothing
    decode(48, 1 | 1 << 12, 0);
    assert_false(cpu.interruptibility & BLOCKED_BY_NMI);
}

// ---- events ------------------------------------------------------------------------------------
static uint32_t injected(void) {
    vmcs_host.value[ENTRY_INTERRUPTION_INFO] = 0;
    vmx_inject(&cpu);
    return vmcs_host.value[ENTRY_INTERRUPTION_INFO];
}

// What an exit interrupted is what the next entry injects.
static void interrupted_deliveries_start_again(void **state) {
    static const uint32_t infos[] = {0x80000041,              // external interrupt
                                     0x80000202,              // NMI
                                     0x80000b0e,              // #PF
                                     0x80000306,              // #UD
                                     0x80000480,              // INT 0x80
                                     0x80000501,              // INT1
                                     0x80000603, 0x80000604}; // INT3, INTO
    for (unsigned i = 0; i < ARRAY_SIZE(infos); i++) {
        set_up(NULL);
        vmcs_host.value[IDT_VECTORING_INFO] = infos[i];
        vmcs_host.value[IDT_VECTORING_ERROR] = 6;
        decode(48, 1, 2);
        assert_true(e.vectoring);
        assert_int_equal(cpu.count, 1);
        assert_int_equal(injected(), infos[i]);
        if (infos[i] & 1 << 11)
            assert_int_equal(vmcs_host.value[ENTRY_EXCEPTION_ERROR], 6);
        if ((infos[i] >> 8 & 7) >= 4)
            assert_int_equal(vmcs_host.value[ENTRY_INSTRUCTION_LENGTH], 2);
        assert_false(cpu.event.any); // once
    }
}

static void timer_exits_interrupt_no_delivery(void **state) {
    vmcs_host.value[IDT_VECTORING_INFO] = 0x80000041; // left over
    decode(52, 0, 0);
    assert_false(e.vectoring);
    assert_false(cpu.event.any);
}

static void interrupts_wait_for_their_window(void **state) {
    cpu.event.interrupt_pending = true;
    cpu.event.interrupt_vector = 0x41;
    vmcs_host.value[GUEST_RFLAGS] = 2;
    assert_int_equal(injected(), 0);
    cpu.stale = PART_ALL;
    vmcs_host.value[GUEST_RFLAGS] = 0x202;
    vmcs_host.value[GUEST_INTERRUPTIBILITY] = BLOCKED_BY_STI;
    assert_int_equal(injected(), 0);
    cpu.stale = PART_ALL;
    vmcs_host.value[GUEST_INTERRUPTIBILITY] = 0;
    assert_int_equal(injected(), 0x80000041);
}

static void priorities(void **state) {
    cpu.event.interrupt_pending = cpu.event.nmi_pending = cpu.event.exception_pending = true;
    cpu.event.interrupt_vector = 0x41;
    cpu.event.exception_vector = 6;
    assert_int_equal(injected(), 0x80000306);
    assert_int_equal(injected(), 0x80000202);
    assert_int_equal(injected(), 0x80000041);
}

static void nmis_respect_blocking(void **state) {
    cpu.event.nmi_pending = true;
    vmcs_host.value[GUEST_INTERRUPTIBILITY] = BLOCKED_BY_NMI;
    assert_int_equal(injected(), 0);
    // one whose delivery was interrupted has set the blocking itself
    cpu.event.nmi_pending = false;
    cpu.event.nmi_injected = true;
    assert_int_equal(injected(), 0x80000202);
    assert_false(cpu.interruptibility & BLOCKED_BY_NMI);
}

static void no_error_codes_in_real_mode(void **state) {
    vmcs_host.value[GUEST_CR0] = 0x30;
    cpu.event.exception_pending = cpu.event.exception_has_error = true;
    cpu.event.exception_vector = 13;
    assert_int_equal(injected(), 0x8000030d);
}

static void error_codes_as_the_entry_wants_them(void **state) {
    cpu.event.exception_pending = true; // #GP, and user space gave no code
    cpu.event.exception_vector = 13;
    assert_int_equal(injected(), 0x80000b0d);
    assert_int_equal(vmcs_host.value[ENTRY_EXCEPTION_ERROR], 0);
    cpu.event.exception_pending = cpu.event.exception_has_error = true; // #UD, and it gave one
    cpu.event.exception_vector = 6;
    assert_int_equal(injected(), 0x80000306);
}

// ---- segments -----------------------------------------------------------------------------------
static void segments_as_kvm_clients_give_them(void **state) {
    cpu.stale = 0;
    cpu.seg[SEG_DS] = (struct kvm_segment){
        .selector = 16, .type = 2, .s = 1, .present = 1, .limit = 0xffff};
    cpu.seg[SEG_ES] = (struct kvm_segment){.selector = 0}; // not present
    cpu.seg[SEG_SS] = (struct kvm_segment){
        .selector = 1, .dpl = 1, .unusable = 1}; // null, in ring 1
    cpu.seg[SEG_TR] = (struct kvm_segment){.selector = 24, .type = 11, .present = 1, .limit = 0x67};
    cpu.dirty = PART_SEGMENTS;
    vmx_write_dirty(&cpu);
    assert_int_equal(vmcs_host.value[GUEST_DS_RIGHTS], 0x93); // accessed, as an entry wants
    assert_int_equal(vmcs_host.value[GUEST_ES_RIGHTS], 1 << 16);
    assert_int_equal(vmcs_host.value[GUEST_SS_RIGHTS], 1 << 16 | 1 << 5);
    assert_int_equal(vmcs_host.value[GUEST_TR_RIGHTS], 0x8b);
    cpu.stale = PART_SEGMENTS;
    vmx_sync(&cpu, PART_SEGMENTS);
    assert_int_equal(cpu.seg[SEG_TR].type, 11);
    assert_true(cpu.seg[SEG_ES].unusable);
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(plain_instructions),
        TEST(host_reasons_read_nothing),
        TEST(port_access),
        TEST(ept_violation),
        TEST(control_and_debug_registers),
        TEST(exceptions),
        TEST(random_numbers),
        TEST(unknown_and_failed),
        TEST(false_single_step_is_dropped),
        TEST(iret_that_faulted_blocks_nmis_again),
        TEST(interrupted_deliveries_start_again),
        TEST(timer_exits_interrupt_no_delivery),
        TEST(interrupts_wait_for_their_window),
        TEST(priorities),
        TEST(nmis_respect_blocking),
        TEST(no_error_codes_in_real_mode),
        TEST(error_codes_as_the_entry_wants_them),
        TEST(segments_as_kvm_clients_give_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
