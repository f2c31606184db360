// The hardware's exit information (SDM vol. 3, "Basic VM-Exit Information") into the neutral record.
#include "cpu/x86.h"
#include "vmm/intel/vmx.h"

// One row per basic exit reason (SDM vol. 3, appendix "VMX Basic Exit Reasons"); the flags say which
// fields the neutral record needs, so that no exit reads more than it uses.
const struct vmx_reason vmx_reasons[VMX_REASONS] = {
    [0] = {EXIT_EXCEPTION, NEEDS_DETAILS | IN_DELIVERY}, // or NMI
    [1] = {EXIT_INTERRUPT, NEEDS_NOTHING},
    [2] = {EXIT_TRIPLE_FAULT, NEEDS_NOTHING},
    [3] = {EXIT_INIT, NEEDS_NOTHING},
    [4] = {EXIT_SIPI, NEEDS_QUALIFICATION},
    [7] = {EXIT_IRQ_WINDOW, NEEDS_NOTHING},
    [8] = {EXIT_NMI_WINDOW, NEEDS_NOTHING},
    [9] = {EXIT_TASK_SWITCH, NEEDS_ALL | IN_DELIVERY},
    [10] = {EXIT_CPUID, NEEDS_LENGTH},
    [12] = {EXIT_HLT, NEEDS_LENGTH},
    [13] = {EXIT_WBINVD, NEEDS_LENGTH}, // INVD
    [14] = {EXIT_INVLPG, NEEDS_LENGTH},
    [15] = {EXIT_RDPMC, NEEDS_LENGTH},
    [16] = {EXIT_RDTSC, NEEDS_LENGTH},
    [18] = {EXIT_VMCALL, NEEDS_LENGTH},
    [19] = {EXIT_VMX_INSN, NEEDS_LENGTH}, // VMCLEAR .. VMXON
    [20] = {EXIT_VMX_INSN, NEEDS_LENGTH},
    [21] = {EXIT_VMX_INSN, NEEDS_LENGTH},
    [22] = {EXIT_VMX_INSN, NEEDS_LENGTH},
    [23] = {EXIT_VMX_INSN, NEEDS_LENGTH},
    [24] = {EXIT_VMX_INSN, NEEDS_LENGTH},
    [25] = {EXIT_VMX_INSN, NEEDS_LENGTH},
    [26] = {EXIT_VMX_INSN, NEEDS_LENGTH},
    [27] = {EXIT_VMX_INSN, NEEDS_LENGTH},
    [28] = {EXIT_CR, NEEDS_ALL},
    [29] = {EXIT_DR, NEEDS_ALL},
    [VMX_REASON_IO] = {EXIT_IO, NEEDS_DETAILS},
    [31] = {EXIT_RDMSR, NEEDS_LENGTH},
    [32] = {EXIT_WRMSR, NEEDS_LENGTH},
    [33] = {EXIT_ENTRY_FAILED, NEEDS_QUALIFICATION | NEEDS_DETAILS}, // invalid guest state
    [34] = {EXIT_ENTRY_FAILED, NEEDS_QUALIFICATION | NEEDS_DETAILS}, // MSR loading
    [36] = {EXIT_MONITOR, NEEDS_LENGTH},
    [37] = {EXIT_STEP, NEEDS_NOTHING},
    [39] = {EXIT_MONITOR, NEEDS_LENGTH},
    [40] = {EXIT_PAUSE, NEEDS_LENGTH},
    [41] = {EXIT_ENTRY_FAILED, NEEDS_QUALIFICATION | NEEDS_DETAILS}, // machine check during entry
    [46] = {EXIT_DESCRIPTOR, NEEDS_BOTH},
    [47] = {EXIT_DESCRIPTOR, NEEDS_BOTH},
    [48] = {EXIT_MEMORY, NEEDS_QUALIFICATION | NEEDS_DETAILS | IN_DELIVERY},
    [49] = {EXIT_MISCONFIG, NEEDS_DETAILS | IN_DELIVERY},
    [50] = {EXIT_VMX_INSN, NEEDS_LENGTH}, // INVEPT
    [51] = {EXIT_RDTSCP, NEEDS_LENGTH},
    [52] = {EXIT_COUNT, NEEDS_NOTHING},
    [53] = {EXIT_VMX_INSN, NEEDS_LENGTH}, // INVVPID
    [54] = {EXIT_WBINVD, NEEDS_LENGTH},
    [55] = {EXIT_XSETBV, NEEDS_LENGTH},
    [57] = {EXIT_RDRAND, NEEDS_LENGTH | NEEDS_DETAILS},
    [58] = {EXIT_INVPCID, NEEDS_BOTH},
    [59] = {EXIT_VMX_INSN, NEEDS_LENGTH}, // VMFUNC
    [61] = {EXIT_RDSEED, NEEDS_LENGTH | NEEDS_DETAILS},
};

// SDM vol. 3, "Exit Qualification for I/O Instructions".
bool vmx_decode_port(struct vcpu *v, struct vm_exit *e) {
    uint32_t q = (uint32_t)vmcs_read_raw(EXIT_QUALIFICATION);
    e->kind = EXIT_IO;
    e->length = (uint32_t)vmcs_read_raw(EXIT_INSTRUCTION_LENGTH);
    v->costs.vmreads += 2;
    e->qualification = q;
    e->io.port = q >> 16;
    e->io.size = (q & 7) + 1;
    e->io.in = q & BIT(3);
    e->io.string = e->io.rep = false;
    if (unlikely(q & BIT(4))) {
        // SDM: "Format of the VM-Exit Instruction-Information Field as Used for INS and OUTS"
        uint32_t info = vmcs_read32(v, EXIT_INSTRUCTION_INFO);
        e->io.string = true;
        e->io.rep = q & BIT(5);
        e->io.address_size = 2u << (info >> 7 & 7);
        e->io.segment = info >> 15 & 7;
    }
    return false;
}

#define PENDING_STEP  BIT(14) // BS in the pending debug exceptions
#define NMI_UNBLOCKED BIT(12) // in exit qualification and interruption information

// Bochs 2.7 saves a pending single-step trap although the instruction faulted and did not complete.
// Within the shadow of STI or MOV SS it is as it should be, and the next entry insists on it (SDM vol. 3,
// "Checks on Guest Non-Register State").
static void drop_false_step(struct vcpu *v) {
    vmx_sync(v, PART_ACTIVITY);
    if (v->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS))
        return;
    v->pending_debug &= ~PENDING_STEP;
    vcpu_changed(v, PART_ACTIVITY);
}

// An IRET that unblocked NMIs and then faulted will be executed again (SDM vol. 3, "NMI unblocking due
// to IRET"; the bit says nothing when the exit came during the delivery of an event).
static void block_nmis_again(struct vcpu *v) {
    vmx_sync(v, PART_BLOCKING);
    v->interruptibility |= BLOCKED_BY_NMI;
    vcpu_changed(v, PART_BLOCKING);
}

// SDM vol. 3, "Exit Qualification for EPT Violations".
static void decode_memory(struct vcpu *v, struct vm_exit *e) {
    uint64_t q = e->qualification;
    e->memory.read = q & BIT(0);
    e->memory.write = q & BIT(1);
    e->memory.execute = q & BIT(2);
    e->memory.mapped = q & 0x38;
    e->memory.gva_valid = q & BIT(7);
    e->memory.page_walk = e->memory.gva_valid && !(q & BIT(8));
    e->memory.gpa = vmcs_read64(v, GUEST_PHYSICAL_ADDRESS);
    e->memory.gva = e->memory.gva_valid ? vmcs_read_natural(v, GUEST_LINEAR_ADDRESS) : 0;
    if (unlikely(vmcs_read_natural(v, GUEST_PENDING_DEBUG) & PENDING_STEP))
        drop_false_step(v);
    if (unlikely((q & NMI_UNBLOCKED) && !e->vectoring))
        block_nmis_again(v);
}

static void decode_exception(struct vcpu *v, struct vm_exit *e) {
    uint32_t info = vmcs_read32(v, EXIT_INTERRUPTION_INFO);
    e->exception.vector = (uint8_t)info;
    e->exception.type = info >> 8 & 7;
    if (e->exception.type == 2) {
        e->kind = EXIT_NMI;
        return;
    }
    if (unlikely((info & NMI_UNBLOCKED) && !e->vectoring && e->exception.vector != 8))
        block_nmis_again(v);
    e->exception.has_error = info & BIT(11);
    e->exception.error = e->exception.has_error ? vmcs_read32(v, EXIT_INTERRUPTION_ERROR) : 0;
    e->exception.address = vmcs_read_natural(v, EXIT_QUALIFICATION);
    e->length = vmcs_read32(v, EXIT_INSTRUCTION_LENGTH);
}

// SDM vol. 3, "Exit Qualification for Control-Register Accesses" and "... for MOV DR".
static void decode_register(struct vm_exit *e) {
    uint64_t q = e->qualification;
    bool dr = e->kind == EXIT_DR;
    e->cr.number = q & (dr ? 7 : 15);
    e->cr.access = dr ? q >> 4 & 1 : q >> 4 & 3;
    e->cr.gpr = q >> 8 & 15;
    e->cr.lmsw = q >> 16;
}

// SDM vol. 3, "Format of the VM-Exit Instruction-Information Field as Used for RDRAND and RDSEED".
static void decode_random(struct vcpu *v, struct vm_exit *e) {
    uint32_t info = vmcs_read32(v, EXIT_INSTRUCTION_INFO);
    e->random.gpr = info >> 3 & 15;
    e->random.size = 2u << (info >> 11 & 3);
}

// The parts of the record that only some kinds have. True: see vmx_decode_exit().
static bool decode_details(struct vcpu *v, struct vm_exit *e) {
    switch (e->kind) {
    case EXIT_IO: return vmx_decode_port(v, e);
    case EXIT_MEMORY: decode_memory(v, e); return false;
    case EXIT_EXCEPTION: decode_exception(v, e); return true;
    case EXIT_ENTRY_FAILED: return true;
    case EXIT_CR:
    case EXIT_DR: decode_register(e); break;
    case EXIT_MISCONFIG: e->memory.gpa = vmcs_read64(v, GUEST_PHYSICAL_ADDRESS); break;
    case EXIT_TASK_SWITCH:
        e->task.selector = (uint16_t)e->qualification;
        e->task.source = e->qualification >> 30 & 3;
        break;
    case EXIT_RDRAND:
    case EXIT_RDSEED: decode_random(v, e); break;
    default: break;
    }
    return false;
}

static void read_vectoring(struct vcpu *v, struct vm_exit *e) {
    uint32_t info = vmcs_read32(v, IDT_VECTORING_INFO);
    e->vectoring = info >> 31;
    if (unlikely(e->vectoring))
        vmx_save_vectoring(v, info);
}

bool vmx_decode_exit(struct vcpu *v, struct vm_exit *e) {
    uint32_t basic = e->raw_reason & 0xffff;
    if (unlikely(basic >= VMX_REASONS || vmx_reasons[basic].kind == EXIT_HOST)) {
        e->kind = EXIT_UNKNOWN;
        e->length = 0;
        e->qualification = vmcs_read_natural(v, EXIT_QUALIFICATION);
        return false;
    }
    uint8_t needs = vmx_reasons[basic].needs;
    e->kind = vmx_reasons[basic].kind;
    if (needs & IN_DELIVERY)
        read_vectoring(v, e);
    e->length = needs & NEEDS_LENGTH ? vmcs_read32(v, EXIT_INSTRUCTION_LENGTH) : 0;
    e->qualification = needs & NEEDS_QUALIFICATION ? vmcs_read_natural(v, EXIT_QUALIFICATION) : 0;
    return needs & NEEDS_DETAILS ? decode_details(v, e) : false;
}
