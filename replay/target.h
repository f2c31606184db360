// A virtual machine as the debugger sees it: the table of operations that a machine supplies, and the plain
// structures that they exchange. The machine runs in its own process (replay/server.h); the front process
// with timeline and gdb connection asks it through a socket (replay/remote.h).
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A place in a run. V (virtual time) orders everything that happens in a VM; the count stands still while the
// guest is idle. `count` is what the whole VM has executed. Places are ordered by (v, count, deliveries).
struct position {
    uint64_t v, count;
    uint64_t rip, rcx;
    uint32_t cpu; // whose turn it is
    // What happened at this count and took no tick: interrupts and injected exceptions delivered, changes of the
    // vCPU. On a handler's first instruction (1) the count is still that of the interrupted one (0).
    uint32_t deliveries;
    uint64_t event; // number of the log's next event (replay), of events so far (recording), else 0
};

// ---- Registers -----------------------------------------------------------------------------------
struct target_segment {
    uint64_t base;
    uint32_t limit;
    uint16_t selector, attributes; // as in the VMCS access rights
};
enum target_mode { TARGET_MODE_16, TARGET_MODE_32, TARGET_MODE_64 };
enum { TARGET_RSP = 4 }; // in `general`
enum { TARGET_ES, TARGET_CS, TARGET_SS, TARGET_DS, TARGET_FS, TARGET_GS, TARGET_SEGMENTS };
struct target_registers {
    uint64_t general[16]; // in the order of their encoding: RAX RCX RDX RBX RSP RBP RSI RDI R8..R15
    uint64_t rip, rflags;
    struct target_segment segments[TARGET_SEGMENTS];
    uint64_t gs_kernel_base; // MSR KERNEL_GS_BASE
    uint64_t cr0, cr2, cr3, cr4, cr8, efer;
    uint8_t st[8][16]; // x87 registers, 10 bytes each
    // ftw is FXSAVE's: a bit for each physical register, 1: not empty.
    uint16_t fcw, fsw, ftw, fop;
    uint64_t fip, fdp;
    uint32_t mxcsr;
    uint32_t mode;       // enum target_mode: how RIP is executed now
    uint8_t ymm[16][32]; // the low half of each is XMM
};

// The linear address that RIP is relative to.
static inline uint64_t target_code_base(const struct target_registers *r) {
    return r->mode == TARGET_MODE_64 ? 0 : r->segments[TARGET_CS].base;
}
// Outside of 64-bit mode addresses and RIP have 32 bits.
static inline uint64_t target_address(const struct target_registers *r, uint64_t value) {
    return r->mode == TARGET_MODE_64 ? value : (uint32_t)value;
}
// RIP as a linear address.
static inline uint64_t target_linear_rip(const struct target_registers *r) {
    return target_address(r, target_code_base(r) + r->rip);
}
static inline void target_set_linear_rip(struct target_registers *r, uint64_t linear) {
    r->rip = target_address(r, linear - target_code_base(r));
}

// ---- Places to stop --------------------------------------------------------------------------------
// The first five are gdb's, with its numbers. INTERRUPT: an interrupt or NMI is delivered to a vCPU that stands at
// this address with this stack pointer; its place is the one before the delivery.
enum break_kind {
    BREAK_SOFTWARE,
    BREAK_HARDWARE,
    WATCH_WRITE,
    WATCH_READ,
    WATCH_ACCESS,
    INTERRUPT
};
struct breakpoint {
    uint32_t kind;    // enum break_kind
    uint32_t length;  // bytes of a watchpoint; INTERRUPT: the vCPU
    uint64_t address; // linear
    uint64_t cr3;     // only in this address space (page-table base without flags); ~0: in any
    uint64_t stack;   // INTERRUPT: RSP; else 0
};
#define BREAKPOINTS_MAX 512
#define ANY_CR3         UINT64_MAX

// ---- Running ---------------------------------------------------------------------------------------
enum run_flags {
    RUN_STEP =
        1, // stop when vCPU `step_cpu` has executed one instruction (a REP iteration is one; MOV SS
           // and its successor are one, too)
    // Do not stop at breakpoints and watchpoints but remember the last one that was met: result.hit. A
    // breakpoint at the starting place or at `until` does not count; an access by the instruction that ends at
    // `until` does.
    RUN_COLLECT = 2,
    // With RUN_STEP: an interrupt that is delivered instead is run through to its return, and so is what it calls.
    RUN_OVER_INTERRUPTS = 4,
    // A breakpoint at the starting place counts, too: the run goes on with one that was ended at a seam.
    RUN_FROM_HERE = 8,
};
struct run_request {
    uint32_t flags, step_cpu;
    // Stop at the first moment at which count >= until_count and V >= until_v, before anything else (timers,
    // inputs) happens at that moment; at once if that is now or was earlier. Both UINT64_MAX: no such stop.
    uint64_t until_count, until_v;
    // What the guest prints before this V was on the screen already and is dropped.
    uint64_t quiet_until;
    // The complete list; the machine places and removes what differs from what is placed. NULL: none.
    uint32_t breakpoint_count;
    const struct breakpoint *breakpoints;
};
enum run_end {
    RAN_TO_PLACE,      // until_count and until_v
    RAN_STEP,          // the step is done
    RAN_TO_BREAKPOINT, // before the instruction, after the interrupt's delivery; `which`
    RAN_TO_WATCHPOINT, // after the access (which changed the value, if WATCH_WRITE); `which`, `address`
    RAN_INTERRUPTED,    // by remote_interrupt()
    RAN_TO_END,         // the recording, or the VM, ends here; `text` says how
    RAN_INTO_DIFFERENCE // replay and recording differ, or the machine failed; `text` is the report
};
struct run_hit {
    uint32_t valid;
    uint32_t which;           // index into the request's list
    uint64_t address;         // of the access
    struct position position; // where RAN_TO_... would have stopped
};
struct run_result {
    uint32_t end; // enum run_end
    struct run_hit hit;
    struct position position; // now
    char text[512];
};

// ---- What there is -----------------------------------------------------------------------------------
enum target_kind { TARGET_LIVE, TARGET_RECORDING, TARGET_REPLAYING };
struct target_info {
    uint32_t kind; // enum target_kind
    uint32_t cpus;
    uint64_t hz, ram_size, low_size; // RAM is [0, low_size) and from 4 GB on
    uint64_t events;                 // of the log, when replaying
    char name[64];
};
enum target_space { SPACE_LINEAR, SPACE_PHYSICAL };
// Text for people, by `monitor`: argument and answer are strings.
enum target_text {
    TEXT_DEVICES, // state of each device ("": all, else its name)
    TEXT_EXITS,   // the last exits with their counts, newest last
    TEXT_EVENTS,  // the log's events, 10 before and after here ("") or that number
    TEXT_CPU,     // mode, activity, interruptibility of each vCPU: what registers do not say
};

// Called in the machine's process, between runs except `interrupt`. Sizes in bytes; results 0 or -errno.
struct target_ops {
    void (*info)(void *target, struct target_info *info);
    void (*where)(void *target, struct position *p);
    void (*run)(void *target, const struct run_request *request, struct run_result *result);
    // Makes the run under way return soon (at the end of the slice, or at once when the guest is idle). From a
    // signal handler. It is called again until run() has returned, which forgets what came before its start.
    void (*interrupt)(void *target);
    int (*read_registers)(void *target, unsigned cpu, struct target_registers *r);
    // -EPERM while recording or replaying: a run that is a function of its log cannot be changed.
    int (*write_registers)(void *target, unsigned cpu, const struct target_registers *r);
    // Reads until the first byte that is not there: the number of bytes, -EFAULT if that is the first.
    // Accesses set no accessed bits and touch no device.
    long (*read_memory)(void *target, unsigned cpu, enum target_space space, uint64_t address,
                        void *buf, size_t n);
    long (*write_memory)(void *target, unsigned cpu, enum target_space space, uint64_t address,
                         const void *buf, size_t n); // -EPERM as write_registers
    int (*translate)(void *target, unsigned cpu, uint64_t linear, uint64_t *physical);
    // Replay: the V at which the log's event of that number is due. UINT64_MAX: there is none.
    uint64_t (*event_v)(void *target, uint64_t event);
    uint64_t (*hash)(void *target, bool memory); // registers and devices, or guest memory
    // Writes at most n-1 bytes and a 0.
    void (*text)(void *target, enum target_text what, const char *argument, char *buf, size_t n);
    // Replay: leaves the log and goes on as a live VM, recorded into `record` unless that is "". A sentence in
    // `error` after -errno.
    int (*go_live)(void *target, const char *record, char error[256]);
    // In the child of a fork: makes the VM the child's own. 0 or -errno.
    int (*after_fork)(void *target);
};
