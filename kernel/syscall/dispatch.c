// The table of system calls, made from the areas' lists, and what comes after each call.
#include "syscall/dispatch.h"
#include <asm/unistd.h>
#include "cpu/gdt.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "proc/process.h"
#include "sched/exit_to_user.h"
#include "syscall/syscall.h"

// The x86-64 calling convention passes six arguments in registers, and a function with fewer does not look at the
// rest: so the entry can call each without knowing its type.
void (*const syscall_table[SYSCALL_SLOTS])(void) = {
#define SYSCALL(name, args, status, note) [__NR_##name] = (void (*)(void))sys_##name,
#include "syscall/all.def"
#undef SYSCALL
};

long syscall_unknown(const struct trap_frame *f) {
    struct world *w = current;
    uint64_t nr = f->vector, slot = MIN(nr, ARRAY_SIZE(w->unknown_calls) * 64 - 1);
    if (!(w->unknown_calls[slot / 64] & BIT(slot % 64))) {
        w->unknown_calls[slot / 64] |= BIT(slot % 64);
        log_notice("syscall: %s[%d]: system call %llu is not implemented", w->name, w->tid,
                   (unsigned long long)nr);
    }
    return -ENOSYS;
}

void syscall_end(struct trap_frame *f, uint64_t result) {
    f->rax = result;
    irq_disable();
    if (unlikely(work_before_user(current) || result_asks_for_restart(result)))
        exit_to_user_slowly(f);
}

void syscall_init_cpu(void) {
    wrmsr(MSR_STAR, SYSCALL_STAR);
    wrmsr(MSR_LSTAR, (uint64_t)syscall_entry);
    wrmsr(MSR_SFMASK, SYSCALL_FMASK);
}
