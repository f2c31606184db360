// From the SYSCALL entry to the function of a call, by the table made from the areas' lists.
#include "syscall/dispatch.h"
#include <asm/unistd.h>
#include "cpu/gdt.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "proc/process.h"
#include "sched/world.h"
#include "syscall/syscall.h"

// Every call is reached through this type: the x86-64 calling convention passes the six arguments in
// registers, and a function with fewer does not look at the rest. The way round by void (*)(void)
// tells the compiler that the change of type is meant.
typedef long (*syscall_fn)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

static const syscall_fn table[] = {
#define SYSCALL(name, args, status, note) [__NR_##name] = (syscall_fn)(void (*)(void))sys_##name,
#include "syscall/all.def"
#undef SYSCALL
};

static long unknown_call(struct world *w, uint64_t nr) {
    uint64_t slot = MIN(nr, ARRAY_SIZE(w->unknown_calls) * 64 - 1);
    if (!(w->unknown_calls[slot / 64] & BIT(slot % 64))) {
        w->unknown_calls[slot / 64] |= BIT(slot % 64);
        log_notice("syscall: %s[%d]: system call %llu is not implemented", w->name, w->tid,
                   (unsigned long long)nr);
    }
    return -ENOSYS;
}

void syscall_dispatch(struct trap_frame *f) {
    uint64_t nr = f->vector;
    if (likely(nr < ARRAY_SIZE(table) && table[nr]))
        f->rax = table[nr](f->rdi, f->rsi, f->rdx, f->r10, f->r8, f->r9);
    else
        f->rax = unknown_call(current, nr);
    exit_to_user(f);
}

void syscall_init_cpu(void) {
    wrmsr(MSR_STAR, SYSCALL_STAR);
    wrmsr(MSR_LSTAR, (uint64_t)syscall_entry);
    wrmsr(MSR_SFMASK, SYSCALL_FMASK);
}
