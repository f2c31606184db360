// prctl, arch_prctl, and other calls that set properties of a process or a thread.
#include <asm/prctl.h>
#include <linux/prctl.h>
#include "cpu/msr.h"
#include "cpu/percpu.h"
#include "cpu/x86.h"
#include "lib/string.h"
#include "mm/layout.h"
#include "mm/uaccess.h"
#include "proc/table.h"
#include "sync/spinlock.h"
#include "syscall/syscall.h"

static int set_base(uint64_t *field, uint32_t msr, uint64_t address) {
    if (address >= USER_END) // WRMSR of a non-canonical address would fault
        return -EPERM;
    irq_push(); // a switch in between would load the old value again
    *field = address;
    wrmsr(msr, address);
    irq_pop();
    return 0;
}

long sys_arch_prctl(int code, uint64_t address) {
    struct world *w = current;
    switch (code) {
    case ARCH_SET_FS: return set_base(&w->fs_base, MSR_FS_BASE, address);
    // In the kernel the user's GS base is in the MSR that SWAPGS exchanges.
    case ARCH_SET_GS: return set_base(&w->gs_base, MSR_KERNEL_GS_BASE, address);
    case ARCH_GET_FS: return put_user(w->fs_base, (uint64_t *)address);
    case ARCH_GET_GS: return put_user(w->gs_base, (uint64_t *)address);
    default: return -EINVAL;
    }
}

static long set_thread_name(const char __user *from) {
    char name[16];
    long n = strncpy_from_user(name, from, sizeof(name));
    if (n == -EFAULT)
        return n;
    name[sizeof(name) - 1] = '\0';
    struct world *w = current;
    strlcpy(w->name, name, sizeof(w->name));
    if (w == w->process->leader)
        strlcpy(w->process->name, name, sizeof(w->process->name));
    return 0;
}

static long get_thread_name(char __user *to) {
    char name[16];
    memset(name, 0, sizeof(name));
    strlcpy(name, current->name, sizeof(name));
    return copy_to_user(to, name, sizeof(name));
}

long sys_prctl(int option, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    struct process *p = current_process();
    switch (option) {
    case PR_SET_PDEATHSIG:
        if (a > SIGNAL_COUNT)
            return -EINVAL;
        p->parent_death_signal = (int)a;
        return 0;
    case PR_GET_PDEATHSIG: return put_user(p->parent_death_signal, (int *)a);
    case PR_SET_NAME: return set_thread_name((const char *)a);
    case PR_GET_NAME: return get_thread_name((char *)a);
    case PR_GET_DUMPABLE: return !p->undumpable;
    case PR_SET_DUMPABLE:
        if (a > 1)
            return -EINVAL;
        p->undumpable = !a;
        return 0;
    case PR_SET_NO_NEW_PRIVS:
        if (a != 1 || b || c || d)
            return -EINVAL;
        p->no_new_privs = true;
        return 0;
    case PR_GET_NO_NEW_PRIVS: return p->no_new_privs;
    case PR_SET_CHILD_SUBREAPER:
        spin_lock(&process_lock);
        p->child_subreaper = a;
        spin_unlock(&process_lock);
        return 0;
    case PR_GET_CHILD_SUBREAPER: return put_user((int)p->child_subreaper, (int *)a);
    case PR_SET_KEEPCAPS:
    case PR_SET_TIMERSLACK: return 0; // no effect here: timers are exact, capabilities go by user
    case PR_GET_KEEPCAPS: return 0;
    case PR_GET_TIMERSLACK: return 1;
    case PR_CAPBSET_READ: return 1;
    default: return -EINVAL;
    }
}

long sys_personality(uint32_t persona) {
    struct process *p = current_process();
    uint32_t old = p->personality;
    if (persona != UINT32_MAX)
        p->personality = persona;
    return old;
}

// The C library asks for it at the start of every thread and does without it.
long sys_rseq(void __user *area, uint32_t size, int flags, uint32_t signature) {
    return -ENOSYS;
}
