/* sources: vmm/intel/check.c vmm/intel/check_controls.c vmm/intel/check_host.c vmm/intel/check_guest.c vmm/intel/check_segments.c vmm/intel/explain.c tests/unit/vmcs_host.c */
// Every rule of a VM entry: one field made wrong is the field that is named. vmm.selftest does the same on
// the processor, as far as Bochs checks.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "vmcs_host.h"
#include "cpu/features.h"
#include "vmm/intel/check.h"
#include "vmm/intel/vmx.h"

struct cpu_identity cpu_identity = {.physical_bits = 40};

static uint64_t read_field(void *arg, uint32_t field) {
    return vmcs_host.value[field];
}

static struct vmcs_check check(void) {
    struct vmcs_check c = {
        .read = read_field, .controls = &vmx_controls, .physical_bits = 40, .name = "none"};
    vmcs_check_all(&c);
    return c;
}

static int set_up(void **state) {
    vmcs_host_good();
    return 0;
}

static void assert_names(const char *field, const char *rule_part) {
    struct vmcs_check c = check();
    assert_string_equal(c.name, field);
    assert_int_equal(c.value, vmcs_host.value[c.field]);
    if (!strstr(c.rule, rule_part))
        fail_msg("%s: \"%s\" does not speak of \"%s\"", field, c.rule, rule_part);
}

static void good_guests_pass(void **state) {
    assert_string_equal(check().name, "none");
}

static void real_mode_passes(void **state) {
    vmcs_host.value[ENTRY_CONTROLS] &= ~(uint64_t)ENTRY_GUEST_64;
    vmcs_host.value[GUEST_EFER] = 0;
    vmcs_host.value[GUEST_CR0] = 0x30;
    vmcs_host.value[GUEST_CR4] = 0x2000;
    for (unsigned i = 0; i < 6; i++) {
        vmcs_host.value[GUEST_ES_SELECTOR + 2 * i] = 0xf000;
        vmcs_host.value[GUEST_ES_BASE + 2 * i] = 0xf0000;
        vmcs_host.value[GUEST_ES_LIMIT + 2 * i] = 0xffff;
        vmcs_host.value[GUEST_ES_RIGHTS + 2 * i] = i == 1 ? 0x9b : 0x93;
    }
    assert_string_equal(check().name, "none");
    vmcs_host.value[SECONDARY_CONTROLS] &= ~(uint64_t)CPU2_UNRESTRICTED;
    assert_names("GUEST_CR0", "FIXED0"); // only an unrestricted guest may
}

static void make_v8086(void) {
    vmcs_host.value[ENTRY_CONTROLS] &= ~(uint64_t)ENTRY_GUEST_64;
    vmcs_host.value[GUEST_EFER] = 0;
    vmcs_host.value[GUEST_CR4] = 0x2000;
    vmcs_host.value[GUEST_RFLAGS] |= 1 << 17;
    for (unsigned i = 0; i < 6; i++) {
        vmcs_host.value[GUEST_ES_SELECTOR + 2 * i] = 0x1234;
        vmcs_host.value[GUEST_ES_BASE + 2 * i] = 0x12340;
        vmcs_host.value[GUEST_ES_LIMIT + 2 * i] = 0xffff;
        vmcs_host.value[GUEST_ES_RIGHTS + 2 * i] = 0xf3;
    }
}

static void virtual_8086(void **state) {
    make_v8086();
    assert_string_equal(check().name, "none");
    vmcs_host.value[GUEST_DS_BASE]++;
    assert_names("GUEST_DS_BASE", "times 16");
    make_v8086();
    vmcs_host.value[GUEST_FS_LIMIT]--;
    assert_names("GUEST_FS_LIMIT", "0xffff");
    make_v8086();
    vmcs_host.value[GUEST_SS_RIGHTS] = 0x93;
    assert_names("GUEST_SS_RIGHTS", "0xf3");
}

static const struct {
    uint32_t field;
    uint64_t value;
    const char *name, *rule;
} wrong[] = {
    {PIN_CONTROLS, PIN_VIRTUAL_NMI, "PIN_CONTROLS", "NMI exiting"},
    {PRIMARY_CONTROLS, 1 | CPU_SECONDARY, "PRIMARY_CONTROLS", "PROCBASED"},
    {PRIMARY_CONTROLS, CPU_IO_BITMAPS | CPU_SECONDARY, "none", ""},
    {SECONDARY_CONTROLS, CPU2_UNRESTRICTED, "SECONDARY_CONTROLS", "needs EPT"},
    {SECONDARY_CONTROLS, CPU2_PML, "SECONDARY_CONTROLS", "needs EPT"},
    {CR3_TARGET_COUNT, 5, "CR3_TARGET_COUNT", "MISC"},
    {VPID, 0, "VPID", "not 0"},
    {MSR_BITMAP, 0x5001, "MSR_BITMAP", "page"},
    {MSR_BITMAP, 1ull << 40, "MSR_BITMAP", "page"},
    {EPT_POINTER, 0x10000 | 5 | 3 << 3, "EPT_POINTER", "memory type"},
    {EPT_POINTER, 0x10000 | 6 | 2 << 3, "EPT_POINTER", "four levels"},
    {EPT_POINTER, 0x10000 | 6 | 3 << 3 | 1 << 7, "EPT_POINTER", "11:7"},
    {EXIT_CONTROLS, 0, "EXIT_CONTROLS", "64-bit"},
    {ENTRY_INTERRUPTION_INFO, 0x80000100, "ENTRY_INTERRUPTION_INFO", "type"},
    {ENTRY_INTERRUPTION_INFO, 0x80000203, "ENTRY_INTERRUPTION_INFO", "NMI"},
    {ENTRY_INTERRUPTION_INFO, 0x80000320, "ENTRY_INTERRUPTION_INFO", "below 32"},
    {ENTRY_INTERRUPTION_INFO, 0x8000030d, "ENTRY_INTERRUPTION_INFO", "error code"},
    {ENTRY_INTERRUPTION_INFO, 0x80000b06, "ENTRY_INTERRUPTION_INFO", "error code"},
    {ENTRY_INTERRUPTION_INFO, 0x80000830, "ENTRY_INTERRUPTION_INFO", "error code"},
    {ENTRY_INTERRUPTION_INFO, 0x80000430, "ENTRY_INSTRUCTION_LENGTH", "1 to 15"},
    {ENTRY_INTERRUPTION_INFO, 0x80001030, "ENTRY_INTERRUPTION_INFO", "30:12"},
    {HOST_CR0, 0x80010013, "HOST_CR0", "FIXED"},
    {HOST_CR3, 1ull << 40, "HOST_CR3", "physical"},
    {HOST_CR4, 0x620, "HOST_CR4", "FIXED"},
    {HOST_EFER, 0x901, "HOST_EFER", "LMA"},
    {HOST_EFER, 0xd03, "HOST_EFER", "SCE"},
    {HOST_PAT, 2, "HOST_PAT", "byte"},
    {HOST_CS_SELECTOR, 0, "HOST_CS_SELECTOR", "not 0"},
    {HOST_TR_SELECTOR, 0x34, "HOST_TR_SELECTOR", "table"},
    {HOST_GS_SELECTOR, 3, "HOST_GS_SELECTOR", "RPL"},
    {HOST_GS_BASE, 1ull << 47, "HOST_GS_BASE", "canonical"},
    {HOST_RIP, 1ull << 47, "HOST_RIP", "canonical"},
    {GUEST_CR0, 0x80010032, "GUEST_CR0", "PE"},
    {GUEST_CR0, 0x80010013, "GUEST_CR0", "FIXED0"},
    {GUEST_CR4, 0x20, "GUEST_CR4", "FIXED0"},
    {GUEST_CR4, 0x2000, "GUEST_CR4", "PAE"},
    {GUEST_CR4, 1ull << 31 | 0x2020, "GUEST_CR4", "FIXED1"},
    {GUEST_CR3, 1ull << 40, "GUEST_CR3", "physical"},
    {GUEST_DEBUGCTL, 4, "GUEST_DEBUGCTL", "5:2"},
    {GUEST_DR7, 1ull << 32, "GUEST_DR7", "63:32"},
    {GUEST_SYSENTER_EIP, 1ull << 47, "GUEST_SYSENTER_EIP", "canonical"},
    {GUEST_PAT, 3, "GUEST_PAT", "byte"},
    {GUEST_EFER, 0x100, "GUEST_EFER", "IA-32e"},
    {GUEST_EFER, 0x400, "GUEST_EFER", "LME"},
    {GUEST_CS_RIGHTS, 0xa091, "GUEST_CS_RIGHTS", "type"},
    {GUEST_CS_RIGHTS, 0xe09b, "GUEST_CS_RIGHTS", "D (bit 14)"},
    {GUEST_CS_RIGHTS, 0xa0fb, "GUEST_CS_RIGHTS", "DPL"},
    {GUEST_CS_RIGHTS, 0xa01b, "GUEST_CS_RIGHTS", "P (bit 7)"},
    {GUEST_CS_BASE, 1ull << 32, "GUEST_CS_BASE", "63:32"},
    {GUEST_CS_LIMIT, 0xfffffffe, "GUEST_CS_RIGHTS", "G (bit 15)"},
    {GUEST_SS_RIGHTS, 0xc091, "GUEST_SS_RIGHTS", "writable"},
    {GUEST_DS_RIGHTS, 0xc092, "GUEST_DS_RIGHTS", "accessed"},
    {GUEST_DS_RIGHTS, 0xc083, "GUEST_DS_RIGHTS", "S (bit 4)"},
    {GUEST_ES_RIGHTS, 0xc193, "GUEST_ES_RIGHTS", "11:8"},
    {GUEST_FS_BASE, 1ull << 47, "GUEST_FS_BASE", "canonical"},
    {GUEST_TR_SELECTOR, 28, "GUEST_TR_SELECTOR", "table"},
    {GUEST_TR_RIGHTS, 0x89, "GUEST_TR_RIGHTS", "busy"},
    {GUEST_TR_RIGHTS, 0x1008b, "GUEST_TR_RIGHTS", "usable"},
    {GUEST_LDTR_RIGHTS, 0x83, "GUEST_LDTR_RIGHTS", "LDT"},
    {GUEST_GDTR_LIMIT, 0x10000, "GUEST_GDTR_LIMIT", "31:16"},
    {GUEST_IDTR_BASE, 1ull << 47, "GUEST_IDTR_BASE", "canonical"},
    {GUEST_RIP, 1ull << 48, "GUEST_RIP", "63:48"},
    {GUEST_RFLAGS, 0x200, "GUEST_RFLAGS", "bit 1"},
    {GUEST_RFLAGS, 0x8202, "GUEST_RFLAGS", "reserved"},
    {GUEST_ACTIVITY, 4, "GUEST_ACTIVITY", "MISC"},
    {GUEST_INTERRUPTIBILITY, 3, "GUEST_INTERRUPTIBILITY", "both"},
    {GUEST_INTERRUPTIBILITY, 4, "GUEST_INTERRUPTIBILITY", "SMI"},
    {GUEST_INTERRUPTIBILITY, 0x20, "GUEST_INTERRUPTIBILITY", "31:5"},
    {GUEST_PENDING_DEBUG, 0x10, "GUEST_PENDING_DEBUG", "bits"},
    {VMCS_LINK_POINTER, 0, "VMCS_LINK_POINTER", "all ones"},
};

static void each_rule_names_its_field(void **state) {
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        vmcs_host_good();
        vmcs_host.value[wrong[i].field] = wrong[i].value;
        if (!strcmp(wrong[i].name, "none"))
            assert_string_equal(check().name, "none");
        else
            assert_names(wrong[i].name, wrong[i].rule);
    }
}

static void combinations(void **state) {
    vmcs_host.value[GUEST_RFLAGS] &= ~0x200ull;
    vmcs_host.value[ENTRY_INTERRUPTION_INFO] = 0x80000040;
    assert_names("GUEST_RFLAGS", "IF");
    vmcs_host_good();
    vmcs_host.value[GUEST_INTERRUPTIBILITY] = 1;
    vmcs_host.value[ENTRY_INTERRUPTION_INFO] = 0x80000040;
    assert_names("GUEST_INTERRUPTIBILITY", "external interrupt");
    vmcs_host_good();
    vmcs_host.value[GUEST_INTERRUPTIBILITY] = 8;
    vmcs_host.value[ENTRY_INTERRUPTION_INFO] = 0x80000202;
    assert_names("GUEST_INTERRUPTIBILITY", "NMI");
    vmcs_host_good();
    vmcs_host.value[GUEST_INTERRUPTIBILITY] = 1;
    vmcs_host.value[GUEST_RFLAGS] |= 0x100; // TF in the shadow of STI
    assert_names("GUEST_PENDING_DEBUG", "BS");
    vmcs_host.value[GUEST_PENDING_DEBUG] = 1 << 14;
    assert_string_equal(check().name, "none");
    vmcs_host_good();
    vmcs_host.value[GUEST_ACTIVITY] = 1;
    vmcs_host.value[ENTRY_INTERRUPTION_INFO] = 0x80000b0d;
    assert_names("GUEST_ACTIVITY", "injected");
    vmcs_host_good();
    vmcs_host.value[SECONDARY_CONTROLS] |= CPU2_TSC_SCALING;
    assert_names("TSC_MULTIPLIER", "scaling");
    vmcs_host_good();
    vmcs_host.value[EXIT_MSR_LOAD_COUNT] = 2;
    vmcs_host.value[EXIT_MSR_LOAD_ADDRESS] = (1ull << 40) - 16;
    assert_names("EXIT_MSR_LOAD_ADDRESS", "end");
    vmcs_host.value[EXIT_MSR_LOAD_COUNT] = 1;
    assert_string_equal(check().name, "none");
    vmcs_host_good();
    vmcs_host.value[GUEST_PENDING_DEBUG] = 1 << 16 | 1 << 12;
    assert_string_equal(check().name, "none");
    vmcs_host.value[GUEST_PENDING_DEBUG] |= 1;
    assert_names("GUEST_PENDING_DEBUG", "RTM");
}

// The event is taken out of the VMCS when the entry has failed; the explanation still knows it.
static void the_event_is_part_of_the_explanation(void **state) {
    static struct vmx_vcpu vmx;
    static struct vcpu v = {.arch = &vmx};
    char why[256];
    vmx.failure = (struct vmx_failure){.reason = 0x80000021, .injection = 0x80000040};
    vmcs_host.value[GUEST_INTERRUPTIBILITY] = 1;
    vmx_explain(&v, why, sizeof(why));
    assert_string_equal(why,
                        "invalid guest state; GUEST_INTERRUPTIBILITY = 0x1: rule: no blocking by "
                        "STI or MOV SS where an external interrupt is injected");
    vmx.failure.injection = 0;
    vmx_explain(&v, why, sizeof(why));
    assert_string_equal(why, "invalid guest state (number 0); no rule known here is broken");
}

static void free_choice_of_error_codes(void **state) {
    vmx_controls.basic = 1ull << 56;
    vmcs_host.value[ENTRY_INTERRUPTION_INFO] = 0x8000030d;
    assert_string_equal(check().name, "none");
}

static void pdptes(void **state) {
    vmcs_host.value[ENTRY_CONTROLS] &= ~(uint64_t)ENTRY_GUEST_64;
    vmcs_host.value[GUEST_EFER] = 0;
    vmcs_host.value[GUEST_CS_RIGHTS] = 0xc09b;
    assert_string_equal(check().name, "none");
    vmcs_host.value[GUEST_PDPTE2] = 3;
    assert_names("GUEST_PDPTE2", "2:1");
    vmcs_host.value[GUEST_PDPTE2] = 2; // not present
    assert_string_equal(check().name, "none");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(good_guests_pass, set_up),
        cmocka_unit_test_setup(real_mode_passes, set_up),
        cmocka_unit_test_setup(virtual_8086, set_up),
        cmocka_unit_test_setup(each_rule_names_its_field, set_up),
        cmocka_unit_test_setup(combinations, set_up),
        cmocka_unit_test_setup(the_event_is_part_of_the_explanation, set_up),
        cmocka_unit_test_setup(free_choice_of_error_codes, set_up),
        cmocka_unit_test_setup(pdptes, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
