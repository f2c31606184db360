// The second level of exit handling: what each kind of exit means, by one const table, from which the
// diagram in docs/ is drawn and beside which statistics are kept.
#include <linux/kvm_para.h>
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "vmm/cpuid.h"
#include "vmm/cr.h"
#include "vmm/dr.h"
#include "vmm/emulate.h"
#include "vmm/msr.h"
#include "vmm/skip.h"
#include "vmm/run.h"
#include "vmm/stage2.h"
#include "vmm/watch.h"
#include "vmm/vendor.h"
#include "vmm/x86.h"

#define GO_ON      1
#define USER_SPACE 0

static int inject_ud(struct vcpu *v, const struct vm_exit *e) {
    (void)e;
    vcpu_inject_exception(v, VECTOR_UD, false, 0);
    return GO_ON;
}

static int nothing_to_do(struct vcpu *v, const struct vm_exit *e) {
    (void)v;
    (void)e;
    return GO_ON;
}

static int skip(struct vcpu *v, const struct vm_exit *e) {
    vcpu_skip(v, e->length);
    return GO_ON;
}

// ---- things that the host takes care of ---------------------------------------------------------
// The count that user space asked for, or one instruction.
static int count_reached(struct vcpu *v, const struct vm_exit *e) {
    v->attention = true; // settle() sees it
    bool step = v->step_over || vcpu_stepping(v);
    if (!step || (e->kind == EXIT_COUNT && vmm_vendor->has(ABILITY_STEP)))
        return GO_ON; // (the timer is not what steps)
    return vcpu_step_done(v);
}

static int look_again(struct vcpu *v, const struct vm_exit *e) {
    (void)e;
    v->attention = true;
    return GO_ON;
}

// ---- ports --------------------------------------------------------------------------------------
static int complete_in(struct vcpu *v) {
    uint64_t *rax = &v->gpr[GPR_RAX];
    switch (v->pending.size) { // narrow results leave the rest of RAX alone
    case 1: *rax = (*rax & ~0xffull) | *(uint8_t *)v->pio_data; break;
    case 2: *rax = (*rax & ~0xffffull) | *(uint16_t *)v->pio_data; break;
    default: *rax = *(uint32_t *)v->pio_data;
    }
    vcpu_skip(v, v->pending.length);
    return GO_ON;
}

static int complete_out(struct vcpu *v) {
    vcpu_skip(v, v->pending.length);
    return GO_ON;
}

static int port(struct vcpu *v, const struct vm_exit *e) {
    if (unlikely(e->io.string))
        return emulate_string_io(v, e);
    struct kvm_run *r = v->run;
    r->exit_reason = KVM_EXIT_IO;
    r->io.size = e->io.size;
    r->io.port = e->io.port;
    r->io.count = 1;
    r->io.data_offset = PAGE_SIZE;
    v->pending.length = e->length;
    if (e->io.in) {
        r->io.direction = KVM_EXIT_IO_IN;
        v->pending.size = e->io.size;
        v->complete = complete_in;
    } else {
        r->io.direction = KVM_EXIT_IO_OUT;
        *(uint32_t *)v->pio_data = (uint32_t)v->gpr[GPR_RAX];
        v->complete = complete_out;
    }
    return USER_SPACE;
}

// ---- memory --------------------------------------------------------------------------------------
static int memory(struct vcpu *v, const struct vm_exit *e) {
    unsigned access = (e->memory.write ? ACCESS_WRITE : 0) | (e->memory.execute ? ACCESS_EXEC : 0) |
                      (e->memory.read ? ACCESS_READ : 0);
    // A device's page is asked for again and again; no lock is needed as long as no slot changed.
    uint64_t page = e->memory.gpa | (PAGE_SIZE - 1);
    uint64_t changes = __atomic_load_n(&v->vm->slot_changes, __ATOMIC_ACQUIRE);
    if (v->device_page == page && v->device_changes == changes)
        return emulate_mmio(v, e);
    int r = stage2_fault(v->vm->stage2, e->memory.gpa, access);
    if (likely(r == 0))
        return GO_ON;
    if (r < 0)
        return r;
    if (r == 2) {
        if (watch_hit(v, e) == USER_SPACE)
            return USER_SPACE;
        // The page is open for this instruction, which need not fault once more to have it mapped.
        r = stage2_fault(v->vm->stage2, e->memory.gpa, access);
        return r < 0 ? r : GO_ON;
    }
    if (r == 1) {
        v->device_page = page;
        v->device_changes = changes;
    }
    return emulate_mmio(v, e);
}

// ---- instructions --------------------------------------------------------------------------------
static int hlt(struct vcpu *v, const struct vm_exit *e) {
    vcpu_skip(v, e->length);
    v->run->exit_reason = KVM_EXIT_HLT;
    return USER_SPACE;
}

// Hypercalls: none is known. (KVM tells user programs -KVM_EPERM: to look at the privilege level costs half an exit
// more, for callers that learn nothing by it.)
static int vmcall(struct vcpu *v, const struct vm_exit *e) {
    v->gpr[GPR_RAX] = (uint64_t)-KVM_ENOSYS;
    vcpu_skip(v, e->length);
    return GO_ON;
}

static int invlpg_exit(struct vcpu *v, const struct vm_exit *e) {
    vmm_vendor->flush_guest(v);
    vcpu_skip(v, e->length);
    return GO_ON;
}

static int triple_fault(struct vcpu *v, const struct vm_exit *e) {
    (void)e;
    v->run->exit_reason = KVM_EXIT_SHUTDOWN;
    return USER_SPACE;
}

// RDPMC without user space's help: the virtual CPU has no counters.
static int rdpmc(struct vcpu *v, const struct vm_exit *e) {
    if (v->control & CHRONO_TRAP_RAND)
        return vcpu_chrono_insn(v, e, CHRONO_INSN_RDPMC);
    vcpu_inject_exception(v, VECTOR_GP, true, 0);
    return GO_ON;
}

// Trapped by the extension, or because the virtual CPU has only one of them or none.
static int random_number(struct vcpu *v, const struct vm_exit *e) {
    bool seed = e->kind == EXIT_RDSEED;
    if (!(seed ? v->has_rdseed : v->has_rdrand))
        return inject_ud(v, e);
    if (v->control & CHRONO_TRAP_RAND)
        return vcpu_chrono_insn(v, e, seed ? CHRONO_INSN_RDSEED : CHRONO_INSN_RDRAND);
    vcpu_no_random(v, e);
    return GO_ON;
}

static int rdtsc_exit(struct vcpu *v, const struct vm_exit *e) {
    bool rdtscp = e->kind == EXIT_RDTSCP;
    if (!(v->control & CHRONO_VTIME) && (v->control & CHRONO_TRAP_TSC))
        return vcpu_chrono_insn(v, e, rdtscp ? CHRONO_INSN_RDTSCP : CHRONO_INSN_RDTSC);
    uint64_t tsc = vcpu_tsc(v);
    v->gpr[GPR_RAX] = (uint32_t)tsc;
    v->gpr[GPR_RDX] = tsc >> 32;
    if (rdtscp)
        v->gpr[GPR_RCX] = (uint32_t)v->msr.tsc_aux;
    vcpu_skip(v, e->length);
    return GO_ON;
}

static int pause(struct vcpu *v, const struct vm_exit *e) {
    if (v->control & CHRONO_TRAP_PAUSE)
        return vcpu_chrono_insn(v, e, CHRONO_INSN_PAUSE);
    return skip(v, e);
}

// ---- ends ----------------------------------------------------------------------------------------
static int entry_failed(struct vcpu *v, const struct vm_exit *e) {
    vcpu_report_entry_failure(v, e);
    v->run->exit_reason = KVM_EXIT_FAIL_ENTRY;
    v->run->fail_entry.hardware_entry_failure_reason = e->raw_reason ? e->raw_reason
                                                                     : e->qualification;
    v->run->fail_entry.cpu = this_cpu()->id;
    return USER_SPACE;
}

const exit_handler exit_handlers[EXIT_KIND_COUNT] = {
    [EXIT_HOST] = nothing_to_do,
    [EXIT_INTERRUPT] = look_again, // it was taken when interrupts were enabled after the passage
    [EXIT_NMI] = look_again,       // the vendor had it handled
    [EXIT_COUNT] = count_reached,
    [EXIT_STEP] = count_reached,
    [EXIT_IO] = port,
    [EXIT_MEMORY] = memory,
    [EXIT_MISCONFIG] = vcpu_report_unknown,
    [EXIT_CPUID] = cpuid_exit,
    [EXIT_HLT] = hlt,
    [EXIT_PAUSE] = pause,
    [EXIT_RDMSR] = msr_exit_read,
    [EXIT_WRMSR] = msr_exit_write,
    [EXIT_CR] = cr_exit,
    [EXIT_DR] = dr_exit,
    [EXIT_EXCEPTION] = exception_exit,
    [EXIT_IRQ_WINDOW] = look_again, // for what waited
    [EXIT_NMI_WINDOW] = look_again,
    [EXIT_RDTSC] = rdtsc_exit,
    [EXIT_RDTSCP] = rdtsc_exit,
    [EXIT_RDPMC] = rdpmc,
    [EXIT_RDRAND] = random_number,
    [EXIT_RDSEED] = random_number,
    [EXIT_XSETBV] = xsetbv_exit,
    [EXIT_WBINVD] = skip, // guest memory is coherent
    [EXIT_INVLPG] = invlpg_exit,
    [EXIT_INVPCID] = inject_ud,              // the virtual CPU has no PCID
    [EXIT_DESCRIPTOR] = vcpu_report_unknown, // never intercepted
    [EXIT_TASK_SWITCH] = emulate_task_switch,
    [EXIT_VMCALL] = vmcall,
    [EXIT_VMX_INSN] = inject_ud,
    [EXIT_MONITOR] = inject_ud,
    [EXIT_TRIPLE_FAULT] = triple_fault,
    [EXIT_INIT] = vcpu_report_unknown, // the host gets no INIT or SIPI while it runs guests
    [EXIT_SIPI] = vcpu_report_unknown,
    [EXIT_ENTRY_FAILED] = entry_failed,
    [EXIT_UNKNOWN] = vcpu_report_unknown,
};

const char *exit_name(enum exit_kind kind) {
    static const char *const texts[] = {
#define X(name, text) text,
        EXIT_KINDS(X)
#undef X
    };
    return kind < EXIT_KIND_COUNT ? texts[kind] : "no such kind";
}

const char *exit_id(enum exit_kind kind) {
    static const char *const ids[] = {
#define X(name, text) #name,
        EXIT_KINDS(X)
#undef X
    };
    return kind < EXIT_KIND_COUNT ? ids[kind] : "?";
}
