// A virtual machine and its vCPUs, as the vendor-neutral part of the VMM sees them.
//
// Letters: (I) set at creation, then constant. (V) owned by whoever holds vcpu->lock, which KVM_RUN and
// every vCPU ioctl take. (M) under vm->lock. (A) atomic.
#pragma once
#include <linux/kvm.h>
#include "lib/list.h"
#include "mm/space.h"
#include "sync/mutex.h"
#include "vmm/exit.h"
#include "vmm/extension.h"

struct file;
struct stage2;
struct vmm_vendor;

#define VM_MAX_VCPUS  64
#define VM_MAX_SLOTS  64
#define VM_MAX_LIFTED 8

// Hardware numbering: instruction encodings index vcpu->gpr with it.
enum {
    GPR_RAX,
    GPR_RCX,
    GPR_RDX,
    GPR_RBX,
    GPR_RSP,
    GPR_RBP,
    GPR_RSI,
    GPR_RDI,
    GPR_R8,
    GPR_R15 = 15
};
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

// Parts of the register state that the hardware keeps for itself while the guest runs. The vendor
// reads a part on demand (vcpu_sync) and writes back the dirty ones before the next entry.
enum {
    PART_RIP = 1u << 0, // rip
    PART_RSP = 1u << 1, // gpr[GPR_RSP]
    PART_RFLAGS = 1u << 2,
    PART_CR = 1u << 3,       // cr0, cr3, cr4, efer, pdpte
    PART_SEGMENTS = 1u << 4, // all eight and GDTR, IDTR
    PART_SYSMSR = 1u << 5,   // sysenter, star.. where the hardware holds them, DEBUGCTL
    PART_DEBUG = 1u << 6,    // dr7
    PART_BLOCKING = 1u << 7, // interruptibility
    PART_MODE = 1u << 8,     // mode: only read; who changes segments changes those
    PART_ACTIVITY = 1u << 9, // activity, pending debug exceptions
    PART_PAT = 1u << 10,
    PART_ALL = (1u << 11) - 1,
    // No register, and never stale; dirty: what the processor keeps of the guest's own tables must go before
    // the next entry.
    PART_TRANSLATIONS = 1u << 11,
    // Never stale, since they are read at every exit: nearly all need the first three, and no guest
    // changes PAT without one.
    PART_EAGER = PART_RIP | PART_RFLAGS | PART_BLOCKING | PART_PAT,
};

// Of a passage through the guest, for the vendor's assembly (vmm/intel/entry.S has the offsets). Entry and exit read
// the TSC; in between the guest's is its host's plus an offset: `tsc_base`, less the first reading where `tsc_mask`
// is all ones (virtual time, which stands still between passages) and not 0.
struct passage {
    uint64_t stack; // the host's RSP meanwhile
    uint64_t tsc_base, tsc_mask, tsc_in, tsc_out;
    uint64_t launched; // VT-x: VMRESUME, not VMLAUNCH
};

struct vcpu {
    // (V) Always current but for RSP. First, because entries and exits come with this address.
    uint64_t gpr[16];
    struct passage passage;
    struct vm *vm;     // (I)
    unsigned id;       // (I) as given to KVM_CREATE_VCPU
    struct mutex lock; // taken by every ioctl of the vCPU
    void *arch;        // (I) the vendor's: VMCS and the like
    int hw_cpu;        // (V) processor whose hardware holds its state, -1: none

    // (V) Guest registers; a field is current when its part is not in ->stale.
    uint64_t rip, rflags;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer, pdpte[4], xcr0;
    uint64_t dr[4], dr6, dr7;  // always current: MOV DR and #DB exit
    uint64_t hw_dr[4], hw_dr7; // what the processor gets: these, or the debugger's
    // What the guest may do (vcpu_features_changed()): CR4 bits that CPUID allows, those of them that
    // change without an exit, and the XCR0 that must be loaded while it runs; 0: the host's will do.
    uint64_t cr4_allowed, cr4_guest_owned, xcr0_hw;
    bool has_rdrand, has_rdseed, traps_rand; // by CPUID; one of them must not work
    struct kvm_segment seg[SEG_COUNT];
    struct kvm_dtable gdt, idt;
    struct { // what exits ask for most; only by vcpu_cpl(), vcpu_code_size(), vcpu_cr3()
        bool lma, cs_l, cs_db;
        uint8_t cpl;
        uint64_t cr3;
    } mode;
    struct {
        uint64_t sysenter_cs, sysenter_esp, sysenter_eip, star, lstar, cstar, fmask, kernel_gs_base;
        uint64_t tsc_aux, pat, debugctl, xss, misc_enable, apic_base, mtrr_def_type, mtrr_fixed[11],
            mtrr_var[16], tsc_adjust;
    } msr;
    uint32_t interruptibility, activity;
    uint64_t pending_debug;
    uint32_t stale, dirty; // PART_* to be read from / written to the hardware
    void *fpu;             // (I) XSAVE area of the guest

    // (V) Events to be delivered at the next entry (KVM_INTERRUPT, KVM_NMI, re-injection, faults).
    struct {
        union {
            struct {
                bool exception_pending, interrupt_pending, nmi_pending, nmi_injected;
                bool triple_fault; // shut down before the next entry
            };
            uint64_t any; // not 0: there is something
        };
        bool exception_has_error, interrupt_soft;
        uint8_t exception_vector, interrupt_vector;
        uint32_t exception_error;
        uint8_t
            soft_length; // instruction length of a soft interrupt or exception being re-injected
    } event;
    uint32_t control; // (V) chrono_run.control and stop_count as they were when KVM_RUN began
    uint64_t stop_at;
    uint32_t intercepts; // (V) INTERCEPT_* of the next entry
    uint64_t ticks;      // (V) how long it may last; 0: not determined yet
    union {              // what keeps the next entry from being a plain one (run.c)
        struct {
            bool attention; // (A) everything must be looked at first
            bool unloaded;  // (V) the hardware of this processor does not have it, or not its MSRs
            bool
                special; // (V) something must be done around each entry, or it has an end of its own
        };
        uint32_t gate;
    };
    bool skipped;         // (V) vcpu_skip() was called
    bool settle_each_run; // (V) what was prepared for does not last beyond a KVM_RUN

    struct kvm_run *run; // (I) shared with user space, in the direct map; it may change at any time
    void *pio_data;      // (I) the same: data of port accesses, one page
    struct chrono_run *chrono; // (I) the same
    uint64_t count;            // (V) the instruction clock of this vCPU
    uint64_t injected_at;      // (V) count at which exceptions were queued, and how many
    uint32_t injected;
    int64_t tsc_offset; // (V) without CHRONO_VTIME: guest TSC - host TSC
    uint32_t mp_state;  // (V) KVM_MP_STATE_*
    struct kvm_guest_debug guest_debug;
    struct kvm_cpuid_entry2 *cpuid; // (V) as set by KVM_SET_CPUID2
    unsigned cpuid_count;
    int (*complete)(
        struct vcpu *v);   // (V) finishes what user space was asked for, at the next KVM_RUN
    uint64_t complete_rip; // (V) where the instruction is that ->complete finishes
    struct {               // (V) what ->complete of a port, MSR or CHRONO_INSN exit needs
        uint8_t length, size, gpr, insn;
        bool in;
    } pending;
    struct emulation *emulation; // (V) instruction in progress for multi-part MMIO and string I/O
    struct wake_source *wake;    // (V) CHRONO_SET_WAKE_FD (wake.c)
    uint64_t device_page,
        device_changes;   // (V) last byte of a page without memory, and slot_changes then
    bool step_over;       // (V) a watched page is open to it for one instruction (watch.c)
    bool wake_requested;  // (A) makes KVM_RUN return -EINTR
    uint64_t signal_mask; // (V) KVM_SET_SIGNAL_MASK, when has_signal_mask
    bool has_signal_mask;
    struct chrono_costs costs; // but for `exits`, the sum of these:
    uint64_t exits[EXIT_KIND_COUNT];
    struct vm_exit recent[32]; // ring of the last exits, for reports
    struct vm_exit *last;      // among them
};

struct memory_slot {
    uint32_t id, flags;      // KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY
    uint64_t gpa, size, hva; // bytes, page aligned
    uint64_t *dirty;         // bitmap while logged
};

struct vm {
    uint32_t refs; // (A) the VM file and each vCPU file
    struct space
        *space; // (I) of the process that created it (space_keep); guest memory is its memory
    struct mutex lock;                       // slots, vCPU list, filters, watches
    struct memory_slot *slots[VM_MAX_SLOTS]; // (M) and the stage2's lock; sorted by gpa
    unsigned slot_count;
    uint64_t slot_changes; // (A) grows with every change of them
    struct stage2 *stage2; // (I) second-level page tables (vmm/stage2.h)
    paddr_t root;          // (I) of these tables, for the vendor; set by stage2_create()
    struct space_notifier notifier;
    struct vcpu *vcpus[VM_MAX_VCPUS]; // (M) by order of creation
    unsigned vcpu_count;
    struct list_node watches, breakpoints; // (M) and the stage2's lock, as all of the debugger's
    bool debugged;                         // there are watches or breakpoints
    uint64_t lifted
        [VM_MAX_LIFTED]; // (the stage2's lock) pages whose watches and breakpoints do not count for now
    unsigned lifted_count;
    struct msr_filter
        *msr_filter; // (M) replaced as a whole, with every vCPU's lock held (msr_filter.c)
    uint32_t user_msr_reasons; // KVM_CAP_X86_USER_SPACE_MSR
    bool exception_payload;    // KVM_CAP_EXCEPTION_PAYLOAD
    bool triple_fault_event;   // KVM_CAP_X86_TRIPLE_FAULT_EVENT
    bool manual_dirty_log;     // KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2
    bool reported;             // (A) a failure of it is in the log
    uint64_t tsc_khz;
};

// The vendor in use, or NULL when this machine has no usable virtualization (then /dev/kvm is absent).
extern const struct vmm_vendor *vmm_vendor;

// For a new vCPU: makes a ring of v->recent.
static inline void vcpu_link_recent(struct vcpu *v) {
    for (unsigned i = 0; i < ARRAY_SIZE(v->recent); i++)
        v->recent[i].next = &v->recent[(i + 1) % ARRAY_SIZE(v->recent)];
    v->last = v->recent;
}
// vcpu_sync() (vcpu_parts.h) for callers outside of KVM_RUN (ioctls): fetches them from whatever processor has them. May wait.
void vcpu_fetch(struct vcpu *v, uint32_t parts);
// Loads the vCPU on this processor, wherever it was, and turns interrupts off; they stay off.
void vcpu_bring_here(struct vcpu *v);
// Marks parts as changed by software: they are current now and are written back at the next entry.
static inline void vcpu_changed(struct vcpu *v, uint32_t parts) {
    v->stale &= ~parts;
    v->dirty |= parts;
}
// CPUID, CR4, XCR0 or the debugger's registers changed: derives what follows from them.
void vcpu_features_changed(struct vcpu *v);
void vcpu_debug_changed(struct vcpu *v);
// State after power-on (SDM vol. 3, "Processor State After Reset"); everything dirty.
void vcpu_reset(struct vcpu *v);
// Makes a running vCPU leave the guest and KVM_RUN look at v->wake_requested. Any context.
void vcpu_kick(struct vcpu *v);
// Queues an architectural exception for the guest (its own mistake).
void vcpu_inject_exception(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error);
void vcpu_inject_page_fault(struct vcpu *v, uint64_t address, uint32_t error);
// Guest memory by guest-physical address, across slots. 0, or -EFAULT where there is no slot. May sleep.
int vm_read(struct vm *vm, uint64_t gpa, void *buf, size_t n);
int vm_write(struct vm *vm, uint64_t gpa, const void *buf, size_t n);
// The guest's own page tables: gva to gpa for an access (ACCESS_*), user: at CPL 3. 0, or 1 with *error
// the page-fault error code to inject. Sets accessed and dirty bits as hardware does.
int vcpu_translate(struct vcpu *v, uint64_t gva, unsigned access, bool user, uint64_t *gpa,
                   uint32_t *error);
// Stops this VM with a full report: decoded reason, qualification, registers, instruction bytes, last
// exits; in the log (the first time) and as KVM_EXIT_INTERNAL_ERROR for user space. Returns what KVM_RUN returns.
int vcpu_report_unknown(struct vcpu *v, const struct vm_exit *e);
