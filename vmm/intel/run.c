// One passage through the guest: what must be in the VMCS, the entry, the exit.
#include "cpu/x86.h"
#include "sched/world.h"
#include "vmm/clock.h"
#include "vmm/intel/pmc.h"
#include "vmm/intel/vmx.h"

// A page fault exits when bit 14 of the bitmap says the same as whether its error code matches (SDM
// vol. 3, "Exceptions"): with bit 0 of the code (P) to be looked at, those on present pages alone.
static void set_exceptions(struct vcpu *v, uint32_t exceptions) {
    bool faults = exceptions & 1u << 14;
    vmcs_write32(v, PAGE_FAULT_ERROR_MASK, faults);
    vmcs_write32(v, PAGE_FAULT_ERROR_MATCH, faults);
    vmcs_write32(v, EXCEPTION_BITMAP, vmx_of(v)->exception_bitmap = exceptions);
}

// Only when they change.
static void set_controls(struct vcpu *v, uint32_t intercepts) {
    struct vmx_vcpu *x = vmx_of(v);
    x->intercepts = intercepts;
    static const struct {
        uint32_t intercept, primary, secondary;
    } map[] = {
        {INTERCEPT_IRQ_WINDOW, CPU_IRQ_WINDOW, 0}, {INTERCEPT_NMI_WINDOW, CPU_NMI_WINDOW, 0},
        {INTERCEPT_RDTSC, CPU_RDTSC, 0},           {INTERCEPT_RAND, 0, CPU2_RDRAND | CPU2_RDSEED},
        {INTERCEPT_PAUSE, CPU_PAUSE, 0},           {INTERCEPT_STEP, CPU_MONITOR_TRAP, 0},
    };
    uint32_t primary = vmx_controls.primary, secondary = vmx_controls.secondary;
    if (intercepts)
        for (unsigned i = 0; i < ARRAY_SIZE(map); i++)
            if (intercepts & map[i].intercept) {
                primary |= map[i].primary & vmx_controls.primary_may;
                secondary |= map[i].secondary & vmx_controls.secondary_may;
            }
    if (primary != x->primary)
        vmcs_write32(v, PRIMARY_CONTROLS, x->primary = primary);
    if (secondary != x->secondary)
        vmcs_write32(v, SECONDARY_CONTROLS, x->secondary = secondary);
    uint32_t exceptions = EXCEPTIONS_ALWAYS;
    if (intercepts & INTERCEPT_INT3)
        exceptions |= 1u << 3;
    if (intercepts & INTERCEPT_PRESENT_FAULTS)
        exceptions |= 1u << 14;
    if (exceptions != x->exception_bitmap)
        set_exceptions(v, exceptions);
}

// The timer counts down once every 2^shift TSC ticks and exits at 0. In Bochs a value of n lets n - 1
// instructions pass (measured; 0 and 1 let none), so exactly `ticks` pass with ticks + 1.
// The VMCS keeps the value, so it is written only when it changes.
static void set_timer(struct vcpu *v, uint64_t ticks) {
    vmx_of(v)->ticks = ticks;
    uint64_t value = (ticks >> vmx_controls.timer_shift) + 1;
    vmcs_write32(v, PREEMPTION_TIMER, MIN(value, UINT32_MAX));
}

// The guest's TSC is virtual time, which stands still between its passages, or the host's with an offset.
static void set_virtual_time(struct vcpu *v) {
    v->passage.tsc_base = v->chrono->vtime_base + v->count - vmm_clock.ticks_before_guest;
}

static void set_tsc(struct vcpu *v) {
    v->passage.tsc_mask = v->control & CHRONO_VTIME ? UINT64_MAX : 0;
    v->passage.tsc_base = v->tsc_offset;
}

// The host uses no breakpoints and its DR7 is off after an exit, so the guest's addresses may stay in
// the registers until another vCPU's come. MOV DR and #DB exit: v->dr[] and dr6 are always current.
static void load_breakpoints(struct vcpu *v) {
    __asm__ volatile("mov %0, %%dr0" ::"r"(v->hw_dr[0]));
    __asm__ volatile("mov %0, %%dr1" ::"r"(v->hw_dr[1]));
    __asm__ volatile("mov %0, %%dr2" ::"r"(v->hw_dr[2]));
    __asm__ volatile("mov %0, %%dr3" ::"r"(v->hw_dr[3]));
}

// The entry was refused: nothing of it took place.
static void entry_failed(struct vcpu *v, const struct vm_exit *e) {
    struct vmx_vcpu *x = vmx_of(v);
    x->failure = (struct vmx_failure){.reason = e->raw_reason,
                                      .injection = vmcs_read32(v, ENTRY_INTERRUPTION_INFO),
                                      .qualification = e->qualification};
    if (x->injecting) {
        v->event = x->event_before;
        vmcs_write32(v, ENTRY_INTERRUPTION_INFO, 0);
    }
}

// Events that are the host's, whose handlers expect to be entered with interrupts off. An NMI exit
// leaves NMIs blocked as its delivery would; the handler's IRET unblocks them (SDM vol. 3, "Changes to
// Instruction Behavior in VMX Non-Root Operation" and "Loading Host State").
static void host_events(struct vm_exit *e) {
    if (e->kind == EXIT_NMI)
        __asm__ volatile("int $2" ::: "memory");
    bool during_entry = e->kind == EXIT_ENTRY_FAILED && (e->raw_reason & 0xffff) == 41;
    if ((e->kind == EXIT_EXCEPTION && e->exception.vector == 18) || during_entry)
        __asm__ volatile("int $18" ::: "memory");
}

// Of a passage with clock pmc, in TSC ticks: a few milliseconds.
#define LONGEST_TICKS 10000000

// What stays as it is from entry to entry until it is wanted otherwise.
static void prepare(struct vcpu *v, uint32_t intercepts) {
    struct vmx_vcpu *x = vmx_of(v);
    if (intercepts != x->intercepts)
        set_controls(v, intercepts);
    if (v->event.any)
        vmx_inject(v);
    set_tsc(v);
    if (unlikely(v->hw_dr7 & DR7_ENABLES))
        load_breakpoints(v);
}

// The rarer ends of a passage: true when it did not take place.
static bool refused(struct vcpu *v, struct vm_exit *e) {
    if (e->kind == EXIT_ENTRY_FAILED)
        entry_failed(v, e);
    host_events(e);
    return e->kind == EXIT_ENTRY_FAILED;
}

// Into the guest and out of it (entry.S, which says what of these is where). True: the entry failed.
_Static_assert(offsetof(struct vcpu, gpr) == 0 && offsetof(struct vcpu, passage) == 0x80,
               "entry.S");
_Static_assert(offsetof(struct passage, stack) == 0x00 &&
                   offsetof(struct passage, tsc_base) == 0x08 &&
                   offsetof(struct passage, tsc_mask) == 0x10 &&
                   offsetof(struct passage, tsc_in) == 0x18 &&
                   offsetof(struct passage, tsc_out) == 0x20 &&
                   offsetof(struct passage, launched) == 0x28,
               "entry.S");
static inline bool enter(struct vcpu **v) {
    bool failed;
    __asm__ volatile("call vmx_enter"
                     : "=@ccc"(failed), "+D"(*v)
                     :
                     : "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13",
                       "r14", "r15", "memory");
    return failed;
}

static struct vm_exit *instruction_failed(struct vcpu *v) {
    struct vm_exit *e = v->last;
    *e = (struct vm_exit){.next = e->next,
                          .kind = EXIT_ENTRY_FAILED,
                          .qualification = vmcs_read32(v, INSTRUCTION_ERROR)};
    entry_failed(v, e);
    return e;
}

// Reads what nearly every exit needs, and what this one needs besides. True: it needs more of the host than a record.
static inline bool read_exit(struct vcpu *v, struct vm_exit *e) {
    v->cr2 = read_cr2();
    e->rip = v->rip = vmcs_read_raw(GUEST_RIP);
    v->rflags = vmcs_read_raw(GUEST_RFLAGS);
    v->interruptibility = (uint32_t)vmcs_read_raw(GUEST_INTERRUPTIBILITY);
    v->stale = PART_ALL & ~PART_EAGER;
    uint32_t reason = (uint32_t)vmcs_read_raw(EXIT_REASON);
    e->raw_reason = reason;
    e->vectoring = false;
    if (unlikely(reason >= VMX_REASONS || vmx_reasons[reason].needs != NEEDS_LENGTH))
        return reason == VMX_REASON_IO ? vmx_decode_port(v, e) : vmx_decode_exit(v, e);
    e->kind = vmx_reasons[reason].kind; // the short way, for instructions without operands
    e->length = vmcs_read32(v, EXIT_INSTRUCTION_LENGTH);
    e->qualification = 0;
    return false;
}

struct vm_exit *vmx_run_on(struct vcpu *v) {
    vmx_write_dirty(v);
    if (unlikely(v->cr2 != read_cr2()))
        write_cr2(v->cr2);
    bool failed = enter(&v);
    struct vm_exit *e = v->last = v->last->next;
    if (unlikely(failed))
        return instruction_failed(v);
    if (unlikely(read_exit(v, e)) && refused(v, e))
        return e;
    v->count += v->passage.tsc_out - v->passage.tsc_in - vmm_clock.passage_ticks;
    e->count = v->count;
    return e;
}

struct vm_exit *vmx_run_for(struct vcpu *v, uint64_t ticks) {
    if (ticks != vmx_of(v)->ticks)
        set_timer(v, ticks);
    if (v->passage.tsc_mask)
        set_virtual_time(v);
    return vmx_run_on(v);
}

struct vm_exit *vmx_run(struct vcpu *v, uint32_t intercepts, uint64_t ticks) {
    uint64_t before = v->count;
    if (unlikely(vmx_pmc_on)) {
        intercepts |= vmx_pmc_arm(v, ticks) ? INTERCEPT_STEP : 0;
        ticks = LONGEST_TICKS; // branches are no measure of time
    }
    prepare(v, intercepts);
    struct vm_exit *e = vmx_run_for(v, ticks);
    vmx_of(v)->injecting = false;
    if (likely(e->kind != EXIT_ENTRY_FAILED)) {
        v->passage.launched = 1;
        if (unlikely(vmx_pmc_on))
            e->count = v->count = before + vmx_pmc_collect(v);
    }
    return e;
}
