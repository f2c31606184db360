// What the files of vmm/intel share.
#pragma once
#include "vmm/intel/controls.h"
#include "vmm/intel/vmcs.h"
#include "vmm/clock_pmc.h"
#include "vmm/vendor.h"
#include "vmm/x86.h"

struct vmx_syscall_msrs {
    uint64_t star, lstar, cstar, fmask;
};

// The last entry that was refused: exit reason (0: a VM-instruction error) and qualification or error; and the
// event that it was to deliver, which the VMCS does not hold any more.
struct vmx_failure {
    uint32_t reason, injection;
    uint64_t qualification;
};

struct vmx_vcpu {
    struct vmx_failure failure;
    paddr_t vmcs;     // region
    void *msr_bitmap; // 4 KB
    uint16_t vpid;
    bool msrs_loaded;    // the guest's SYSCALL MSRs and the like are in the processor
    bool syscall_loaded; // and among them those of SYSCALL, with these values
    struct vmx_syscall_msrs syscall_msrs;
    uint64_t tsc_aux; // its value in the processor
    bool injecting;   // this entry delivers an event; event_before: what was to be delivered
    __typeof__(((struct vcpu *)0)->event) event_before;
    // What the VMCS holds, so that only changes are written.
    uint32_t primary, secondary, exception_bitmap;
    uint64_t host_fs_base;
    uint32_t intercepts;      // what the controls were made from
    uint64_t ticks;           // what the timer was made from
    struct pmc_plan pmc_plan; // of the passage, with clock pmc
};
static inline struct vmx_vcpu *vmx_of(struct vcpu *v) {
    return v->arch;
}

// cpu->vmm points to this.
struct packed table_register {
    uint16_t limit;
    uint64_t base;
};
struct vmx_cpu {
    struct table_register gdt, idt; // as they are without VT-x
    void *vmxon;                    // region
    bool on;                        // in VMX operation
    struct vcpu *loaded;            // whose VMCS is current here
};

extern const char vmx_exit_point[];

// current.c: a VMCS on the processors. vmx_make_current(): interrupts off; no other processor has it.
void vmx_make_current(struct vcpu *v);
void vmx_vcpu_unload(struct vcpu *v);
// Its tags of cached translations; 0: none is left.
uint16_t vmx_vpid_alloc(void);
void vmx_vpid_free(uint16_t vpid);

// state.c: guest registers, VMCS to struct vcpu and back.
void vmx_sync(struct vcpu *v, uint32_t parts);
void vmx_write_parts(struct vcpu *v, uint32_t parts);
// Everything that software changed.
static inline void vmx_write_dirty(struct vcpu *v) {
    uint32_t parts = v->dirty;
    v->dirty = 0;
    if (likely(parts == PART_RIP)) // an instruction was skipped
        vmcs_write_natural(v, GUEST_RIP, v->rip);
    else if (parts)
        vmx_write_parts(v, parts);
}
// msrs.c. Interrupts off, by the world that runs the vCPU.
void vmx_vcpu_load(struct vcpu *v);
void vmx_msrs_changed(struct vcpu *v); // software wrote some of them: those in use follow
void vmx_read_kernel_gs_base(struct vcpu *v);
void vmx_vcpu_put(struct vcpu *v);
// run.c
struct vm_exit *vmx_run(struct vcpu *v, uint32_t intercepts, uint64_t ticks);
struct vm_exit *vmx_run_for(struct vcpu *v, uint64_t ticks);
struct vm_exit *vmx_run_on(struct vcpu *v);
// inject.c: events into the entry, and interrupted deliveries back into v->event.
void vmx_inject(struct vcpu *v);
void vmx_save_vectoring(struct vcpu *v, uint32_t info); // valid IDT-vectoring information
// exits.c: the hardware's exit information into the neutral record.
enum {
    NEEDS_NOTHING = 0,
    NEEDS_LENGTH = 1,
    NEEDS_QUALIFICATION = 2,
    NEEDS_BOTH = 3,
    NEEDS_DETAILS = 4, // more than that
    NEEDS_ALL = 7,
    // The exit may come in the middle of the delivery of an event: the IDT-vectoring information counts.
    IN_DELIVERY = 8,
};
struct vmx_reason {
    uint8_t kind;  // enum exit_kind; EXIT_HOST: no such reason
    uint8_t needs; // which fields the neutral record gets
};
#define VMX_REASONS   64
#define VMX_REASON_IO 30
extern const struct vmx_reason vmx_reasons[VMX_REASONS]; // by basic exit reason
// e->raw_reason is set already and e->vectoring is false. True: the host has something to do with it, too (exceptions, NMIs, entry
// failures).
bool vmx_decode_exit(struct vcpu *v, struct vm_exit *e);
// The same for a port, what a guest asks for most. Always false: it needs no more than its record.
bool vmx_decode_port(struct vcpu *v, struct vm_exit *e);
// vmcs_init.c: a new VMCS, current on this processor, with all constant fields.
void vmx_vmcs_init(struct vcpu *v);
void vmx_write_host_state(struct vcpu *v);
// explain.c: walks the SDM's entry checks (check.h); names field, value and rule.
int vmx_explain(struct vcpu *v, char *buf, size_t size);
// invalidate.c: INVEPT and INVVPID where translations changed (SDM vol. 3, "Caching Translation Information").
void vmx_flush_stage2(struct vm *vm, paddr_t root); // on all processors
void vmx_flush_guest(struct vcpu *v);               // this vCPU's, before its next entry
void vmx_flush_vpid(uint16_t vpid);                 // on this processor
// ept.c
extern const struct stage2_format ept_format;
