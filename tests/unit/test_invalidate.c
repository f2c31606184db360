/* sources: vmm/intel/invalidate.c vmm/intel/current.c vmm/intel/state.c tests/unit/vmcs_host.c */
// That each invalidation is issued, on the right processor: Bochs flushes its TLB at every entry and exit, so nothing
// else would notice a missing one. The last test has a model of what processors keep, and vCPUs that move about.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <asm/prctl.h>
#include <asm/unistd.h>
#include <cmocka.h>
#include "vmcs_host.h"
#include "cpu/percpu.h"
#include "vmm/intel/invalidate.h"
#include "vmm/intel/vmx.h"

#define PROCESSORS 4
#define VCPUS      3

static struct {
    unsigned invept, invvpid;
    uint64_t eptp, vpid;
    int invept_type, invvpid_type;
} seen;

// ---- processors ------------------------------------------------------------------------------------
static struct cpu processors[PROCESSORS];
static struct vmx_cpu vmx_cpus[PROCESSORS];
static paddr_t active_on[PROCESSORS]
                        [VCPUS + 1];     // VMCS regions that a processor has not written back
static bool kept[PROCESSORS][VCPUS + 1]; // by VPID: it has translations that are old by now

bool vmx_pmc_on;
void vmx_msrs_changed(struct vcpu *v) {}
void vmx_read_kernel_gs_base(struct vcpu *v) {}
void vmx_write_host_state(struct vcpu *v) {}

// this_cpu() reads through GS.
static void go_to(unsigned processor) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(__NR_arch_prctl), "D"(ARCH_SET_GS), "S"(&processors[processor])
                     : "rcx", "r11", "memory");
    assert_int_equal(result, 0);
}
static unsigned here(void) {
    return this_cpu()->id;
}

void vmptrld(paddr_t region) {
    for (unsigned i = 0; i < PROCESSORS; i++) // SDM: active on one processor only
        assert_true(i == here() || !active_on[i][region]);
    active_on[here()][region] = region;
}
void vmclear(paddr_t region) {
    active_on[here()][region] = 0;
}
void vmx_invept(enum invept_type type, uint64_t eptp) {
    seen.invept++;
    seen.invept_type = type;
    seen.eptp = eptp;
}
void vmx_invvpid(enum invvpid_type type, uint16_t vpid, uint64_t address) {
    seen.invvpid++;
    seen.invvpid_type = type;
    seen.vpid = vpid;
    if (vpid <= VCPUS)
        kept[here()][vpid] = false;
    (void)address;
}
void smp_call_others(void (*fn)(void *arg), void *arg) {
    unsigned caller = here();
    for (unsigned i = 0; i < PROCESSORS; i++)
        if (i != caller) {
            go_to(i);
            fn(arg);
        }
    go_to(caller);
}

static int set_up(void **state) {
    vmcs_host_good();
    memset(active_on, 0, sizeof(active_on));
    memset(kept, 0, sizeof(kept));
    for (unsigned i = 0; i < PROCESSORS; i++) {
        vmx_cpus[i] = (struct vmx_cpu){.on = true};
        processors[i] = (struct cpu){.self = &processors[i], .id = i, .vmm = &vmx_cpus[i]};
    }
    go_to(0);
    memset(&seen, 0, sizeof(seen));
    return 0;
}

// ---- single invalidations --------------------------------------------------------------------------
static void second_level_on_every_processor(void **state) {
    struct vcpu cpu = {0};
    struct vm vm = {.vcpus = {&cpu}, .vcpu_count = 1};
    vmx_flush_stage2(&vm, 0x123000);
    assert_int_equal(seen.invept, PROCESSORS);
    assert_int_equal(seen.invept_type, INVEPT_SINGLE);
    assert_int_equal(seen.eptp >> 12, 0x123); // the context is bits 51:12
    assert_int_equal(seen.invvpid, 0);
    assert_int_equal(cpu.costs.tlb_invalidations, 1);
}

// Asked for anywhere, done by the next entry.
static void guest_translations_of_one_vcpu(void **state) {
    struct vmx_vcpu vmx = {.vpid = 77};
    struct vcpu cpu = {.arch = &vmx};
    vmx_flush_guest(&cpu);
    assert_int_equal(seen.invvpid, 0);
    vmx_write_dirty(&cpu);
    assert_int_equal(seen.invvpid, 1);
    assert_int_equal(seen.invvpid_type, INVVPID_SINGLE);
    assert_int_equal(seen.vpid, 77);
    assert_int_equal(seen.invept, 0);
    assert_int_equal(cpu.costs.tlb_invalidations, 1);
    vmx_write_dirty(&cpu); // once
    assert_int_equal(seen.invvpid, 1);
}

// Without VPIDs every entry and exit flushes, and INVVPID may not exist.
static void without_vpid_nothing(void **state) {
    struct vmx_vcpu vmx = {.vpid = 77};
    struct vcpu cpu = {.arch = &vmx};
    vmx_controls.secondary &= ~CPU2_VPID;
    vmx_flush_guest(&cpu);
    vmx_write_dirty(&cpu);
    vmx_flush_vpid(77);
    assert_int_equal(seen.invvpid, 0);
}

// ---- a VMCS that moves -----------------------------------------------------------------------------
static struct vmx_vcpu vmx[VCPUS + 1];
static struct vcpu vcpus[VCPUS + 1];

static struct vcpu *new_vcpu(unsigned i) {
    vmx[i] = (struct vmx_vcpu){.vmcs = i, .vpid = (uint16_t)i};
    vcpus[i] = (struct vcpu){.arch = &vmx[i], .hw_cpu = -1};
    return &vcpus[i];
}

// vcpu_bring_here() of vmm/vcpu.c.
static void load(struct vcpu *v) {
    if (v->hw_cpu >= 0 && v->hw_cpu != (int)here())
        vmx_vcpu_unload(v);
    if (vmx_cpus[here()].loaded != v) // vmx_vcpu_load()
        vmx_make_current(v);
    assert_int_equal(v->hw_cpu, here());
    assert_ptr_equal(vmx_cpus[here()].loaded, v);
}

static void a_move_flushes_where_it_goes(void **state) {
    struct vcpu *v = new_vcpu(1);
    load(v);
    assert_int_equal(seen.invvpid, 1); // the VPID may have been another vCPU's
    load(v);
    assert_int_equal(seen.invvpid, 1); // it stays
    v->passage.launched = 1;
    go_to(2);
    load(v);
    assert_int_equal(seen.invvpid, 2);
    assert_int_equal(seen.vpid, 1);
    assert_int_equal(active_on[0][1], 0); // written back where it was
    assert_null(vmx_cpus[0].loaded);
    assert_int_equal(v->passage.launched, 0); // VMLAUNCH again
    go_to(0);
    load(v);
    assert_int_equal(seen.invvpid, 3);
}

static void another_vcpu_in_between_is_no_move(void **state) {
    struct vcpu *one = new_vcpu(1), *two = new_vcpu(2);
    load(one);
    load(two);
    assert_int_equal(seen.invvpid, 2);
    load(one);
    assert_int_equal(seen.invvpid, 2); // its own VPID keeps them apart
    assert_int_equal(active_on[0][2], 2);
}

static void a_freed_vpid_is_given_again(void **state) {
    uint16_t a = vmx_vpid_alloc(), b = vmx_vpid_alloc();
    assert_true(a && b && a != b);
    vmx_vpid_free(a);
    assert_int_equal(vmx_vpid_alloc(), a);
    vmx_vpid_free(a);
    vmx_vpid_free(b);
}

// The guest's tables change by what software does, on any processor; no entry may find an old translation. A
// processor that a vCPU has run on keeps what it saw, until it is told.
static void nothing_old_is_ever_entered_with(void **state) {
    unsigned entries = 0;
    for (unsigned i = 1; i <= VCPUS; i++)
        new_vcpu(i);
    srand(1);
    for (unsigned step = 0; step < 200000; step++) {
        unsigned i = 1 + (unsigned)rand() % VCPUS;
        struct vcpu *v = &vcpus[i];
        go_to((unsigned)rand() % PROCESSORS);
        switch (rand() % 8) {
        case 0: // a new vCPU takes over VMCS and VPID
            if (v->hw_cpu >= 0)
                vmx_vcpu_unload(v);
            for (unsigned p = 0; p < PROCESSORS; p++)
                kept[p][i] = true;
            new_vcpu(i);
            break;
        case 1:
        case 2: // KVM_SET_SREGS, or an exit that writes CR3, after which the world has moved
            for (unsigned p = 0; p < PROCESSORS; p++)
                kept[p][i] = true;
            vmx_flush_guest(v);
            break;
        default:
            load(v);
            vmx_write_dirty(v);
            assert_false(kept[here()][i]);
            entries++;
        }
    }
    assert_true(entries > 100000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(second_level_on_every_processor, set_up),
        cmocka_unit_test_setup(guest_translations_of_one_vcpu, set_up),
        cmocka_unit_test_setup(without_vpid_nothing, set_up),
        cmocka_unit_test_setup(a_move_flushes_where_it_goes, set_up),
        cmocka_unit_test_setup(another_vcpu_in_between_is_no_move, set_up),
        cmocka_unit_test_setup(a_freed_vpid_is_given_again, set_up),
        cmocka_unit_test_setup(nothing_old_is_ever_entered_with, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
