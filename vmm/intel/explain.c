// What the hardware says about a refused entry, and what our own checks find in the VMCS.
#include "cpu/features.h"
#include "lib/printf.h"
#include "vmm/intel/check.h"
#include "vmm/intel/vmx.h"

static noreturn void access_failed(const char *what, uint64_t field) {
    panic(
        "vmm: %s of VMCS field %#lx failed: no VMCS is current, or this processor has no such field",
        what, field);
}
noreturn void vmcs_read_failed(uint64_t field) {
    access_failed("VMREAD", field);
}
noreturn void vmcs_write_failed(uint64_t field) {
    access_failed("VMWRITE", field);
}

static uint64_t read_field(void *arg, uint32_t field) {
    struct vcpu *v = arg;
    return field == ENTRY_INTERRUPTION_INFO ? vmx_of(v)->failure.injection : vmcs_read_raw(field);
}

// SDM vol. 3, "VM-Instruction Error Numbers": those of an entry; for a failure after the state was
// loaded, "VM-Entry Failures": by exit reason and qualification.
static const char *hardware_says(const struct vmx_failure *f) {
    if (f->reason == 0)
        switch (f->qualification) {
        case 7: return "invalid control fields";
        case 8: return "invalid host-state fields";
        case 4: return "VMLAUNCH of a VMCS that is launched";
        case 5: return "VMRESUME of a VMCS that is not launched";
        case 26: return "events blocked by MOV SS";
        default: return "VM-instruction error";
        }
    switch (f->reason & 0xffff) {
    case 34: return "an MSR of the entry's list cannot be loaded";
    case 41: return "machine check during the entry";
    }
    switch (f->qualification) {
    case 2: return "invalid guest state: PDPTEs";
    case 3: return "invalid guest state: an NMI and blocking by STI";
    case 4: return "invalid guest state: VMCS link pointer";
    default: return "invalid guest state";
    }
}

int vmx_explain(struct vcpu *v, char *buf, size_t size) {
    const struct vmx_failure *f = &vmx_of(v)->failure;
    struct vmcs_check c = {.read = read_field,
                           .arg = v,
                           .controls = &vmx_controls,
                           .physical_bits = cpu_identity.physical_bits};
    if (vmcs_check_all(&c))
        return snprintf(buf, size, "%s; %s = %#lx: rule: %s", hardware_says(f), c.name, c.value,
                        c.rule);
    return snprintf(buf, size, "%s (number %lu); no rule known here is broken", hardware_says(f),
                    f->qualification);
}
