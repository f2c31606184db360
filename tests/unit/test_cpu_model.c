/* sources: vmm/cpuid.c vmm/msr.c vmm/msr_filter.c vmm/cr.c vmm/tsc.c tests/unit/vmm_mock.c */
// The virtual CPU: CPUID, MSRs with their filter, control registers, against the SDM's rules.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cpu/clock.h"
#include "cpu/features.h"
#include "cpu/fpu.h"
#include "lib/errno.h"
#include "vmm/clock.h"
#include "vmm/cpuid.h"
#include "vmm/cr.h"
#include "vmm/msr.h"
#include "vmm/vendor.h"
#include "vmm/x86.h"
#include "vmm_mock.h"

// ---- surroundings --------------------------------------------------------------------------------
struct cpu_identity cpu_identity = {.physical_bits = 40};
uint64_t fpu_features(void) {
    return 0xe7; // x87, SSE, AVX, and AVX-512, which no guest has
}
uint64_t clock_tsc_hz(void) {
    return 2000000000;
}

static struct vm vm;
static struct vcpu vcpu;
static struct kvm_run kvm_run;
static struct chrono_run chrono_run;
static char memory[8192];
static int injected; // vector of the last exception, -1: none
static unsigned flushes;

void vcpu_inject_exception(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error) {
    injected = vector;
    (void)v, (void)has_error, (void)error;
}
void vcpu_features_changed(struct vcpu *v) {
    v->cr4_allowed = cpuid_cr4_allowed(v);
    cpuid_update(v);
}
void vcpu_skip_slow(struct vcpu *v, uint64_t before) {
    (void)v, (void)before;
}
void vcpu_fetch(struct vcpu *v, uint32_t parts) {
    v->stale &= ~parts;
}
// Two vCPUs of a VM, of which the second is made while the first is waited for.
static struct vcpu runs, is_new;
static bool new_locked, new_passed;

void vcpu_pass_msrs(struct vcpu *v) {
    if (v == &is_new)
        new_passed = new_locked;
}
void vcpu_kick(struct vcpu *v) {
    v->vm->vcpus[v->vm->vcpu_count++] = &is_new;
}
void mutex_lock(struct mutex *m) {
    new_locked |= m == &is_new.lock;
}
bool mutex_trylock(struct mutex *m) {
    if (m != &runs.lock)
        mutex_lock(m);
    return m != &runs.lock;
}
void mutex_unlock(struct mutex *m) {
    new_locked &= m != &is_new.lock;
}
int vm_read(struct vm *m, uint64_t gpa, void *buf, size_t n) {
    (void)m;
    if (gpa > sizeof(memory) - n)
        return -EFAULT;
    memcpy(buf, memory + gpa, n);
    return 0;
}
struct vmm_clock vmm_clock = {.rules.skipped = 1};

static void cr_limits(uint64_t *must0, uint64_t *may0, uint64_t *must4, uint64_t *may4) {
    *must0 = *must4 = 0;
    *may0 = *may4 = UINT64_MAX;
}
static void flush_guest(struct vcpu *v) {
    (void)v;
    flushes++;
}
static struct vmm_vendor vendor;
const struct vmm_vendor *vmm_vendor = &vendor;

static struct {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 entries[64];
} table;

static int setup(void **state) {
    (void)state;
    vendor = mock_vendor;
    vendor.cr_limits = cr_limits;
    vendor.flush_guest = flush_guest;
    free(vcpu.cpuid);
    memset(&vcpu, 0, sizeof(vcpu));
    memset(&kvm_run, 0, sizeof(kvm_run));
    msr_filter_free(&vm);
    memset(&vm, 0, sizeof(vm));
    vcpu.vm = &vm;
    vcpu.run = &kvm_run;
    vcpu.chrono = &chrono_run;
    cpuid_init();
    msr_init();
    table.head.nent = 64;
    assert_int_equal(cpuid_get_supported((unsigned long)&table), 0);
    assert_int_equal(cpuid_set2(&vcpu, (unsigned long)&table), 0);
    vcpu.efer = EFER_LME | EFER_LMA;
    vcpu.cr0 = CR0_PE | CR0_PG | CR0_ET;
    vcpu.cr4 = CR4_PAE;
    vcpu.seg[SEG_CS].l = 1;
    vcpu.msr.apic_base = APIC_BASE_RESET;
    vcpu.dirty = 0;
    injected = -1;
    return 0;
}

static void execute_cpuid(uint32_t leaf, uint32_t subleaf) {
    vcpu.gpr[GPR_RAX] = leaf;
    vcpu.gpr[GPR_RCX] = subleaf;
    assert_int_equal(cpuid_exit(&vcpu, &(struct vm_exit){.length = 2}), 1);
}

// ---- CPUID ---------------------------------------------------------------------------------------
// What must never be offered: its results are not in a log.
static void test_model(void **state) {
    (void)state;
    uint32_t ecx1 = cpuid_bits(&vcpu, 1, 0, CPUID_ECX), ebx7 = cpuid_bits(&vcpu, 7, 0, CPUID_EBX);
    assert_false(ecx1 & (BIT(3) | BIT(5) | BIT(17) | BIT(30)));  // MONITOR, VMX, PCID, RDRAND
    assert_false(ebx7 & (BIT(4) | BIT(10) | BIT(11) | BIT(18))); // HLE, INVPCID, RTM, RDSEED
    assert_false(cpuid_bits(&vcpu, 7, 0, CPUID_ECX) &
                 (BIT(3) | BIT(5) | BIT(7)));                               // PKU, WAITPKG, CET
    assert_false(cpuid_bits(&vcpu, 7, 0, CPUID_EDX) & (BIT(20) | BIT(24))); // CET, AMX
    assert_int_equal(cpuid_bits(&vcpu, 0xd, 1, CPUID_EAX), 0);              // XSAVEOPT and the like
    assert_int_equal(cpuid_bits(&vcpu, 0xa, 0, CPUID_EAX), 0);              // counters
    assert_int_equal(cpuid_bits(&vcpu, 0x40000000, 0, CPUID_EAX), 0);       // paravirtual leaves
    assert_int_equal(cpuid_bits(&vcpu, 0x15, 0, CPUID_ECX), 2000000000);
    for (unsigned i = 0; i < table.head.nent; i++)
        for (unsigned k = 0; k < i; k++)
            assert_false(table.entries[i].function == table.entries[k].function &&
                         table.entries[i].index == table.entries[k].index);
}

static void test_cpuid(void **state) {
    (void)state;
    vcpu.rip = 100;
    vcpu.count = 7;
    vcpu.gpr[GPR_RAX] = 0xffffffff00000000; // the upper half does not count and is cleared
    execute_cpuid(0, 0);
    assert_int_equal(vcpu.gpr[GPR_RBX], 0x756e6547);
    assert_int_equal(vcpu.rip, 102);
    assert_int_equal(vcpu.count, 8);
    execute_cpuid(0x1234, 0); // above the highest basic leaf: that one's data
    assert_int_equal(vcpu.gpr[GPR_RAX], cpuid_bits(&vcpu, 0x16, 0, CPUID_EAX));
    execute_cpuid(3, 0); // absent below it
    assert_int_equal(vcpu.gpr[GPR_RAX] | vcpu.gpr[GPR_RBX] | vcpu.gpr[GPR_RCX] | vcpu.gpr[GPR_RDX],
                     0);
    execute_cpuid(0xb, 5);
    assert_int_equal(vcpu.gpr[GPR_RCX], 5);
    vcpu.cr4 |= CR4_OSXSAVE;
    cpuid_update(&vcpu);
    execute_cpuid(1, 0);
    assert_true(vcpu.gpr[GPR_RCX] & BIT(27));
    vcpu.cr4 &= ~CR4_OSXSAVE;
    cpuid_update(&vcpu);
    execute_cpuid(1, 0);
    assert_false(vcpu.gpr[GPR_RCX] & BIT(27));
}

static void test_cpuid_ioctls(void **state) {
    (void)state;
    table.head.nent = 3;
    assert_int_equal(cpuid_get_supported((unsigned long)&table), -E2BIG);
    assert_int_equal(cpuid_get2(&vcpu, (unsigned long)&table), -E2BIG);
    table.head.nent = 257;
    assert_int_equal(cpuid_set2(&vcpu, (unsigned long)&table), -E2BIG);
    table.head.nent = 0;
    assert_int_equal(cpuid_set2(&vcpu, (unsigned long)&table), 0);
    execute_cpuid(1, 0);
    assert_int_equal(vcpu.gpr[GPR_RAX], 0);
}

// ---- MSRs ----------------------------------------------------------------------------------------
static int write_msr(uint32_t index, uint64_t value) {
    vcpu.gpr[GPR_RCX] = index;
    vcpu.gpr[GPR_RAX] = (uint32_t)value;
    vcpu.gpr[GPR_RDX] = value >> 32;
    injected = -1;
    return msr_exit_write(&vcpu, &(struct vm_exit){.length = 2});
}
static uint64_t read_msr(uint32_t index) {
    vcpu.gpr[GPR_RCX] = index;
    injected = -1;
    msr_exit_read(&vcpu, &(struct vm_exit){.length = 2});
    return (uint32_t)vcpu.gpr[GPR_RAX] | vcpu.gpr[GPR_RDX] << 32;
}

static void test_msr_values(void **state) {
    (void)state;
    static const struct {
        uint32_t index;
        uint64_t value;
        bool allowed;
    } cases[] = {
        {MSR_PAT, 0x0007040600070406, true},
        {MSR_PAT, 0x0007040600070402, false}, // 2 is no memory type
        {MSR_PAT, 0x0007040600070403, false},
        {MSR_PAT, 0x0807040600070406, false},
        {MSR_PAT, 0x0105040607000101, true},
        {0x2ff, 0xc06, true},
        {0x2ff, 0x1000, false},
        {0x2ff, 0xc02, false}, // 2 is no memory type
        {0x250, 0x0606060606060606, true},
        {0x250, 0x0706060606060606, false}, // UC- is the PAT's alone
        {0x200, 0x80000006, true},
        {0x200, 0x80000002, false},
        {0x200, 1ull << 41, false},
        {0x201, 0xff80000800, true},
        {0x201, 0x80000001, false},
        {0x20f, 0xff80000800, true},
        {0x210, 0, false},
        {0x26f, 0x0606060606060606, true},
        {MSR_LSTAR, 0xffff800000000000, true},
        {MSR_LSTAR, 0x0000800000000000, false},
        {MSR_SYSENTER_ESP, 0x8000000000000000, false},
        {MSR_KERNEL_GS_BASE, 0x7fffffffffff, true},
        {MSR_SFMASK, 1ull << 32, false},
        {MSR_EFER, EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE, true},
        {MSR_EFER, EFER_LMA, false}, // LME may not change while paging is on
        {MSR_EFER, EFER_LME | 1 << 12, false},
        {MSR_APIC_BASE, 0xfee00c00, true},
        {MSR_APIC_BASE, 0xfee00400, false},
        {0x140, 0, true},
        {0x140, 1, false},
        {0x10a, 0, false},
        {0xfe, 0, false},
        {0x17a, 5, true},
        {0x1d9, 1, false},
        {0xda0, 1, false},
        {0xda0, 0, true},
        {0x777, 0, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(write_msr(cases[i].index, cases[i].value), 1);
        if ((injected == -1) != cases[i].allowed)
            fail_msg("MSR %x = %lx: vector %d", cases[i].index, cases[i].value, injected);
    }
    assert_int_equal(read_msr(MSR_PAT), 0x0105040607000101);
    assert_true(read_msr(0x10a) & 1); // RDCL_NO
    assert_int_equal(read_msr(0x17a), 0);
    vcpu.msr.apic_base = APIC_BASE_RESET | APIC_BASE_X2APIC;
    write_msr(MSR_APIC_BASE, APIC_BASE_RESET); // from x2APIC back to xAPIC mode
    assert_int_equal(injected, VECTOR_GP);
    read_msr(0x777);
    assert_int_equal(injected, VECTOR_GP);
}

static void test_msr_tsc(void **state) {
    (void)state;
    write_msr(0x10, 1000);
    assert_true(read_msr(0x10) >= 1000 && read_msr(0x10) < 1000 + 10000000000);
    uint64_t adjust = read_msr(0x3b);
    write_msr(0x3b, adjust + 5000000000000);
    assert_true(read_msr(0x10) >= 5000000001000);
    vcpu.control = CHRONO_VTIME;
    chrono_run.vtime_base = 77;
    vcpu.count = 3;
    assert_int_equal(read_msr(0x10), 80);
    adjust = read_msr(0x3b);
    write_msr(0x10, 1000); // must not bring the host's time into the guest
    assert_int_equal(read_msr(0x3b), adjust);
    uint64_t count = vcpu.count;
    assert_int_equal(read_msr(0x10), 77 + count);
    vcpu.control = 0;
}

static void test_user_space_msrs(void **state) {
    (void)state;
    vm.user_msr_reasons = KVM_MSR_EXIT_REASON_UNKNOWN;
    assert_int_equal(write_msr(0x777, 0x1122334455667788), 0);
    assert_int_equal(kvm_run.exit_reason, KVM_EXIT_X86_WRMSR);
    assert_int_equal(kvm_run.msr.data, 0x1122334455667788);
    assert_int_equal(write_msr(0x250, 7), 1); // a bad value is another reason
    assert_int_equal(injected, VECTOR_GP);
    vcpu.gpr[GPR_RCX] = 0x778;
    assert_int_equal(msr_exit_read(&vcpu, &(struct vm_exit){.length = 2}), 0);
    kvm_run.msr.data = 0xabcdef0123456789;
    uint64_t rip = vcpu.rip;
    assert_int_equal(vcpu.complete(&vcpu), 1);
    assert_int_equal(vcpu.gpr[GPR_RDX] << 32 | vcpu.gpr[GPR_RAX], 0xabcdef0123456789);
    assert_int_equal(vcpu.rip, rip + 2);
    kvm_run.msr.error = 1;
    injected = -1;
    vcpu.complete(&vcpu);
    assert_int_equal(injected, VECTOR_GP);
}

static void test_filter(void **state) {
    (void)state;
    uint8_t bits[2] = {0x05, 0x01}; // 100h, 102h, 108h
    struct kvm_msr_filter f = {.flags = KVM_MSR_FILTER_DEFAULT_DENY};
    assert_int_equal(msr_set_filter(&vm, (unsigned long)&f), -EINVAL); // nothing would be left
    f.ranges[3] = (struct kvm_msr_filter_range){
        .flags = KVM_MSR_FILTER_READ, .nmsrs = 9, .base = 0x100, .bitmap = bits};
    assert_int_equal(msr_set_filter(&vm, (unsigned long)&f), 0);
    for (uint32_t i = 0xff; i < 0x10c; i++) {
        assert_int_equal(msr_filter_allows(&vm, i, false), i == 0x100 || i == 0x102 || i == 0x108);
        assert_false(msr_filter_allows(&vm, i, true));
    }
    struct vm copy = {0};
    assert_int_equal(msr_filter_clone(&copy, &vm), 0);
    assert_true(msr_filter_allows(&copy, 0x108, false));
    msr_filter_free(&copy);
    f.ranges[3].nmsrs = KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8 + 1;
    assert_int_equal(msr_set_filter(&vm, (unsigned long)&f), -EINVAL);
    f = (struct kvm_msr_filter){0};
    assert_int_equal(msr_set_filter(&vm, (unsigned long)&f), 0);
    assert_true(msr_filter_allows(&vm, 0x101, true));
}

// A vCPU that is made while the filter waits for another one to stand still must stand still, too.
static void test_filter_and_new_vcpu(void **state) {
    (void)state;
    vm.vcpus[vm.vcpu_count++] = &runs;
    runs.vm = &vm;
    uint8_t bits[1] = {0};
    struct kvm_msr_filter f = {
        .ranges[0] = {.flags = KVM_MSR_FILTER_READ, .nmsrs = 1, .bitmap = bits}};
    assert_int_equal(msr_set_filter(&vm, (unsigned long)&f), 0);
    assert_int_equal(vm.vcpu_count, 2);
    assert_true(new_passed);
    assert_false(new_locked);
}

// ---- control registers ---------------------------------------------------------------------------
static void test_cr0(void **state) {
    (void)state;
    assert_int_equal(cr_set_cr0(&vcpu, 1ull << 32), -EINVAL);
    assert_int_equal(cr_set_cr0(&vcpu, CR0_PE | CR0_PG | CR0_NW), -EINVAL); // NW without CD
    assert_int_equal(cr_set_cr0(&vcpu, CR0_PG), -EINVAL);
    assert_int_equal(cr_set_cr0(&vcpu, CR0_PE), -EINVAL); // paging off in 64-bit mode
    vcpu.seg[SEG_CS].l = 0;
    assert_int_equal(cr_set_cr0(&vcpu, CR0_PE), 0);
    assert_int_equal(vcpu.efer, EFER_LME);
    assert_true(vcpu.cr0 & CR0_ET);
    assert_int_equal(cr_set_cr0(&vcpu, CR0_PE | CR0_PG), 0);
    assert_int_equal(vcpu.efer, EFER_LME | EFER_LMA);
    assert_true(vcpu.dirty & PART_CR);
    assert_true(flushes > 0);
}

static void test_cr4(void **state) {
    (void)state;
    assert_int_equal(cr_set_cr4(&vcpu, CR4_PAE | CR4_VMXE), -EINVAL);
    assert_int_equal(cr_set_cr4(&vcpu, CR4_PAE | CR4_PCIDE), -EINVAL); // not in CPUID
    assert_int_equal(cr_set_cr4(&vcpu, CR4_PAE | CR4_LA57), -EINVAL);
    assert_int_equal(cr_set_cr4(&vcpu, CR4_PGE), -EINVAL); // PAE must stay in IA-32e mode
    assert_int_equal(cr_set_cr4(&vcpu, CR4_PAE | CR4_PGE | CR4_OSFXSR), 0);
    assert_int_equal(vcpu.cr4, CR4_PAE | CR4_PGE | CR4_OSFXSR);
}

static void test_pdptes(void **state) {
    (void)state;
    uint64_t entries[4] = {0x1001, 0, 0x2001 | 1ull << 41, 0};
    vcpu.efer = 0;
    vcpu.seg[SEG_CS].l = 0;
    memcpy(memory + 0x1020, entries, sizeof(entries));
    assert_true(cr_is_pae(&vcpu));
    assert_int_equal(cr_set_cr3(&vcpu, 0x1020), -EINVAL); // beyond 40 bits
    entries[2] = 0x2001;
    memcpy(memory + 0x1020, entries, sizeof(entries));
    assert_int_equal(cr_set_cr3(&vcpu, 0x1020), 0);
    assert_int_equal(vcpu.pdpte[2], 0x2001);
    assert_int_equal(cr_set_cr3(&vcpu, 0x100000), -EINVAL); // no memory there
}

static void test_xcr0(void **state) {
    (void)state;
    assert_int_equal(cr_set_xcr0(&vcpu, 0), -EINVAL);
    assert_int_equal(cr_set_xcr0(&vcpu, 5), -EINVAL); // AVX without SSE
    assert_int_equal(cr_set_xcr0(&vcpu, 3), 0);
    assert_int_equal(cr_set_xcr0(&vcpu, 1ull << 9 | 3), -EINVAL);
    // The host's AVX-512, which user space has put into CPUID: XSETBV of some combinations would fault.
    for (unsigned i = 0; i < table.head.nent; i++)
        table.entries[i].eax |= table.entries[i].function == 0xd ? 0xe7 : 0;
    assert_int_equal(cpuid_set2(&vcpu, (unsigned long)&table), 0);
    assert_int_equal(cr_set_xcr0(&vcpu, 0x27), -EINVAL);
    vcpu.gpr[GPR_RCX] = 1;
    vcpu.gpr[GPR_RAX] = 3;
    assert_int_equal(xsetbv_exit(&vcpu, &(struct vm_exit){.length = 3}), 1);
    assert_int_equal(injected, VECTOR_GP);
}

static void test_cr8(void **state) {
    (void)state;
    struct vm_exit to = {
        .kind = EXIT_CR, .length = 4, .cr = {.number = 8, .gpr = GPR_RBX, .access = 0}};
    vcpu.gpr[GPR_RBX] = 9;
    assert_int_equal(cr_exit(&vcpu, &to), 1);
    vcpu.gpr[GPR_RBX] = 3;
    assert_int_equal(cr_exit(&vcpu, &to), 0);
    assert_int_equal(kvm_run.exit_reason, KVM_EXIT_SET_TPR);
    vcpu.gpr[GPR_RBX] = 16;
    assert_int_equal(cr_exit(&vcpu, &to), 1);
    assert_int_equal(injected, VECTOR_GP);
    assert_int_equal(vcpu.cr8, 3);
    struct vm_exit lmsw = {
        .kind = EXIT_CR, .length = 3, .cr = {.number = 0, .access = 3, .lmsw = 0xfff0}};
    assert_int_equal(cr_exit(&vcpu, &lmsw), 1); // cannot clear PE
    assert_true(vcpu.cr0 & CR0_PE);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_model),
        TEST(test_cpuid),
        TEST(test_cpuid_ioctls),
        TEST(test_msr_values),
        TEST(test_msr_tsc),
        TEST(test_user_space_msrs),
        TEST(test_filter),
        TEST(test_cr0),
        TEST(test_cr4),
        TEST(test_pdptes),
        TEST(test_xcr0),
        TEST(test_cr8),
        TEST(test_filter_and_new_vcpu),
    };
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    free(vcpu.cpuid);
    msr_filter_free(&vm);
    return result;
}
