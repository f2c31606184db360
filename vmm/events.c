// KVM_GET/SET_VCPU_EVENTS: exceptions, interrupts and NMIs on their way into the guest.
#include "lib/errno.h"
#include "vmm/registers.h"
#include "vmm/x86.h"

#define FLAGS_KNOWN                                                                       \
    (KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |                  \
     KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM | KVM_VCPUEVENT_VALID_PAYLOAD | \
     KVM_VCPUEVENT_VALID_TRIPLE_FAULT)

void events_get(const struct vcpu *v, struct kvm_vcpu_events *e) {
    *e = (struct kvm_vcpu_events){
        .exception = {.injected = v->event.exception_pending,
                      .nr = v->event.exception_vector,
                      .has_error_code = v->event.exception_has_error,
                      .error_code = v->event.exception_error},
        .interrupt = {.injected = v->event.interrupt_pending,
                      .nr = v->event.interrupt_vector,
                      .soft = v->event.interrupt_soft,
                      .shadow = (v->interruptibility & BLOCKED_BY_MOV_SS ? KVM_X86_SHADOW_INT_MOV_SS
                                                                         : 0) |
                                (v->interruptibility & BLOCKED_BY_STI ? KVM_X86_SHADOW_INT_STI
                                                                      : 0)},
        .nmi = {.injected = v->event.nmi_injected,
                .pending = v->event.nmi_pending,
                .masked = !!(v->interruptibility & BLOCKED_BY_NMI)},
        .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
    };
    if (v->vm->triple_fault_event) {
        e->triple_fault.pending = v->event.triple_fault;
        e->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
    }
}

static void set_exception(struct vcpu *v, const struct kvm_vcpu_events *e) {
    bool pending = (e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) && e->exception.pending;
    v->event.exception_pending = e->exception.injected || pending;
    v->event.exception_vector = e->exception.nr;
    v->event.exception_has_error = e->exception.has_error_code;
    v->event.exception_error = e->exception.error_code;
    v->event.soft_length = 0;
    if (!pending || !e->exception_has_payload)
        return;
    if (e->exception.nr == VECTOR_PF)
        v->cr2 = e->exception_payload;
    if (e->exception.nr == VECTOR_DB)
        v->dr6 = (v->dr6 & ~0xfull) | e->exception_payload;
}

int events_set(struct vcpu *v, const struct kvm_vcpu_events *e) {
    if (e->flags & ~FLAGS_KNOWN)
        return -EINVAL;
    if ((e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) && !v->vm->exception_payload)
        return -EINVAL;
    if ((e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) && !v->vm->triple_fault_event)
        return -EINVAL;
    if ((e->flags & KVM_VCPUEVENT_VALID_SMM) && (e->smi.smm || e->smi.pending))
        return -EINVAL; // the virtual CPU has no SMM
    if ((e->exception.injected || e->exception.pending) &&
        (e->exception.nr > 31 || e->exception.nr == VECTOR_NMI))
        return -EINVAL;
    uint8_t shadow = e->interrupt.shadow;
    bool shadow_valid = e->flags & KVM_VCPUEVENT_VALID_SHADOW;
    if (shadow_valid && shadow == (KVM_X86_SHADOW_INT_MOV_SS | KVM_X86_SHADOW_INT_STI))
        return -EINVAL; // no processor can be blocked by both
    set_exception(v, e);
    v->event.interrupt_pending = e->interrupt.injected;
    v->event.interrupt_vector = e->interrupt.nr;
    v->event.interrupt_soft = e->interrupt.soft;
    uint32_t blocking = v->interruptibility & ~BLOCKED_BY_NMI;
    if (shadow_valid)
        blocking = (shadow & KVM_X86_SHADOW_INT_MOV_SS ? BLOCKED_BY_MOV_SS : 0) |
                   (shadow & KVM_X86_SHADOW_INT_STI ? BLOCKED_BY_STI : 0);
    v->interruptibility = blocking | (e->nmi.masked ? BLOCKED_BY_NMI : 0);
    v->event.nmi_injected = e->nmi.injected;
    if (e->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
        v->event.nmi_pending = e->nmi.pending;
    if (e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
        v->event.triple_fault = e->triple_fault.pending;
    vcpu_changed(v, PART_BLOCKING);
    return 0;
}
