// The neutral exit record: what happened, in words that both vendors share. vmm/intel fills it in;
// vmm/exit.c holds the const table of second-level handlers; statistics and tracing hook there.
#pragma once
#include "lib/compiler.h"

struct vcpu;

// X(name, "text for reports and diagrams")
#define EXIT_KINDS(X)                                                   \
    X(HOST, "taken care of by the host: run again")                     \
    X(INTERRUPT, "external interrupt")                                  \
    X(NMI, "NMI of the host")                                           \
    X(COUNT, "count reached (preemption timer)")                        \
    X(STEP, "one instruction done (monitor trap flag)")                 \
    X(IO, "port access")                                                \
    X(MEMORY, "second-level page fault (EPT violation)")                \
    X(MISCONFIG, "second-level entry malformed (EPT misconfiguration)") \
    X(CPUID, "CPUID")                                                   \
    X(HLT, "HLT")                                                       \
    X(PAUSE, "PAUSE")                                                   \
    X(RDMSR, "RDMSR")                                                   \
    X(WRMSR, "WRMSR")                                                   \
    X(CR, "control register access")                                    \
    X(DR, "debug register access")                                      \
    X(EXCEPTION, "exception in the guest")                              \
    X(IRQ_WINDOW, "interrupt window")                                   \
    X(NMI_WINDOW, "NMI window")                                         \
    X(RDTSC, "RDTSC")                                                   \
    X(RDTSCP, "RDTSCP")                                                 \
    X(RDPMC, "RDPMC")                                                   \
    X(RDRAND, "RDRAND")                                                 \
    X(RDSEED, "RDSEED")                                                 \
    X(XSETBV, "XSETBV")                                                 \
    X(WBINVD, "WBINVD or INVD")                                         \
    X(INVLPG, "INVLPG")                                                 \
    X(INVPCID, "INVPCID")                                               \
    X(DESCRIPTOR, "LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT, STR")       \
    X(TASK_SWITCH, "task switch")                                       \
    X(VMCALL, "VMCALL")                                                 \
    X(VMX_INSN, "VMX instruction: the guest has no VT-x")               \
    X(MONITOR, "MONITOR or MWAIT")                                      \
    X(TRIPLE_FAULT, "triple fault")                                     \
    X(INIT, "INIT signal")                                              \
    X(SIPI, "start-up IPI")                                             \
    X(ENTRY_FAILED, "VM entry refused")                                 \
    X(UNKNOWN, "exit reason unknown to this VMM")

enum exit_kind {
#define X(name, text) EXIT_##name,
    EXIT_KINDS(X)
#undef X
        EXIT_KIND_COUNT
};

struct vm_exit {
    struct vm_exit *next; // in the ring of the vCPU's last exits, which the next one overwrites
    enum exit_kind kind;
    uint32_t raw_reason;    // the hardware's number, for reports and KVM_EXIT_UNKNOWN
    uint64_t rip, count;    // where it came
    uint64_t qualification; // read only for kinds that need it
    bool vectoring;         // it interrupted the delivery of an event (which v->event holds again)
    uint32_t length;        // of the instruction that caused the exit, when it did
    union {
        struct {
            uint16_t port;
            uint8_t size; // 1, 2, 4
            bool in, string, rep;
            uint8_t address_size, segment; // string forms: 2, 4, 8; ES, CS, SS, DS, FS, GS = 0..5
        } io;
        struct {
            uint64_t gpa, gva;
            bool gva_valid, read, write, execute;
            bool mapped;    // an entry was there but its rights did not allow the access
            bool page_walk; // the access was to a guest page table
        } memory;
        struct {
            uint8_t number, gpr, access; // access: 0 mov to, 1 mov from, 2 CLTS, 3 LMSW
            uint16_t lmsw;
        } cr; // dr: number, gpr and access 0, 1 alike
        struct {
            uint8_t vector, type;
            bool has_error;
            uint32_t error;
            uint64_t address; // #PF: linear address; #DB: DR6 bits
        } exception;
        struct {
            uint16_t selector;
            uint8_t source; // 0 CALL, 1 IRET, 2 JMP, 3 task gate in the IDT
        } task;
        struct {
            uint8_t gpr, size; // the operand: a register of 2, 4 or 8 bytes
        } random;              // RDRAND, RDSEED
    };
};

// The text of the table above, and the name there ("IRQ_WINDOW"). Never NULL.
const char *exit_name(enum exit_kind kind);
const char *exit_id(enum exit_kind kind);
