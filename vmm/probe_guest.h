// A guest of a few pages in the kernel's own memory, without any user space: it proves the instruction
// clock at boot and lets the self-test provoke failing entries. 64-bit mode, ring 0, interrupts on.
#pragma once
#include "vmm/exit.h"
#include "vmm/vcpu.h"

// Guest-physical (and linear) addresses
#define PROBE_PML4   0x0000u
#define PROBE_IDT    0x3000u
#define PROBE_GDT    0x4000u
#define PROBE_CODE   0x5000u
#define PROBE_DATA   0x8000u // to 0xbfff
#define PROBE_STACK  0xf000u // its top
#define PROBE_PAGES  16u
#define PROBE_VECTOR 0x40u // of injected interrupts

// probe_code.S
extern const uint8_t probe_code[], probe_code_end[];
extern const uint8_t probe_halt[], probe_loop[], probe_rep[], probe_exits[], probe_faults[],
    probe_soft[], probe_tsc[], probe_mix[], probe_branches[], probe_on_ud[], probe_on_int[],
    probe_on_irq[];

struct probe_guest {
    struct vm *vm;
    struct vcpu *v;
    uint8_t *memory;     // PROBE_PAGES pages
    uint64_t *tables;    // four second-level tables: root .. level 1
    uint32_t intercepts; // for the next runs
};

// Needs vmm_vendor. False: out of memory. May sleep.
bool probe_guest_create(struct probe_guest *g);
void probe_guest_free(struct probe_guest *g);
// Registers as at the start of `program`, RCX = RBP = n, count 0, memory cleared, everything mapped.
void probe_guest_start(struct probe_guest *g, const uint8_t *program, uint64_t n);
// Runs until the count is at least `count` or the guest exits for a reason of its own, which is
// returned; the host's interrupts are taken on the way, CPUID is finished and skipped, EPT violations
// are resolved. EXIT_COUNT: the count was reached.
enum exit_kind probe_guest_run(struct probe_guest *g, uint64_t count);
// One passage of at most `ticks`. RIP, RSP, RFLAGS, blocking are current afterwards.
void probe_guest_pass(struct probe_guest *g, uint64_t ticks, struct vm_exit *e);
// Takes a page out of the second-level tables: the next access exits.
void probe_guest_unmap(struct probe_guest *g, uint64_t gpa);
