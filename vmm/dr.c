// Debug registers. MOV DR and #DB always exit, so DR6 and DR7 of the guest live in memory only, and the
// processor's own breakpoints may be the debugger's while it has them.
#include "vmm/dr.h"
#include "vmm/breakpoint.h"
#include "vmm/clock.h"
#include "vmm/run.h"
#include "lib/errno.h"
#include "mm/uaccess.h"
#include "vmm/skip.h"
#include "vmm/vendor.h"
#include "vmm/spurious.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

#define TYPE_PRIVILEGED 5 // vm_exit.exception.type of INT1 (SDM: privileged software exception)
#define DEBUGGED        (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP)

static int debug_exit(struct vcpu *v, uint32_t vector, uint64_t pc, uint64_t dr6) {
    struct kvm_debug_exit_arch *d = &v->run->debug.arch;
    v->run->exit_reason = KVM_EXIT_DEBUG;
    d->exception = vector;
    d->pc = pc;
    d->dr6 = dr6;
    d->dr7 = v->hw_dr7;
    return 0;
}

static uint64_t linear_rip(struct vcpu *v) {
    vcpu_sync(v, PART_RIP | PART_CR | PART_SEGMENTS);
    bool wide = (v->efer & EFER_LMA) && v->seg[SEG_CS].l;
    return wide ? v->rip : (uint32_t)(v->seg[SEG_CS].base + v->rip);
}

int debug_step_done(struct vcpu *v) {
    return debug_exit(v, VECTOR_DB, linear_rip(v), DR6_FIXED | DR6_BS);
}

// ---- MOV DR ------------------------------------------------------------------------------------
static unsigned privilege(struct vcpu *v) {
    vcpu_sync(v, PART_SEGMENTS);
    return v->seg[SEG_SS].dpl;
}

static int raise(struct vcpu *v, uint8_t vector, bool has_error) {
    vcpu_inject_exception(v, vector, has_error, 0);
    return 1;
}

static int write_dr(struct vcpu *v, unsigned number, uint64_t value) {
    bool high = value >> 32;
    switch (number) {
    case 0:
    case 1:
    case 2:
    case 3: v->dr[number] = value; break;
    case 6:
        if (high)
            return -EINVAL;
        v->dr6 = (value & (0xf | DR6_BD | DR6_BS | DR6_BT)) | DR6_FIXED;
        break;
    default:
        if (high)
            return -EINVAL;
        v->dr7 = (value & 0xffff2bff) | DR7_FIXED;
    }
    vcpu_debug_changed(v);
    return 0;
}

int dr_exit(struct vcpu *v, const struct vm_exit *e) {
    unsigned number = e->cr.number;
    vcpu_sync(v, PART_CR | (e->cr.gpr == GPR_RSP ? PART_RSP : 0));
    if (privilege(v) > 0 && (v->cr0 & CR0_PE))
        return raise(v, VECTOR_GP, true);
    if (number == 4 || number == 5) { // aliases of DR6 and DR7 unless CR4.DE
        if (v->cr4 & CR4_DE)
            return raise(v, VECTOR_UD, false);
        number += 2;
    }
    if (v->dr7 & DR7_GD) { // general detect: the guest's debugger guards them
        v->dr7 &= ~DR7_GD;
        v->dr6 |= DR6_BD;
        vcpu_debug_changed(v);
        return raise(v, VECTOR_DB, false);
    }
    if (v->control & CHRONO_TRAP_DR) {
        v->run->exit_reason = KVM_EXIT_CHRONO_DR;
        v->run->hw.hardware_exit_reason = e->qualification;
        return 0;
    }
    uint64_t operand = vcpu_code_size(v) == 8 ? UINT64_MAX : UINT32_MAX; // bits that it has
    if (e->cr.access == 0) {
        if (write_dr(v, number, v->gpr[e->cr.gpr] & operand))
            return raise(v, VECTOR_GP, true);
    } else {
        uint64_t value = number < 4 ? v->dr[number] : number == 6 ? v->dr6 : v->dr7;
        v->gpr[e->cr.gpr] = value & operand;
        if (e->cr.gpr == GPR_RSP)
            vcpu_changed(v, PART_RSP);
    }
    vcpu_skip(v, e->length);
    return 1;
}

// ---- shadows -----------------------------------------------------------------------------------
// Bochs 2.7 forgets at an exit for an exception that it came in the shadow of STI or MOV SS (SDM vol. 3, "Saving
// Non-Register State": it is saved), so that at a breakpoint there a waiting interrupt would come one instruction early.
// What was executed last tell the bytes before RIP. They err where somebody jumped behind an STI, or interrupts were
// on before it; which matters only if an interrupt becomes due at just this count. PART_RIP etc. are current.
static void keep_shadow(struct vcpu *v, uint64_t linear) {
    uint8_t code[2] = {0}; // the byte before RIP comes last
    uint64_t gpa, n = MIN(sizeof(code), linear % PAGE_SIZE);
    uint32_t error;
    vcpu_sync(v, PART_BLOCKING | PART_RFLAGS);
    if (vmm_vendor->has(ABILITY_STEP) ||
        v->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS) ||
        vcpu_translate(v, linear - n, ACCESS_EXEC, vcpu_cpl(v) == 3, &gpa, &error) ||
        vm_read(v->vm, gpa, code + sizeof(code) - n, n))
        return;
    bool sti = code[1] == 0xfb && v->rflags & RFLAGS_IF;
    bool mov_ss = code[0] == 0x8e && (code[1] & 0xf8) == 0xd0;
    v->interruptibility |= mov_ss ? BLOCKED_BY_MOV_SS : sti ? BLOCKED_BY_STI : 0;
    vcpu_changed(v, PART_BLOCKING);
}

// ---- exceptions --------------------------------------------------------------------------------
// Of the debugger's breakpoints that were hit, those at an instruction, which is not executed yet.
static uint64_t hit_code(const struct vcpu *v, uint64_t bits) {
    uint64_t code = 0;
    for (unsigned i = 0; i < 4; i++)
        code |= v->hw_dr7 >> (16 + 4 * i) & 3 ? 0 : bits & 1ull << i;
    return code;
}

// The same without those that come too early: interrupts, and the timer that stops the guest at a count, are prior to
// a breakpoint at the next instruction (SDM vol. 3, "Priority Among Concurrent Events"). Bochs 2.7 looks for such
// breakpoints first. They are hit again after what was due.
static uint64_t without_early(struct vcpu *v, uint64_t bits) {
    uint64_t code = hit_code(v, bits);
    if (!code)
        return bits;
    keep_shadow(v, linear_rip(v));
    return vcpu_event_due(v) ? bits & ~code : bits;
}

// run.c steps by the trap flag only where nothing else does, and not where the guest has set it.
static bool trap_flag_is_ours(const struct vcpu *v) {
    return !vmm_vendor->has(ABILITY_STEP) && !vmm_clock.info.exact && !(v->rflags & RFLAGS_TF);
}

// INT1: a trap for which DR6 has no bit. RIP is at it as for INT3, and its delivery goes on from behind it.
static int int1(struct vcpu *v, const struct vm_exit *e) {
    clock_add_skipped(v);
    v->skipped = true;
    v->dr7 &= ~DR7_GD;
    vcpu_debug_changed(v);
    vcpu_inject_exception(v, VECTOR_DB, false, 0);
    v->event.soft_length = e->length;
    return 1;
}

// #DB: the exit leaves DR6 alone and says in the qualification which bits it would have set.
static int debug_exception(struct vcpu *v, const struct vm_exit *e) {
    uint64_t bits = e->exception.address & (0xf | DR6_BD | DR6_BS);
    uint32_t control = v->guest_debug.control;
    bool stepping = v->step_over || vcpu_stepping(v);
    if ((bits & DR6_BS) && stepping && trap_flag_is_ours(v))
        return vcpu_step_done(v);
    bool debugged = (control & DEBUGGED) == DEBUGGED;
    if (debugged && (bits & 0xf)) {
        bits = without_early(v, bits);
        if (!bits) {
            // settle() sees what is due; the next entry would only meet the breakpoint again.
            v->attention = true;
            return 1;
        }
    }
    bool debuggers = debugged && (bits & 0xf);
    if (debuggers && !(bits & DR6_BS))
        return debug_exit(v, VECTOR_DB, linear_rip(v), DR6_FIXED | bits);
    v->dr6 = (v->dr6 & ~0xfull) | (debuggers ? bits & ~0xfull : bits);
    if (bits & DR6_BD || v->dr7 & DR7_GD) {
        v->dr7 &= ~DR7_GD;
        vcpu_debug_changed(v);
    }
    vcpu_inject_exception(v, VECTOR_DB, false, 0);
    // The guest steps itself: it gets its trap after the debugger has seen what else was here.
    if (debuggers)
        return debug_exit(v, VECTOR_DB, linear_rip(v), DR6_FIXED | (bits & 0xf));
    return bits & DR6_BS && stepping ? vcpu_step_done(v) : 1;
}

static int reflect(struct vcpu *v, const struct vm_exit *e) {
    // What was being delivered is lost but for what makes a double fault, as without an exit.
    if (e->vectoring)
        v->event.interrupt_pending = v->event.nmi_injected = false;
    if (e->exception.vector == VECTOR_PF)
        v->cr2 = e->exception.address;
    vcpu_inject_exception(v, e->exception.vector, e->exception.has_error, e->exception.error);
    bool soft = e->exception.vector == VECTOR_BP || e->exception.vector == VECTOR_OF;
    v->event.soft_length = soft ? e->length : 0;
    return 1;
}

// A breakpoint of the debugger that only fetches see, one that it wrote into memory, or the guest's own.
static int int3(struct vcpu *v, const struct vm_exit *e) {
    int hit = v->vm->debugged ? breakpoint_hit(v) : 0;
    if (hit)
        keep_shadow(v, linear_rip(v));
    if (hit == 1)
        return 1;
    if (hit == 2 || (v->guest_debug.control & KVM_GUESTDBG_USE_SW_BP))
        return debug_exit(v, VECTOR_BP, linear_rip(v), 0);
    clock_add_skipped(v); // without the intercept it would have counted
    v->skipped = true;
    return reflect(v, e);
}

int exception_exit(struct vcpu *v, const struct vm_exit *e) {
    switch (e->exception.vector) {
    case VECTOR_DB:
        return e->exception.type == TYPE_PRIVILEGED ? int1(v, e) : debug_exception(v, e);
    case VECTOR_BP: return int3(v, e);
    case VECTOR_MC: return 1; // the host's, which has handled it
    case VECTOR_PF:
        if (spurious_fault(v, e))
            return 1;
        break;
    }
    return reflect(v, e);
}

// ---- ioctls ------------------------------------------------------------------------------------
#define GUESTDBG_KNOWN                                                        \
    (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP | \
     KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)

long debug_set_guest_debug(struct vcpu *v, unsigned long arg) {
    struct kvm_guest_debug d;
    if (copy_from_user(&d, (void __user *)arg, sizeof(d)))
        return -EFAULT;
    if (d.control & ~GUESTDBG_KNOWN)
        return -EINVAL;
    if (d.control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)) {
        if (v->event.exception_pending)
            return -EBUSY;
        bool db = d.control & KVM_GUESTDBG_INJECT_DB;
        vcpu_inject_exception(v, db ? VECTOR_DB : VECTOR_BP, false, 0);
    }
    if (!(d.control & KVM_GUESTDBG_ENABLE))
        d.control = 0;
    v->guest_debug = d;
    vcpu_fetch(v, PART_DEBUG);
    vcpu_debug_changed(v);
    return 0;
}

long debug_get_registers(struct vcpu *v, unsigned long arg) {
    struct kvm_debugregs d = {.dr6 = v->dr6, .dr7 = v->dr7};
    for (unsigned i = 0; i < 4; i++)
        d.db[i] = v->dr[i];
    return copy_to_user((void __user *)arg, &d, sizeof(d));
}

long debug_set_registers(struct vcpu *v, unsigned long arg) {
    struct kvm_debugregs d;
    if (copy_from_user(&d, (void __user *)arg, sizeof(d)))
        return -EFAULT;
    if (d.flags || d.dr6 >> 32 || d.dr7 >> 32)
        return -EINVAL;
    for (unsigned i = 0; i < 4; i++)
        v->dr[i] = d.db[i];
    v->dr6 = (d.dr6 & (0xf | DR6_BD | DR6_BS | DR6_BT)) | DR6_FIXED;
    v->dr7 = (d.dr7 & 0xffff2bff) | DR7_FIXED;
    vcpu_debug_changed(v);
    return 0;
}
