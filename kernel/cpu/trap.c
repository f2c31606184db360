// Exceptions: to the memory manager, to the program as a signal, or, when they are our own, to the
// panic report.
#include <asm/siginfo.h>
#include <asm/signal.h>
#include "cpu/gdt.h"
#include "cpu/msr.h"
#include "cpu/panic.h"
#include "cpu/percpu.h"
#include "cpu/trap.h"
#include "cpu/x86.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/kstack.h"
#include "mm/layout.h"
#include "mm/space.h"
#include "mm/uaccess.h"
#include "proc/signal.h"

enum {
    VECTOR_DB = 1,
    VECTOR_NMI = 2,
    VECTOR_BP = 3,
    VECTOR_DF = 8,
    VECTOR_PF = 14,
    VECTOR_MF = 16,
    VECTOR_MC = 18,
    VECTOR_XM = 19,
};

// Names as in Intel SDM vol. 3, table 6-1, and what a program gets for each.
static const struct exception {
    const char *name;
    int signal, code;
} exceptions[32] = {
    [0] = {"divide error (#DE)", SIGFPE, FPE_INTDIV},
    [1] = {"debug exception (#DB)", SIGTRAP, TRAP_TRACE},
    [2] = {"non-maskable interrupt", 0, 0},
    [3] = {"breakpoint (#BP)", SIGTRAP, SI_KERNEL},
    [4] = {"overflow (#OF)", SIGSEGV, SI_KERNEL},
    [5] = {"bound range exceeded (#BR)", SIGSEGV, SI_KERNEL},
    [6] = {"invalid opcode (#UD)", SIGILL, ILL_ILLOPN},
    [7] = {"device not available (#NM)", SIGFPE, FPE_FLTINV},
    [8] = {"double fault (#DF)", 0, 0},
    [9] = {"coprocessor segment overrun", SIGFPE, FPE_FLTINV},
    [10] = {"invalid TSS (#TS)", SIGSEGV, SI_KERNEL},
    [11] = {"segment not present (#NP)", SIGBUS, SI_KERNEL},
    [12] = {"stack fault (#SS)", SIGBUS, SI_KERNEL},
    [13] = {"general protection (#GP)", SIGSEGV, SI_KERNEL},
    [14] = {"page fault (#PF)", SIGSEGV, SEGV_MAPERR},
    [16] = {"x87 error (#MF)", SIGFPE, FPE_FLTINV},
    [17] = {"alignment check (#AC)", SIGBUS, BUS_ADRALN},
    [18] = {"machine check (#MC)", 0, 0},
    [19] = {"SIMD error (#XM)", SIGFPE, FPE_FLTINV},
    [20] = {"virtualization exception (#VE)", SIGSEGV, SI_KERNEL},
    [21] = {"control protection (#CP)", SIGSEGV, SI_KERNEL},
};

static const char *exception_name(uint64_t vector) {
    const char *name = vector < ARRAY_SIZE(exceptions) ? exceptions[vector].name : NULL;
    return name ? name : "unknown exception";
}

// Which of the unmasked floating-point exceptions happened (SDM vol. 1, 8.1.3.3 and 10.2.3).
static int fpe_code(uint64_t vector) {
    uint16_t pending;
    if (vector == VECTOR_MF) {
        uint16_t status, control;
        __asm__ volatile("fnstsw %0" : "=m"(status));
        __asm__ volatile("fnstcw %0" : "=m"(control));
        pending = status & ~control;
    } else {
        uint32_t mxcsr;
        __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
        pending = mxcsr & ~(mxcsr >> 7);
    }
    static const int codes[] = {FPE_FLTINV, FPE_FLTUND, FPE_FLTDIV,
                                FPE_FLTOVF, FPE_FLTUND, FPE_FLTRES}; // I D Z O U P
    for (unsigned i = 0; i < ARRAY_SIZE(codes); i++)
        if (pending & BIT(i))
            return codes[i];
    return FPE_FLTINV;
}

static void user_exception(struct trap_frame *f) {
    const struct exception *e = f->vector < ARRAY_SIZE(exceptions) ? &exceptions[f->vector] : NULL;
    uint64_t addr = f->rip;
    int code = e ? e->code : SI_KERNEL;
    if (f->vector == VECTOR_MF || f->vector == VECTOR_XM)
        code = fpe_code(f->vector);
    if (code == SI_KERNEL)
        addr = 0; // as in Linux: SI_KERNEL comes without an address
    irq_enable();
    signal_force(e && e->signal ? e->signal : SIGSEGV, code, addr);
    irq_disable();
}

// A debug exception in the kernel: nothing here sets breakpoints. A program can cause one at the first
// instruction of the system-call entry, by MOV SS and SYSCALL with the trap flag set; it is harmless,
// since #DB has a stack of its own and does not rely on GS.
static void kernel_debug_exception(struct trap_frame *f) {
    static bool said; // once: a program must not be able to flood the log
    f->rflags &= ~RFLAGS_TF;
    if (!said)
        log_info("cpu: debug exception in the kernel at %#lx ignored", f->rip);
    said = true;
}

bool (*nmi_hook)(void);

void trap_dispatch(struct trap_frame *f) {
    switch (f->vector) {
    case VECTOR_NMI:
        if (!smp_handle_nmi(f) && !(nmi_hook && nmi_hook()))
            log_error("cpu: non-maskable interrupt of unknown cause (status port 0x61: %#x)",
                      inb(0x61));
        return;
    case VECTOR_DF: panic_frame(f, "double fault%s", panic_explain_stack(f->rsp));
    case VECTOR_MC: panic_frame(f, "machine check: the processor reports a hardware error");
    }
    if (frame_from_user(f))
        user_exception(f);
    else if (f->vector == VECTOR_DB)
        kernel_debug_exception(f);
    else if (!uaccess_fixup(f))
        panic_frame(f, "%s in the kernel, error code %#lx", exception_name(f->vector), f->error);
}

// Says in words what an address is that the kernel should not have touched.
static const char *explain_address(uint64_t addr) {
    if (*panic_explain_stack(addr))
        return "the guard page of a kernel stack: stack overflow";
    if (addr < PAGE_SIZE)
        return "a NULL pointer, or a member behind one";
    if (addr <= USER_END)
        return "in user space: touched without copy_to_user() or copy_from_user()";
    if (addr < DIRECT_MAP)
        return "not canonical";
    if (addr < FRAME_TABLE)
        return "in the direct map, but no memory is there";
    if (addr < STACK_AREA)
        return "in the frame table, for a page that does not exist";
    if (addr < DEVICE_AREA)
        return "in the stack area";
    if (addr < KERNEL_BASE)
        return "in the device area, but not mapped";
    return "in the kernel's image: its rights do not allow this";
}

void trap_page_fault(struct trap_frame *f, uint64_t addr) {
    if (likely(page_fault(f, addr)))
        return;
    if (frame_from_user(f)) {
        irq_enable();
        signal_force(SIGSEGV, SEGV_MAPERR, addr);
        irq_disable();
        return;
    }
    if (uaccess_fixup(f))
        return;
    // Error code: SDM vol. 3, 4.7
    const char *what = f->error & 16 ? "execute" : f->error & 2 ? "write to" : "read";
    panic_frame(f, "the kernel tried to %s %#lx (%s), which is %s%s", what, addr,
                f->error & 1 ? "no right" : "not mapped", explain_address(addr),
                f->error & 8 ? "; reserved bits are set in a page table" : "");
}

struct trap_frame *trap_move_return_fault(struct trap_frame *f) {
    // At the fault RSP pointed at the five words that IRETQ was to load, at the top of the stack.
    struct trap_frame *top = (struct trap_frame *)(f->rsp - offsetof(struct trap_frame, rip));
    uint64_t error = f->error;
    memmove(top, f, offsetof(struct trap_frame, vector)); // the registers are the user's already
    top->vector = 13;
    top->error = error;
    return top;
}
