// KVM_RUN: the loop around the guest.
//
// A passage: with interrupts off what could keep the vCPU from entering is looked at, the guest runs
// until something ends it, then interrupts are taken and the second-level handler (exit.c) either goes on
// or hands the exit to user space. The kernel is not preempted, so the vCPU stays loaded on its processor
// until a handler sleeps; then switched_out() reads all that is stale, and the next passage loads it again
// wherever the world is by then.
#include "vmm/run.h"
#include "cpu/clock.h"
#include "cpu/fpu.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "sched/world.h"
#include "vmm/clock.h"
#include "vmm/vendor.h"
#include "vmm/wake.h"
#include "vmm/x86.h"

#define STOPPED 0 // results of the steps: back to user space, kvm_run is filled in
#define GO_ON   1

// A guest that is never stopped by a count is still taken out once in a while: in Bochs a guest entered
// with interrupts disabled does not exit for the host's, so the timer must.
#define LONGEST_PASSAGE_NS 4000000

static bool interrupt_window_open(struct vcpu *v) {
    vcpu_sync(v, PART_RFLAGS | PART_BLOCKING);
    return (v->rflags & RFLAGS_IF) && !(v->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) &&
           !v->event.exception_pending && !v->event.nmi_injected && !v->event.interrupt_pending;
}

static uint32_t extension_intercepts(uint32_t control) {
    uint32_t i = 0;
    i |= control & CHRONO_TRAP_TSC ? INTERCEPT_RDTSC : 0;
    i |= control & CHRONO_TRAP_RAND ? INTERCEPT_RAND : 0;
    i |= control & CHRONO_TRAP_PAUSE ? INTERCEPT_PAUSE : 0;
    return i;
}

static uint32_t intercepts(const struct vcpu *v) {
    uint32_t control = v->chrono->control, i = 0;
    if (unlikely(control))
        i |= extension_intercepts(control);
    if (vcpu_stepping(v) && vmm_vendor->has(ABILITY_STEP))
        i |= INTERCEPT_STEP;
    if (unlikely(v->want_irq_window))
        i |= INTERCEPT_IRQ_WINDOW;
    if (unlikely(v->want_nmi_window))
        i |= INTERCEPT_NMI_WINDOW;
    return i;
}

// How far the guest may run: until the count asked for, one instruction, or the longest passage.
static uint64_t ticks_allowed(const struct vcpu *v, uint64_t longest) {
    if (vcpu_stepping(v) && !vmm_vendor->has(ABILITY_STEP))
        return 1;
    if (unlikely(v->chrono->control & CHRONO_STOP_AT))
        return MIN(longest, v->chrono->stop_count - v->count);
    return longest;
}

static int stop(struct vcpu *v, uint32_t reason) {
    v->run->exit_reason = reason;
    return STOPPED;
}

static int interrupted(struct vcpu *v) {
    v->run->exit_reason = KVM_EXIT_INTR;
    return -EINTR;
}

// ---- before an entry -----------------------------------------------------------------------------
// The guest has work for prepare() before the next entry.
static bool needs_preparation(const struct vcpu *v) {
    return v->want_irq_window || v->event.interrupt_pending || v->event.nmi_pending || v->event.triple_fault ||
           v->run->request_interrupt_window || (v->chrono->control & CHRONO_STOP_AT);
}

// Something outside of the guest wants the processor or the world. Interrupts off.
static bool host_wants(const struct vcpu *v) {
    return this_cpu()->need_resched || __atomic_load_n(&v->wake_requested, __ATOMIC_RELAXED) ||
           signal_pending(current);
}

bool vcpu_attention(const struct vcpu *v) {
    bool stop = (v->chrono->control & CHRONO_STOP_AT) && v->count >= v->chrono->stop_count;
    bool event = v->event.interrupt_pending || v->event.nmi_pending || v->event.exception_pending ||
                 v->event.triple_fault || v->run->request_interrupt_window;
    return stop || event || v->run->immediate_exit || v->step_over || vcpu_stepping(v) || host_wants(v);
}

static int prepare(struct vcpu *v) {
    if ((v->chrono->control & CHRONO_STOP_AT) && v->count >= v->chrono->stop_count)
        return stop(v, KVM_EXIT_CHRONO_STOP);
    if (v->event.triple_fault) {
        v->event.triple_fault = false;
        return stop(v, KVM_EXIT_SHUTDOWN);
    }
    bool requested = v->run->request_interrupt_window;
    if (requested && interrupt_window_open(v))
        return stop(v, KVM_EXIT_IRQ_WINDOW_OPEN);
    v->want_irq_window = requested || (v->event.interrupt_pending && !v->event.interrupt_soft);
    v->want_nmi_window = v->event.nmi_pending;
    return GO_ON;
}

static int serve_host(struct vcpu *v) {
    if (__atomic_exchange_n(&v->wake_requested, false, __ATOMIC_ACQ_REL) || signal_pending(current))
        return interrupted(v);
    cond_resched();
    return GO_ON;
}

// ---- a passage -----------------------------------------------------------------------------------
static void enter_and_leave(struct vcpu *v, uint64_t longest, struct vm_exit *e) {
    bool masked = unlikely(v->chrono->control & CHRONO_MASK_IRQS);
    uint64_t host_xcr0 = 0;
    if (masked)
        write_cr8(15); // nothing is pending for the processor until the slice has ended at its count
    if (unlikely(v->xcr0_hw != fpu_features())) {
        host_xcr0 = fpu_features();
        xsetbv(0, v->xcr0_hw);
    }
    vmm_vendor->run(v, intercepts(v), ticks_allowed(v, longest), e);
    if (unlikely(host_xcr0))
        xsetbv(0, host_xcr0);
    if (masked)
        write_cr8(0);
}

static void remember(struct vcpu *v, const struct vm_exit *e) {
    unsigned i = v->recent_next++ % ARRAY_SIZE(v->recent);
    v->recent[i].kind = e->kind;
    v->recent[i].count = v->count;
    v->recent[i].qualification = e->qualification;
}

static int loop(struct vcpu *v) {
    uint64_t longest = clock_ns_to_tsc(LONGEST_PASSAGE_NS);
    struct vm_exit e;
    for (;;) {
        int r;
        if (unlikely(needs_preparation(v)) && (r = prepare(v)) != GO_ON)
            return r;
        vcpu_bring_here(v); // interrupts are off from here
        if (unlikely(host_wants(v))) {
            irq_enable();
            if ((r = serve_host(v)) != GO_ON)
                return r;
            continue;
        }
        enter_and_leave(v, longest, &e);
        irq_enable();
        remember(v, &e);
        r = exit_handle(v, &e);
        if (r != GO_ON)
            return r;
    }
}

// ---- around the loop -----------------------------------------------------------------------------
// The world leaves the processor in KVM_RUN: what only this processor knows is read, and another world's
// MSRs must not be the guest's.
static void switched_out(struct world *w) {
    struct vcpu *v = w->vcpu;
    vcpu_sync(v, PART_ALL);
    vmm_vendor->vcpu_put(v);
}

// The guest's x87, SSE and AVX registers take the place of the program's, for the scheduler too.
static void *enter_guest_mode(struct vcpu *v) {
    struct world *w = current;
    void *host_fpu = w->fpu;
    fpu_save(host_fpu);
    irq_disable();
    w->fpu = v->fpu;
    fpu_load(v->fpu);
    w->vcpu = v;
    w->switched_out = switched_out;
    irq_enable();
    v->costs.xsaves += 2;
    return host_fpu;
}

static void leave_guest_mode(struct vcpu *v, void *host_fpu) {
    struct world *w = current;
    irq_disable();
    fpu_save(v->fpu);
    w->fpu = host_fpu;
    fpu_load(host_fpu);
    vmm_vendor->vcpu_put(v);
    w->vcpu = NULL;
    w->switched_out = NULL;
    irq_enable();
    v->costs.xsaves += 2;
    v->costs.user_exits++;
}

// What user space reads after every KVM_RUN.
static void publish(struct vcpu *v) {
    struct kvm_run *r = v->run;
    vcpu_sync(v, PART_RIP);
    r->ready_for_interrupt_injection = interrupt_window_open(v);
    r->if_flag = (v->rflags & RFLAGS_IF) != 0;
    r->cr8 = v->cr8;
    r->apic_base = v->msr.apic_base;
    r->flags = 0;
    v->chrono->count = v->count;
    v->chrono->rip = v->rip;
    v->chrono->rcx = v->gpr[GPR_RCX];
    v->chrono->exits = v->costs.exits;
    if (unlikely(r->kvm_valid_regs))
        vcpu_sync_regs_out(v);
}

// What user space was asked for at the last exit is there now.
static int complete(struct vcpu *v) {
    int (*fn)(struct vcpu *) = v->complete;
    v->complete = NULL;
    return fn(v);
}

static int run(struct vcpu *v) {
    if (v->complete) {
        int r = complete(v);
        if (r != GO_ON)
            return r;
    }
    if (v->run->immediate_exit)
        return interrupted(v);
    if (unlikely(v->wake) && wake_source_ready(v))
        return interrupted(v);
    return loop(v);
}

long vcpu_run(struct vcpu *v) {
    ASSERT(mutex_held(&v->lock));
    if (v->run->cr8 & ~15ull)
        return -EINVAL;
    if (unlikely(v->run->kvm_valid_regs | v->run->kvm_dirty_regs)) {
        int err = vcpu_sync_regs_in(v);
        if (err)
            return err;
    }
    v->cr8 = v->run->cr8;
    v->count = v->chrono->count;
    void *host_fpu = enter_guest_mode(v);
    vcpu_bring_here(v); // from now on what is stale is on this processor
    irq_enable();
    int r = run(v);
    publish(v);
    leave_guest_mode(v, host_fpu);
    return r;
}
