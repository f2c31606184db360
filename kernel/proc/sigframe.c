// The frame of a signal handler on the user's stack, exactly as Linux lays it out on x86-64, and the
// way back from it. From the handler's stack pointer upwards: return address (sa_restorer), struct
// ucontext, siginfo, then (64-byte aligned) the XSAVE area that ucontext's fpstate points to.
#include <asm/sigcontext.h>
#include <asm/signal.h>
#include <asm/ucontext.h>
#include "cpu/fpu.h"
#include "cpu/gdt.h"
#include "cpu/percpu.h"
#include "cpu/trapframe.h"
#include "lib/string.h"
#include "mm/layout.h"
#include "mm/uaccess.h"
#include "proc/process.h"
#include "proc/signal_internal.h"
#include "syscall/syscall.h"

// Linux's <asm/ucontext.h> gives only the flags and asm-generic the structure with its own
// sigset_t; this is the layout of the x86-64 psABI as Linux writes it.
struct user_context {
    uint64_t flags;
    uint64_t link;
    stack_t stack;
    struct sigcontext_64 mcontext;
    signal_set sigmask;
};
struct rt_frame {
    uint64_t return_address;
    struct user_context context;
    siginfo_t info;
};
_Static_assert(offsetof(struct user_context, mcontext) == 40, "as Linux");
_Static_assert(offsetof(struct user_context, sigmask) == 296, "as Linux");
_Static_assert(offsetof(struct rt_frame, info) == 312, "as Linux");

#define RED_ZONE    128 // below the stack pointer, belongs to the interrupted function (psABI 3.2.2)
#define MAGIC2_SIZE sizeof(uint32_t)

// What user mode may change in RFLAGS: CF PF AF ZF SF TF DF OF RF AC.
#define RFLAGS_USER  0x50dd5ull
#define RFLAGS_FIXED 0x202ull // IF and the bit that is always 1

// ---- out --------------------------------------------------------------------------------------

// Saves the live FPU state at `area` in user memory with the software header that tells its size.
static int save_fpu(uint64_t area) {
    size_t size = fpu_area_size();
    struct _fpx_sw_bytes sw = {
        .magic1 = FP_XSTATE_MAGIC1,
        .extended_size = size + MAGIC2_SIZE,
        .xfeatures = fpu_features(),
        .xstate_size = size,
    };
    uint32_t magic2 = FP_XSTATE_MAGIC2;
    if (fpu_save_user((void __user *)area) ||
        copy_to_user((void __user *)(area + offsetof(struct _fpstate_64, sw_reserved)), &sw,
                     sizeof(sw)) ||
        put_user(magic2, (uint32_t __user *)(area + size)))
        return -EFAULT;
    return 0;
}

static void save_registers(struct sigcontext_64 *sc, const struct trap_frame *f) {
    sc->r8 = f->r8;
    sc->r9 = f->r9;
    sc->r10 = f->r10;
    sc->r11 = f->r11;
    sc->r12 = f->r12;
    sc->r13 = f->r13;
    sc->r14 = f->r14;
    sc->r15 = f->r15;
    sc->di = f->rdi;
    sc->si = f->rsi;
    sc->bp = f->rbp;
    sc->bx = f->rbx;
    sc->dx = f->rdx;
    sc->ax = f->rax;
    sc->cx = f->rcx;
    sc->sp = f->rsp;
    sc->ip = f->rip;
    sc->flags = f->rflags;
    sc->cs = (uint16_t)f->cs;
    sc->gs = sc->fs = 0;
    sc->ss = (uint16_t)f->ss;
    sc->err = f->error;
    sc->trapno = f->vector;
    memset(sc->reserved1, 0, sizeof(sc->reserved1));
}

static bool on_altstack(const stack_t *alt, uint64_t sp) {
    uint64_t base = (uint64_t)alt->ss_sp;
    return !(alt->ss_flags & SS_DISABLE) && sp > base && sp - base <= alt->ss_size;
}

// Where the handler's stack begins: the alternate one if asked for and not yet in use.
static uint64_t handler_stack(const struct trap_frame *f, const struct sigaction_entry *a) {
    const stack_t *alt = &current->signals.altstack;
    uint64_t sp = f->rsp - RED_ZONE;
    bool usable = alt->ss_size && !(alt->ss_flags & SS_DISABLE);
    if ((a->flags & SA_ONSTACK) && usable && !on_altstack(alt, f->rsp))
        sp = (uint64_t)alt->ss_sp + alt->ss_size;
    return sp;
}

int sigframe_build(struct trap_frame *f, const struct sigaction_entry *a, int sig,
                   const siginfo_t *info, signal_set old_blocked) {
    struct world *w = current;
    stack_t *alt = &w->signals.altstack;
    uint64_t sp = handler_stack(f, a);
    bool nested_on_alt = alt->ss_size && on_altstack(alt, f->rsp);
    uint64_t fpu = ROUND_DOWN(sp - fpu_area_size() - MAGIC2_SIZE, 64);
    // As after a call: the stack pointer plus 8 is a multiple of 16.
    uint64_t at = ROUND_DOWN(fpu - sizeof(struct rt_frame), 16) - 8;
    if (!(a->flags & SA_RESTORER) || at >= USER_END || sp >= USER_END)
        return -EFAULT;
    if (nested_on_alt && (a->flags & SA_ONSTACK) && at < (uint64_t)alt->ss_sp)
        return -EFAULT; // would run over the lower end of the alternate stack

    struct rt_frame frame; // every byte is written below
    frame.return_address = a->restorer;
    frame.context.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    frame.context.link = 0;
    frame.context.stack = *alt;
    if (!alt->ss_size)
        frame.context.stack.ss_flags = SS_DISABLE;
    else if (nested_on_alt)
        frame.context.stack.ss_flags |= SS_ONSTACK;
    save_registers(&frame.context.mcontext, f);
    frame.context.mcontext.oldmask = old_blocked;
    frame.context.mcontext.cr2 = (SIGNALS_SYNCHRONOUS & SIGNAL_BIT(sig)) ? (uint64_t)info->si_addr
                                                                         : 0;
    frame.context.mcontext.fpstate = fpu;
    frame.context.sigmask = old_blocked;
    frame.info = *info;
    if (save_fpu(fpu) || copy_to_user((void __user *)at, &frame, sizeof(frame)))
        return -EFAULT;
    if (alt->ss_flags & SS_AUTODISARM) {
        memset(alt, 0, sizeof(*alt));
        alt->ss_flags = SS_DISABLE;
    }

    f->rdi = (uint64_t)sig;
    f->rsi = at + offsetof(struct rt_frame, info);
    f->rdx = at + offsetof(struct rt_frame, context);
    f->rax = 0;
    f->rsp = at;
    f->rip = a->handler;
    f->cs = USER_CS;
    f->ss = USER_DS;
    f->rflags = (f->rflags & RFLAGS_USER & ~(0x400ull | 0x100ull | 0x10000ull)) | RFLAGS_FIXED;
    f->error = 0;
    return 0;
}

// ---- and back ---------------------------------------------------------------------------------

// Loads the FPU state that the handler left at `area` (0: the initial one).
static int restore_fpu(uint64_t area) {
    struct _fpx_sw_bytes sw;
    if (!area) {
        fpu_load_initial();
        return 0;
    }
    if (get_user(sw,
                 (struct _fpx_sw_bytes __user *)(area + offsetof(struct _fpstate_64, sw_reserved))))
        return -EFAULT;
    bool extended = sw.magic1 == FP_XSTATE_MAGIC1 && sw.xstate_size == fpu_area_size();
    return fpu_load_user((const void __user *)area, extended ? sw.xfeatures : 0);
}

static void restore_registers(struct trap_frame *f, const struct sigcontext_64 *sc) {
    f->r8 = sc->r8;
    f->r9 = sc->r9;
    f->r10 = sc->r10;
    f->r11 = sc->r11;
    f->r12 = sc->r12;
    f->r13 = sc->r13;
    f->r14 = sc->r14;
    f->r15 = sc->r15;
    f->rdi = sc->di;
    f->rsi = sc->si;
    f->rbp = sc->bp;
    f->rbx = sc->bx;
    f->rdx = sc->dx;
    f->rax = sc->ax;
    f->rcx = sc->cx;
    f->rsp = sc->sp;
    f->rip = sc->ip;
    // Only flat 64-bit user segments exist, and IF, IOPL and VM are not the program's to choose.
    f->cs = USER_CS;
    f->ss = USER_DS;
    f->rflags = (sc->flags & RFLAGS_USER) | RFLAGS_FIXED;
    f->error = 0; // no longer a system call: nothing is restarted
    f->vector = ~0ull;
}

long sys_rt_sigreturn(void) {
    struct world *w = current;
    struct trap_frame *f = w->frame;
    struct user_context context;
    // RET has popped the return address.
    if (copy_from_user(&context, (void __user *)f->rsp, sizeof(context)))
        goto bad;
    restore_registers(f, &context.mcontext);
    // IRET to a non-canonical address would fault in the kernel.
    if (f->rip >= USER_END || restore_fpu(context.mcontext.fpstate))
        goto bad;
    signal_set_blocked(context.sigmask);
    const stack_t *st = &context.stack;
    if (!(st->ss_flags & ~(SS_ONSTACK | SS_DISABLE | (int)SS_AUTODISARM)) &&
        !on_altstack(&w->signals.altstack, f->rsp)) {
        w->signals.altstack = *st;
        w->signals.altstack.ss_flags &= ~SS_ONSTACK;
        if (st->ss_flags & SS_DISABLE)
            w->signals.altstack.ss_size = 0;
    }
    return (long)f->rax;
bad:
    f->error = 0;
    signal_force(SIGSEGV, SI_KERNEL, 0);
    return 0;
}
