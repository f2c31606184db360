// Chronovisor's extension of the KVM API: what replay and debugging need beyond <linux/kvm.h>.
//
// KVM_CHECK_EXTENSION(KVM_CAP_CHRONO) on the system or VM descriptor returns CHRONO_VERSION, or 0
// under another KVM. Every structure is plain data; sizes are part of the ABI.
#pragma once
#include <linux/kvm.h>

#define KVM_CAP_CHRONO 0x43480 // far above Linux's numbers
#define CHRONO_VERSION 1

// ---- Per vCPU: the page behind kvm_run -------------------------------------------------------
// mmap() of a vCPU descriptor (size KVM_GET_VCPU_MMAP_SIZE) holds kvm_run, then the data of port
// accesses at kvm_run.io.data_offset (page 1), then struct chrono_run at CHRONO_RUN_OFFSET (page 2).
#define CHRONO_RUN_OFFSET 8192

// chrono_run.control (set by user space, read at every KVM_RUN). KVM_RUN fails with EOPNOTSUPP for STOP_AT
// and VTIME where the instruction clock is CHRONO_CLOCK_NONE, with EINVAL for MASK_IRQS without STOP_AT and for
// STOP_AT with STOP_TSC.
#define CHRONO_STOP_AT   (1u << 0) // return with KVM_EXIT_CHRONO_STOP when count reaches stop_count
#define CHRONO_MASK_IRQS (1u << 1) // host interrupts stay masked until the run ends (needs STOP_AT)
// The guest's TSC is vtime_base + count, whatever the guest writes to it (else: host TSC + offset)
#define CHRONO_VTIME (1u << 2)
// RDTSC(P) exit: answered with vtime_base + count by the kernel under CHRONO_VTIME, else KVM_EXIT_CHRONO_INSN
#define CHRONO_TRAP_TSC   (1u << 3)
#define CHRONO_TRAP_RAND  (1u << 4) // RDRAND, RDSEED, RDPMC: KVM_EXIT_CHRONO_INSN
#define CHRONO_TRAP_PAUSE (1u << 5) // every PAUSE: KVM_EXIT_CHRONO_INSN
#define CHRONO_STEP       (1u << 6) // stop after exactly one instruction, whatever breakpoint is at it
#define CHRONO_WATCHES    (1u << 7) // page watches of the VM apply (clear: step over one)
#define CHRONO_TRAP_DR    (1u << 8) // MOV DR exits: the debugger owns the debug registers
// User space has not written to guest memory since the last KVM_RUN, nor is an access to be completed: pages with
// breakpoints need not be copied again
#define CHRONO_MEMORY_KEPT (1u << 9)
// Return with KVM_EXIT_CHRONO_STOP when the host's TSC reaches stop_count: a timer without a signal, for guests whose
// time is the host's. Needs no instruction clock.
#define CHRONO_STOP_TSC (1u << 10)

struct chrono_run {
    __u32 control;
    __u32 injected;   // out: exceptions queued for the guest at this count, delivered or not
    __u64 stop_count; // in: absolute count, or TSC
    __u64 vtime_base; // in: V - count, in ticks
    __u64 count;      // in and out: ticks that this vCPU has executed; the kernel adds
    __u64 rip, rcx;   // out: at the exit, with count the landmark
    __u64 reserved2;
    // out, with KVM_EXIT_CHRONO_INSN: which instruction; the answer of RDTSC, RDRAND, RDSEED, RDPMC goes
    // into `value` (and `carry` for RDRAND, RDSEED) before the next KVM_RUN, which completes it.
    __u32 insn; // CHRONO_INSN_*
    __u32 carry;
    __u64 value;
    // out, with KVM_EXIT_CHRONO_WATCH: before the access that touches a watched byte. An instruction that the VMM
    // carries out may have touched a device before (chrono_vcpu_state.pending_completion): KVM_RUN goes on with it
    __u64 watch_gpa, watch_gva;
    __u32 watch_access; // CHRONO_READ, _WRITE, _EXECUTE
    __u32 watch_id;
};
#define CHRONO_INSN_RDTSC  1
#define CHRONO_INSN_RDTSCP 2
#define CHRONO_INSN_RDRAND 3
#define CHRONO_INSN_RDSEED 4
#define CHRONO_INSN_RDPMC  5
#define CHRONO_INSN_PAUSE  6

// Exit reasons of our own in kvm_run.exit_reason.
#define KVM_EXIT_CHRONO_STOP  0x4301 // count reached, or the step is done
#define KVM_EXIT_CHRONO_INSN  0x4302
#define KVM_EXIT_CHRONO_WATCH 0x4303
#define KVM_EXIT_CHRONO_DR    0x4304 // MOV DR under CHRONO_TRAP_DR; kvm_run.hw holds the qualification

// ---- Ioctls ------------------------------------------------------------------------------------
#define CHRONO_IO 0xC7

enum { CHRONO_CLOCK_NONE, CHRONO_CLOCK_TSC, CHRONO_CLOCK_PMC };
struct chrono_clock {
    __u32 kind;           // CHRONO_CLOCK_*
    __u32 exact;          // calibration proved it
    __u64 tick_hz;        // ticks per second of guest execution, about; TSC kind: TSC frequency
    char why[128];        // one sentence for the banner
    __u64 fingerprint[4]; // implementation-defined results of this CPU
    // A bit for each exception that exits from a guest that nobody debugs. Bit 14: page faults on pages that are
    // mapped, of which the guest sees only those that its tables justify.
    __u32 exceptions;
    __u32 steps_in_shadow; // a step (CHRONO_STEP) over STI ends behind it, not an instruction later
};
// On the /dev/kvm descriptor: the instruction clock in use.
#define CHRONO_GET_CLOCK _IOR(CHRONO_IO, 0, struct chrono_clock)
// The same without `exceptions`, for a vmx of the first version, which packs of its recordings bring along.
#define CHRONO_GET_CLOCK_1 \
    _IOR(CHRONO_IO, 0, char[__builtin_offsetof(struct chrono_clock, exceptions)])

// Everything of a vCPU that the KVM API does not carry (facts that a checkpoint needs).
struct chrono_vcpu_state {
    __u64 count;
    __u64 pending_debug; // VMCS pending debug exceptions
    __u64 pdpte[4];
    __u64 cr2, debugctl, xss, ia32_spec_ctrl;
    // SDM vol. 3, "Guest Non-Register State": 0 active, 1 HLT, 2 shutdown. (A vCPU that waits for a SIPI is not run.)
    __u32 activity;
    __u32 interruptibility; // STI, MOV SS, SMI, NMI blocking
    __u32 vectoring_info;   // an event whose delivery was interrupted by an exit; 0: none
    __u32 vectoring_error, vectoring_length;
    __u32 pending_completion; // a port or MMIO access still has to be completed by KVM_RUN
    __u64 reserved[8];
};
#define CHRONO_GET_STATE _IOR(CHRONO_IO, 1, struct chrono_vcpu_state)
#define CHRONO_SET_STATE _IOW(CHRONO_IO, 2, struct chrono_vcpu_state)

// On a vCPU: when `fd` (an eventfd, terminal, socket, pipe) becomes readable, KVM_RUN returns -EINTR
// with KVM_EXIT_INTR. -1: none.
#define CHRONO_SET_WAKE_FD _IOW(CHRONO_IO, 3, __s32)

// On a VM descriptor inherited over fork(), in the child: makes a VM of the child's own with the same
// slots (same addresses, now the child's copy-on-write memory), watches and vCPUs with complete state.
struct chrono_clone {
    __s32 vm_fd;        // out
    __u32 vcpu_count;   // in: size of vcpu_fds; out: number of vCPUs
    __s32 vcpu_fds[64]; // out, by vCPU id order of creation
};
#define CHRONO_CLONE _IOWR(CHRONO_IO, 4, struct chrono_clone)

#define CHRONO_READ    1u
#define CHRONO_WRITE   2u
#define CHRONO_EXECUTE 4u
struct chrono_watch {
    __u32 id;       // chosen by the caller; setting an id again replaces it
    __u32 access;   // CHRONO_READ | ...; 0 removes it
    __u64 gpa, len; // bytes
};
#define CHRONO_SET_WATCH _IOW(CHRONO_IO, 5, struct chrono_watch)

// An INT3 that only instruction fetches see: `set` 1 places, 0 removes. Hits are KVM_EXIT_DEBUG.
struct chrono_breakpoint {
    __u64 gpa;
    __u32 set, reserved;
};
#define CHRONO_SET_BREAKPOINT _IOW(CHRONO_IO, 6, struct chrono_breakpoint)

// On a vCPU: counters since creation, for benchmarks: what is dear on hardware and free in emulators.
struct chrono_costs {
    __u64 vmreads, vmwrites, msr_accesses, cr_writes, xsaves, tlb_invalidations, exits, user_exits;
};
#define CHRONO_GET_COSTS _IOR(CHRONO_IO, 7, struct chrono_costs)

// On a vCPU: exits since creation by what caused them.
struct chrono_exit_counts {
    __u32 kinds; // out: rows that are filled in
    __u32 reserved;
    struct {
        char name[16]; // "CPUID"
        __u64 count;
    } kind[64];
};
#define CHRONO_GET_EXITS _IOR(CHRONO_IO, 8, struct chrono_exit_counts)
