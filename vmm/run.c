// KVM_RUN: the loop around the guest.
//
// A passage: with interrupts off, what could keep the vCPU from entering is looked at; the guest runs until
// something ends it; then interrupts are taken and the second-level handler (exit.c) either goes on or
// hands the exit to user space. An exit that the kernel finishes itself meets few instructions: all that
// rarely matters is behind one test, and settled in one place, settle().
//
// The kernel is not preempted, so the vCPU stays loaded on its processor until a handler sleeps; then
// switched_out() reads all that is stale, and the next passage loads it again wherever the world is then.
#include "vmm/run.h"
#include "cpu/clock.h"
#include "cpu/fpu.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "sched/world.h"
#include "vmm/breakpoint.h"
#include "vmm/clock.h"
#include "vmm/emulate.h"
#include "vmm/vendor.h"
#include "vmm/wake.h"
#include "vmm/watch.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

#define STOPPED 0 // results of the steps: back to user space, kvm_run is filled in
#define GO_ON   1

// A guest that is never stopped by a count is still taken out once in a while: in Bochs a guest entered
// with interrupts disabled does not exit for the host's, so the timer must.
#define LONGEST_PASSAGE_NS 4000000

static int stop(struct vcpu *v, uint32_t reason) {
    v->run->exit_reason = reason;
    return STOPPED;
}

static int interrupted(struct vcpu *v) {
    v->run->exit_reason = KVM_EXIT_INTR;
    return -EINTR;
}

// ---- before an entry -----------------------------------------------------------------------------
static inline bool interruptible(const struct vcpu *v) {
    return (v->rflags & RFLAGS_IF) && !(v->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS));
}

static inline bool interrupt_window_open(const struct vcpu *v) {
    return interruptible(v) && !v->event.exception_pending && !v->event.nmi_injected &&
           !v->event.interrupt_pending;
}

// There is an interrupt that the next entry cannot deliver.
static bool interrupt_waits(const struct vcpu *v) {
    return v->event.interrupt_pending && !v->event.interrupt_soft &&
           (!interruptible(v) || v->event.exception_pending || v->event.nmi_pending ||
            v->event.nmi_injected);
}

static bool single_step(const struct vcpu *v) {
    return vcpu_stepping(v) || v->step_over;
}

// How one instruction is executed alone: by the monitor trap flag; where that does nothing but ticks are
// instructions, by a passage of one tick; else by the guest's trap flag (which PUSHF then shows).
static bool steps_by_tick(const struct vcpu *v) {
    return single_step(v) && !vmm_vendor->has(ABILITY_STEP) && vmm_clock.info.exact;
}
static bool steps_by_flag(const struct vcpu *v) {
    return single_step(v) && !vmm_vendor->has(ABILITY_STEP) && !vmm_clock.info.exact;
}

static uint32_t intercepts(const struct vcpu *v) {
    static const struct {
        uint32_t control, intercept;
    } traps[] = {{CHRONO_TRAP_TSC, INTERCEPT_RDTSC},
                 {CHRONO_TRAP_RAND, INTERCEPT_RAND},
                 {CHRONO_TRAP_PAUSE, INTERCEPT_PAUSE}};
    uint32_t i = 0;
    for (unsigned t = 0; t < ARRAY_SIZE(traps); t++)
        i |= v->control & traps[t].control ? traps[t].intercept : 0;
    if (single_step(v) && vmm_vendor->has(ABILITY_STEP))
        i |= INTERCEPT_STEP;
    if (v->run->request_interrupt_window || interrupt_waits(v))
        i |= INTERCEPT_IRQ_WINDOW;
    if (v->event.nmi_pending)
        i |= INTERCEPT_NMI_WINDOW;
    if (vmm_clock.info.kind == CHRONO_CLOCK_PMC)
        i |= INTERCEPT_PRESENT_FAULTS; // vmm/spurious.c
    if (v->traps_rand)                 // they must not work where CPUID does not show them
        i |= INTERCEPT_RAND;
    if (v->vm->debugged || (v->guest_debug.control & KVM_GUESTDBG_USE_SW_BP))
        i |= INTERCEPT_INT3;
    return i;
}

// How far it is to where the guest is to be stopped: to a count, or to a time; else the longest passage.
static inline uint64_t ticks_to_stop(const struct vcpu *v) {
    uint64_t longest = clock_ns_to_tsc(LONGEST_PASSAGE_NS);
    if (!(v->control & (CHRONO_STOP_AT | CHRONO_STOP_TSC)))
        return longest;
    uint64_t now = v->control & CHRONO_STOP_AT ? v->count : rdtsc();
    return v->stop_at > now ? MIN(longest, v->stop_at - now) : 0;
}

// After STI or MOV SS a count does not end the passage: the timer waits for one more instruction, and so do exits
// that only the host or a debugger causes, or the stop would be elsewhere than without them.
static bool shadowed(struct vcpu *v) {
    vcpu_sync(v, PART_BLOCKING);
    return v->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
}

// Those of vcpu.intercepts that stay as long as vcpu.control does.
#define LASTING_INTERCEPTS (INTERCEPT_RAND | INTERCEPT_RDTSC | INTERCEPT_PAUSE)

static bool stop_due(struct vcpu *v) {
    return !ticks_to_stop(v) && ((v->control & CHRONO_STOP_TSC) || !shadowed(v));
}

bool vcpu_event_due(struct vcpu *v) {
    vcpu_sync(v, PART_RFLAGS | PART_BLOCKING);
    bool nmi = v->event.nmi_pending &&
               !(v->interruptibility & (BLOCKED_BY_NMI | BLOCKED_BY_STI | BLOCKED_BY_MOV_SS));
    bool interrupt = v->event.interrupt_pending && !v->event.interrupt_soft && interruptible(v);
    bool window = v->run->request_interrupt_window && interrupt_window_open(v);
    return nmi || interrupt || window || stop_due(v);
}

// Something outside of the guest wants the processor or the world.
static bool host_wants(const struct vcpu *v) {
    return this_cpu()->need_resched || __atomic_load_n(&v->wake_requested, __ATOMIC_RELAXED) ||
           signal_pending(current);
}

bool vcpu_attention(const struct vcpu *v) {
    return v->event.any || !ticks_to_stop(v) || v->run->request_interrupt_window ||
           v->run->immediate_exit || single_step(v) || host_wants(v);
}

static int serve_host(struct vcpu *v) {
    cond_resched();
    if (__atomic_exchange_n(&v->wake_requested, false, __ATOMIC_ACQ_REL) || signal_pending(current))
        return interrupted(v);
    return GO_ON;
}

// All that must be clear before an entry and is not looked at every time.
static int settle(struct vcpu *v) {
    __atomic_store_n(&v->attention, false,
                     __ATOMIC_SEQ_CST); // before what it stands for is looked at
    int r = serve_host(v);
    if (r == GO_ON && v->skipped && single_step(v))
        r = vcpu_step_done(v); // the VMM did the one instruction
    if (r != GO_ON)
        return r;
    if (stop_due(v))
        return stop(v, KVM_EXIT_CHRONO_STOP);
    if (v->event.triple_fault) {
        v->event.triple_fault = false;
        return stop(v, KVM_EXIT_SHUTDOWN);
    }
    if (v->run->request_interrupt_window && interrupt_window_open(v))
        return stop(v, KVM_EXIT_IRQ_WINDOW_OPEN);
    uint64_t ticks = ticks_to_stop(v);
    v->intercepts = intercepts(v);
    v->ticks = ticks && !steps_by_tick(v) ? ticks : 1; // (0: the count is reached in a shadow)
    v->special = v->xcr0_hw || (v->control & (CHRONO_STOP_AT | CHRONO_STOP_TSC | CHRONO_VTIME));
    if (single_step(v) || vmm_clock.info.kind == CHRONO_CLOCK_PMC)
        v->attention = true; // again before the next one
    v->settle_each_run = (v->intercepts & ~LASTING_INTERCEPTS) || v->guest_debug.control ||
                         (v->hw_dr7 & DR7_ENABLES) || v->has_signal_mask;
    return GO_ON;
}

// ---- a passage -----------------------------------------------------------------------------------
// The guest's trap flag as ours, for one entry. Its trap is pending exactly where the entry insists on it
// (SDM vol. 3, "Checks on Guest Non-Register State"); Bochs 2.7 leaves one behind at exits of instructions
// that did not complete.
static void set_trap_flag(struct vcpu *v, bool on) {
    bool in_shadow = v->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
    vcpu_sync(v, PART_ACTIVITY);
    v->rflags = on ? v->rflags | RFLAGS_TF : v->rflags & ~RFLAGS_TF;
    v->pending_debug = on && in_shadow ? v->pending_debug | PENDING_DEBUG_BS
                                       : v->pending_debug & ~PENDING_DEBUG_BS;
    vcpu_changed(v, PART_RFLAGS | PART_ACTIVITY);
}

// What only some entries need around them; nothing stays different for the host.
static void begin_special(const struct vcpu *v) {
    if (v->control & CHRONO_MASK_IRQS)
        write_cr8(15); // nothing is pending for the processor until the slice has ended
    if (v->xcr0_hw)
        xsetbv(0, v->xcr0_hw);
}

static void end_special(const struct vcpu *v) {
    if (v->xcr0_hw)
        xsetbv(0, fpu_features());
    if (v->control & CHRONO_MASK_IRQS)
        write_cr8(0);
}

// The first passage after settle().
static struct vm_exit *run_anew(struct vcpu *v) {
    bool by_flag = steps_by_flag(v) && !(v->rflags & RFLAGS_TF);
    if (by_flag)
        set_trap_flag(v, true);
    begin_special(v);
    struct vm_exit *e = vmm_vendor->run(v, v->intercepts, v->ticks);
    end_special(v);
    if (by_flag)
        set_trap_flag(v, false);
    return e;
}

// A later one, of a special vCPU. NULL: it must be settled first.
static struct vm_exit *run_on_specially(struct vcpu *v) {
    if (v->attention | v->unloaded | v->event.any | THIS_CPU->need_resched)
        return NULL;
    v->ticks = ticks_to_stop(v);
    if (!v->ticks)
        return NULL;
    begin_special(v);
    struct vm_exit *e = vmm_vendor->run_for(v, v->ticks);
    end_special(v);
    return e;
}

// Interrupts are off: gets the vCPU on this processor, where mostly it was before.
static inline void load(struct vcpu *v) {
    if (likely(v->hw_cpu == (int)THIS_CPU->id)) {
        vmm_vendor->vcpu_load(v);
    } else {
        irq_enable();
        vcpu_bring_here(v);
    }
    v->unloaded = false;
}

// Leaves interrupts off with the vCPU loaded and nothing in the way of an entry; or on, with the result of
// KVM_RUN.
static int get_ready(struct vcpu *v) {
    for (;;) {
        int r = settle(v);
        if (r != GO_ON) {
            v->attention = true; // what it prepared has not become an entry
            return r;
        }
        irq_disable();
        if (v->unloaded)
            load(v);
        if (!host_wants(v)) // it could not be loaded before and after it is, so it is seen here
            return GO_ON;
        irq_enable();
    }
}

static int loop(struct vcpu *v) {
    for (;;) {
        int r;
        struct vm_exit *e;
        irq_disable();
        if (likely(!(v->gate | v->event.any | THIS_CPU->need_resched))) {
            e = vmm_vendor->run_on(v);
        } else if (!(e = run_on_specially(v))) {
            irq_enable();
            r = get_ready(v);
            if (r != GO_ON)
                return r;
            e = run_anew(v);
        }
        irq_enable();
        v->exits[e->kind]++;
        v->skipped = false;
        r = exit_handlers[e->kind](v, e);
        if (r != GO_ON)
            return r;
    }
}

// ---- around the loop -----------------------------------------------------------------------------
// The world leaves the processor in KVM_RUN: what only this processor knows is read, and another world's
// MSRs must not be the guest's.
static void switched_out(struct world *w) {
    struct vcpu *v = w->vcpu;
    v->unloaded = true;
    vcpu_sync(v, PART_ALL);
    vmm_vendor->vcpu_put(v);
}

// The guest's x87, SSE and AVX registers take the place of the program's, for the scheduler too, and the vCPU is on
// this processor: from now on what is stale is here.
static void *enter_guest_mode(struct vcpu *v) {
    struct world *w = current;
    void *host_fpu = w->fpu;
    irq_disable();
    fpu_exchange(host_fpu, v->fpu);
    w->fpu = v->fpu;
    w->vcpu = v;
    w->switched_out = switched_out;
    load(v);
    irq_enable();
    return host_fpu;
}

static void leave_guest_mode(struct vcpu *v, void *host_fpu) {
    struct world *w = current;
    irq_disable();
    fpu_exchange(v->fpu, host_fpu);
    w->fpu = host_fpu;
    v->unloaded = true;
    vmm_vendor->vcpu_put(v);
    w->vcpu = NULL;
    w->switched_out = NULL;
    irq_enable();
    v->costs.user_exits++;
}

// What user space reads after every KVM_RUN.
static void publish(struct vcpu *v) {
    struct kvm_run *r = v->run;
    struct chrono_run *c = v->chrono;
    r->ready_for_interrupt_injection = interrupt_window_open(v);
    r->if_flag = (v->rflags & RFLAGS_IF) != 0;
    r->cr8 = v->cr8;
    r->apic_base = v->msr.apic_base;
    r->flags = 0;
    c->count = v->count;
    c->injected = v->injected_at == v->count ? v->injected : 0;
    c->rip = v->complete_rip = v->rip;
    c->rcx = v->gpr[GPR_RCX];
    if (unlikely(r->kvm_valid_regs))
        vcpu_sync_regs_out(v);
}

// What user space was asked for at the last exit is there now. It may also have moved the vCPU elsewhere (a
// reset): then that instruction has no end.
static int complete(struct vcpu *v) {
    int (*fn)(struct vcpu *) = v->complete;
    v->complete = NULL;
    if (likely(v->rip == v->complete_rip))
        return fn(v);
    emulation_free(v);
    return GO_ON;
}

static int run(struct vcpu *v) {
    v->skipped = false;
    if (v->complete) { // if it skips the instruction, settle() sees that as a step
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

// What the extension was asked for can be done on this machine. 0 or -errno.
static int check_control(const struct vcpu *v) {
    bool by_count = v->control & CHRONO_STOP_AT, by_time = v->control & CHRONO_STOP_TSC;
    if (by_count ? by_time : v->control & CHRONO_MASK_IRQS)
        return -EINVAL; // two ends, or none of a slice
    bool counts = v->control & (CHRONO_STOP_AT | CHRONO_VTIME);
    return counts && vmm_clock.info.kind == CHRONO_CLOCK_NONE ? -EOPNOTSUPP : 0;
}

static long run_locked(struct vcpu *v) {
    uint32_t control = READ_ONCE(v->chrono->control);
    if (unlikely(v->settle_each_run | v->run->request_interrupt_window))
        v->attention = true;
    if (unlikely(v->control != control)) {
        v->control = control;
        v->attention = true;
    }
    if (unlikely(control)) {
        v->stop_at = READ_ONCE(v->chrono->stop_count);
        int err = check_control(v);
        if (err)
            return err;
    }
    if (unlikely(v->run->kvm_valid_regs | v->run->kvm_dirty_regs)) {
        int err = vcpu_sync_regs_in(v);
        if (err)
            return err;
    }
    uint64_t cr8 = READ_ONCE(v->run->cr8);
    if (cr8 & ~15ull)
        return -EINVAL;
    v->cr8 = cr8;
    v->count = v->chrono->count;
    if (unlikely(v->vm->debugged)) {
        v->attention = true;
        breakpoint_enter(v);
    }
    void *host_fpu = enter_guest_mode(v);
    int r = run(v);
    watch_step_done(v);
    publish(v);
    leave_guest_mode(v, host_fpu);
    return r;
}

// The mask of KVM_SET_SIGNAL_MASK in place of the thread's, which only the world itself changes, or back.
static void exchange_masks(struct vcpu *v) {
    signal_set blocked = current->signals.blocked;
    current->signals.blocked = v->signal_mask;
    v->signal_mask = blocked;
}

long vcpu_run(struct vcpu *v) {
    mutex_lock(&v->lock);
    if (unlikely(v->has_signal_mask))
        exchange_masks(v);
    long r = run_locked(v);
    if (unlikely(v->has_signal_mask))
        exchange_masks(v);
    mutex_unlock(&v->lock);
    return r;
}
