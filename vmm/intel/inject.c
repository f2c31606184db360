// Events into the guest (SDM vol. 3, "Event Injection") and back out when their delivery was
// interrupted by an exit ("Information for VM Exits That Occur During Event Delivery").
#include "vmm/clock.h"
#include "vmm/intel/vmx.h"

#define INFO_VALID      (1u << 31)
#define INFO_HAS_ERROR  (1u << 11)
#define INFO_TYPE_SHIFT 8
enum {
    TYPE_EXTERNAL = 0,
    TYPE_NMI = 2,
    TYPE_HARDWARE = 3,
    TYPE_SOFT_INT = 4,
    TYPE_PRIVILEGED = 5,
    TYPE_SOFT_EXCEPTION = 6
};

static void enter_with(struct vcpu *v, unsigned type, uint8_t vector, bool has_error,
                       uint32_t error) {
    uint32_t info = INFO_VALID | type << INFO_TYPE_SHIFT | vector |
                    (has_error ? INFO_HAS_ERROR : 0);
    if (has_error)
        vmcs_write32(v, ENTRY_EXCEPTION_ERROR, error);
    if (type >= TYPE_SOFT_INT)
        vmcs_write32(v, ENTRY_INSTRUCTION_LENGTH, v->event.soft_length);
    vmcs_write32(v, ENTRY_INTERRUPTION_INFO, info);
}

// Breakpoint and overflow come from INT3 and INTO, whose length the delivery needs.
// INT1 is a privileged software exception. With no length they are injected as hardware exceptions.
static unsigned exception_type(const struct vcpu *v) {
    uint8_t vector = v->event.exception_vector;
    if (!v->event.soft_length || (vector != 1 && vector != 3 && vector != 4))
        return TYPE_HARDWARE;
    return vector == 1 ? TYPE_PRIVILEGED : TYPE_SOFT_EXCEPTION;
}

// SDM vol. 3, "Checks on VM-Entry Control Fields": exactly these are entered with an error code, and
// none in real mode.
static bool has_error_code(uint8_t vector) {
    return vector < 32 && (1u << vector & (1u << 8 | 0x1fu << 10 | 1u << 17));
}

static bool inject_exception(struct vcpu *v) {
    if (!v->event.exception_pending)
        return false;
    v->event.exception_pending = false;
    vmx_sync(v, PART_CR);
    bool error = has_error_code(v->event.exception_vector) && (v->cr0 & CR0_PE);
    uint32_t code = v->event.exception_has_error ? v->event.exception_error & 0xffff : 0;
    enter_with(v, exception_type(v), v->event.exception_vector, error, code);
    return true;
}

static bool inject_nmi(struct vcpu *v) {
    if (!v->event.nmi_pending && !v->event.nmi_injected)
        return false;
    vmx_sync(v, PART_BLOCKING);
    // Blocking by STI is optional for NMIs; entries with it are refused by some processors.
    if (!v->event.nmi_injected &&
        (v->interruptibility & (BLOCKED_BY_NMI | BLOCKED_BY_MOV_SS | BLOCKED_BY_STI)))
        return false;
    if (v->event.nmi_injected && (v->interruptibility & BLOCKED_BY_NMI)) {
        v->interruptibility &= ~BLOCKED_BY_NMI; // its delivery starts again
        vcpu_changed(v, PART_BLOCKING);
    }
    v->event.nmi_pending = v->event.nmi_injected = false;
    enter_with(v, TYPE_NMI, 2, false, 0);
    return true;
}

static bool inject_interrupt(struct vcpu *v) {
    if (!v->event.interrupt_pending)
        return false;
    if (!v->event.interrupt_soft) {
        vmx_sync(v, PART_RFLAGS | PART_BLOCKING);
        if (!(v->rflags & RFLAGS_IF) ||
            (v->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)))
            return false;
    }
    v->event.interrupt_pending = false;
    enter_with(v, v->event.interrupt_soft ? TYPE_SOFT_INT : TYPE_EXTERNAL,
               v->event.interrupt_vector, false, 0);
    return true;
}

void vmx_inject(struct vcpu *v) {
    struct vmx_vcpu *x = vmx_of(v);
    x->event_before = v->event;
    x->injecting = inject_exception(v) || inject_nmi(v) || inject_interrupt(v);
}

void vmx_save_vectoring(struct vcpu *v, uint32_t info) {
    clock_add_vectoring(v);
    uint8_t vector = (uint8_t)info;
    unsigned type = info >> INFO_TYPE_SHIFT & 7;
    v->event.soft_length = type >= TYPE_SOFT_INT ? vmcs_read32(v, EXIT_INSTRUCTION_LENGTH) : 0;
    if (type == TYPE_NMI) {
        v->event.nmi_injected = true;
    } else if (type == TYPE_EXTERNAL || type == TYPE_SOFT_INT) {
        v->event.interrupt_pending = true;
        v->event.interrupt_soft = type == TYPE_SOFT_INT;
        v->event.interrupt_vector = vector;
    } else {
        v->event.exception_pending = true;
        v->event.exception_vector = vector;
        v->event.exception_has_error = info & INFO_HAS_ERROR;
        v->event.exception_error = info & INFO_HAS_ERROR ? vmcs_read32(v, IDT_VECTORING_ERROR) : 0;
    }
}
