// The contract between the VMM and a processor vendor's virtualization (vmm/intel; later vmm/amd; a
// mock in tests/unit). Every function that takes a vCPU is called with its lock held; those marked
// (L) with interrupts off on the processor where vcpu_load() made it current.
#pragma once
#include "vmm/vcpu.h"

// Optional abilities, asked for by number so that nobody tests the vendor.
enum vmm_ability {
    ABILITY_STEP,         // monitor trap flag works (probed, not believed)
    ABILITY_EXECUTE_ONLY, // second-level entries may allow only execution
    ABILITY_DIRTY_BITS,   // second-level accessed and dirty bits
};

// What an entry should watch for; the vendor translates it into its control fields.
enum vmm_intercept {
    INTERCEPT_IRQ_WINDOW = 1u << 0,
    INTERCEPT_NMI_WINDOW = 1u << 1,
    INTERCEPT_RDTSC = 1u << 2,
    INTERCEPT_RAND = 1u << 3,
    INTERCEPT_PAUSE = 1u << 4,
    INTERCEPT_STEP = 1u << 6,
    INTERCEPT_PRESENT_FAULTS = 1u << 9, // #PF on pages that are mapped (vmm/spurious.c)
    INTERCEPT_INT3 = 1u << 10,          // #BP
};

// Exceptions that exit always. #DB and #AC: a guest can make them recur without end during their own
// delivery (CVE-2015-8104, CVE-2015-5307), and #DB is how debuggers work; #MC is the host's.
#define EXCEPTIONS_ALWAYS (1u << 18 | 1u << 17 | 1u << 1)

// How the processor reads second-level page tables; stage2.c builds them through this. Four levels of
// 512 entries of 64 bits; an entry at level 1, or one with `large` at level 2, maps memory.
struct stage2_format {
    // An entry for `pa` at level 1 (4 KB) .. 4 with rights ACCESS_*; leaf: maps memory, of memory type
    // `uncached` or write-back; else points to a table (rights all).
    uint64_t (*make)(paddr_t pa, unsigned level, unsigned rights, bool leaf, bool uncached);
    unsigned (*rights)(uint64_t entry);
    uint64_t (*with_rights)(uint64_t entry, unsigned rights);
    // Bit masks. present: any of these set; address: of the page or table; write: writing is allowed by
    // this level; accessed, dirty: used only with ABILITY_DIRTY_BITS.
    uint64_t present, large, address, write, accessed, dirty;
};

struct vmm_vendor {
    const char *name; // "VT-x"
    const struct stage2_format *stage2;
    // Boot: looks at the processor, negotiates controls, logs every missing mandatory feature by name.
    // 0, or -ENODEV.
    int (*probe)(void);
    // On each processor, interrupts off: VMXON / VMXOFF. 0 or -EIO with a log line.
    int (*cpu_enable)(void);
    void (*cpu_disable)(void);
    bool (*has)(enum vmm_ability ability);

    int (*vcpu_init)(struct vcpu *v); // allocates ->arch with reset state. 0, -ENOMEM
    void (*vcpu_free)(struct vcpu *v);
    void (*vcpu_load)(struct vcpu *v); // (L) makes it current here; no other processor may hold it
    void (*vcpu_unload)(struct vcpu *v); // takes it from whatever processor holds it; waits, so
                                         // interrupts on and no spin lock held
    void (*vcpu_put)(struct vcpu *v); // (L) the world goes elsewhere: the host's own MSRs are back
    void (*sync)(struct vcpu *v, uint32_t parts); // (L) hardware → v's fields, for stale parts

    // (L) Events of v->event that can be delivered now are put into the entry; writes dirty parts, applies
    // intercepts, runs the guest for at most `ticks` ticks (UINT64_MAX: until the host's next timer),
    // and returns the exit, v->last. Adds to v->count what the guest executed. All parts but PART_EAGER become
    // stale. No vcpu_put() since vcpu_load(), and the same world.
    struct vm_exit *(*run)(struct vcpu *v, uint32_t intercepts, uint64_t ticks);
    // (L) The same once more as the last run() was: with its intercepts, TSC and breakpoints, and no event to
    // be delivered. run_for(): but for so many ticks, and with virtual time as it is now. run_on(): the guest sees
    // no virtual time.
    struct vm_exit *(*run_for)(struct vcpu *v, uint64_t ticks);
    struct vm_exit *(*run_on)(struct vcpu *v);

    // Second-level tables changed: no processor may use old translations of this VM after return. Any
    // context that may wait for other processors. `address_space`: its root.
    void (*flush_stage2)(struct vm *vm, paddr_t root);
    // Guest-linear translations of this vCPU (CR3 writes that exit, new system registers): gone before its
    // next entry, wherever that is.
    void (*flush_guest)(struct vcpu *v);
    // Allowed guest values: bits of CR0 and CR4 that must be 1 / may be 1.
    void (*cr_limits)(uint64_t *cr0_must, uint64_t *cr0_may, uint64_t *cr4_must, uint64_t *cr4_may);
    // MSRs the guest may read or write without exit; called for each such MSR at vCPU creation.
    void (*pass_msr)(struct vcpu *v, uint32_t msr, bool read, bool write);
    // Why the last entry was refused: names field, value and rule. Length as snprintf. (L)
    int (*explain)(struct vcpu *v, char *buf, size_t size);
};
extern const struct vmm_vendor vmx_vendor; // vmm/intel
