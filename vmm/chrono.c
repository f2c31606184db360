// The extension's part of a vCPU: trapped instructions, single steps, the state that KVM's calls leave out.
#include "lib/errno.h"
#include "mm/uaccess.h"
#include "vmm/dr.h"
#include "vmm/skip.h"
#include "vmm/run.h"
#include "vmm/watch.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

#define ARITHMETIC_FLAGS 0x8d5ull // OF SF ZF AF PF CF
#define RFLAGS_CF        1ull

static void keep_operand(struct vcpu *v, const struct vm_exit *e) {
    v->pending.gpr = e->random.gpr;
    v->pending.size = e->random.size;
}

static void write_register(struct vcpu *v, unsigned gpr, unsigned size, uint64_t value) {
    if (gpr == GPR_RSP)
        vcpu_sync(v, PART_RSP);
    v->gpr[gpr] = size == 2   ? (v->gpr[gpr] & ~0xffffull) | (uint16_t)value
                  : size == 4 ? (uint32_t)value
                              : value;
    if (gpr == GPR_RSP)
        vcpu_changed(v, PART_RSP);
}

static void give_random(struct vcpu *v, uint64_t value, bool carry) {
    write_register(v, v->pending.gpr, v->pending.size, carry ? value : 0);
    vcpu_sync(v, PART_RFLAGS);
    v->rflags = (v->rflags & ~ARITHMETIC_FLAGS) | (carry ? RFLAGS_CF : 0);
    vcpu_changed(v, PART_RFLAGS);
}

void vcpu_no_random(struct vcpu *v, const struct vm_exit *e) {
    keep_operand(v, e);
    give_random(v, 0, false);
    vcpu_skip(v, e->length);
}

static int complete_insn(struct vcpu *v) {
    const struct chrono_run *c = v->chrono;
    uint64_t value = c->value;
    switch (v->pending.insn) {
    case CHRONO_INSN_RDTSCP: v->gpr[GPR_RCX] = (uint32_t)v->msr.tsc_aux; // fall through
    case CHRONO_INSN_RDTSC:
    case CHRONO_INSN_RDPMC:
        v->gpr[GPR_RAX] = (uint32_t)value;
        v->gpr[GPR_RDX] = value >> 32;
        break;
    case CHRONO_INSN_RDRAND:
    case CHRONO_INSN_RDSEED: give_random(v, value, c->carry); break;
    }
    vcpu_skip(v, v->pending.length);
    return 1;
}

int vcpu_chrono_insn(struct vcpu *v, const struct vm_exit *e, uint32_t insn) {
    v->run->exit_reason = KVM_EXIT_CHRONO_INSN;
    v->chrono->insn = insn;
    v->chrono->carry = 0;
    v->chrono->value = 0;
    v->pending.insn = insn;
    v->pending.length = e->length;
    if (insn == CHRONO_INSN_RDRAND || insn == CHRONO_INSN_RDSEED)
        keep_operand(v, e);
    v->complete = complete_insn;
    return 0;
}

int vcpu_step_done(struct vcpu *v) {
    watch_step_done(v);
    if (v->control & CHRONO_STEP) {
        v->run->exit_reason = KVM_EXIT_CHRONO_STOP;
        return 0;
    }
    if (v->guest_debug.control & KVM_GUESTDBG_SINGLESTEP)
        return debug_step_done(v);
    return 1;
}

// ---- CHRONO_GET_STATE, CHRONO_SET_STATE ---------------------------------------------------------
enum {
    TYPE_EXTERNAL = 0,
    TYPE_NMI = 2,
    TYPE_HARDWARE = 3,
    TYPE_SOFT_INT = 4,
    TYPE_SOFT_EXCEPTION = 6
};
#define ACTIVITY_SHUTDOWN 2
#define INFO_VALID        (1u << 31)
#define INFO_HAS_ERROR    (1u << 11)

// An event on its way into the guest, in the SDM's format of IDT-vectoring information.
static uint32_t vectoring(const struct vcpu *v) {
    bool soft = v->event.soft_length;
    if (v->event.exception_pending)
        return INFO_VALID | v->event.exception_vector |
               (soft ? TYPE_SOFT_EXCEPTION : TYPE_HARDWARE) << 8 |
               (v->event.exception_has_error ? INFO_HAS_ERROR : 0);
    if (v->event.nmi_injected)
        return INFO_VALID | VECTOR_NMI | TYPE_NMI << 8;
    if (v->event.interrupt_pending)
        return INFO_VALID | v->event.interrupt_vector |
               (v->event.interrupt_soft ? TYPE_SOFT_INT : TYPE_EXTERNAL) << 8;
    return 0;
}

static void set_vectoring(struct vcpu *v, const struct chrono_vcpu_state *s) {
    bool nmi_pending = v->event.nmi_pending;
    v->event.exception_pending = v->event.interrupt_pending = v->event.nmi_injected = false;
    v->event.nmi_pending = nmi_pending;
    if (!(s->vectoring_info & INFO_VALID))
        return;
    unsigned type = s->vectoring_info >> 8 & 7;
    uint8_t vector = (uint8_t)s->vectoring_info;
    v->event.soft_length = s->vectoring_length;
    if (type == TYPE_NMI) {
        v->event.nmi_injected = true;
    } else if (type == TYPE_EXTERNAL || type == TYPE_SOFT_INT) {
        v->event.interrupt_pending = true;
        v->event.interrupt_vector = vector;
        v->event.interrupt_soft = type == TYPE_SOFT_INT;
    } else {
        v->event.exception_pending = true;
        v->event.exception_vector = vector;
        v->event.exception_has_error = s->vectoring_info & INFO_HAS_ERROR;
        v->event.exception_error = s->vectoring_error;
    }
}

void chrono_state_get(struct vcpu *v, struct chrono_vcpu_state *s) {
    *s = (struct chrono_vcpu_state){
        .count = v->chrono->count,
        .pending_debug = v->pending_debug,
        .cr2 = v->cr2,
        .debugctl = v->msr.debugctl,
        .xss = v->msr.xss,
        .activity = v->activity,
        .interruptibility = v->interruptibility,
        .vectoring_info = vectoring(v),
        .vectoring_error = v->event.exception_error,
        .vectoring_length = v->event.soft_length,
        .pending_completion = v->complete != NULL,
    };
    for (unsigned i = 0; i < 4; i++)
        s->pdpte[i] = v->pdpte[i];
}

long chrono_get_state(struct vcpu *v, unsigned long arg) {
    struct chrono_vcpu_state s;
    vcpu_fetch(v, PART_ALL);
    chrono_state_get(v, &s);
    return copy_to_user((void __user *)arg, &s, sizeof(s));
}

long chrono_set_state(struct vcpu *v, unsigned long arg) {
    struct chrono_vcpu_state s;
    if (copy_from_user(&s, (void __user *)arg, sizeof(s)))
        return -EFAULT;
    // Values that no processor would load (SDM vol. 3, "Checks on Guest Non-Register State"), and one that it would
    // not give back: nothing that is the host's ends the wait for a SIPI.
    if (s.activity > ACTIVITY_SHUTDOWN || (s.interruptibility & ~0x1fu) ||
        (s.interruptibility & 3) == 3 || s.vectoring_length > 15)
        return -EINVAL;
    vcpu_fetch(v, PART_ALL);
    v->count = v->chrono->count = s.count;
    v->pending_debug = s.pending_debug;
    v->cr2 = s.cr2;
    v->msr.debugctl = s.debugctl;
    v->msr.xss = s.xss;
    v->activity = s.activity;
    v->interruptibility = s.interruptibility;
    for (unsigned i = 0; i < 4; i++)
        v->pdpte[i] = s.pdpte[i];
    set_vectoring(v, &s);
    vcpu_changed(v, PART_CR | PART_BLOCKING | PART_ACTIVITY | PART_SYSMSR);
    return 0;
}
