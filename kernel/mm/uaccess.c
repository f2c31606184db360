// Checks in front of usercopy.S, and the exception handlers' side.
#include "mm/uaccess.h"
#include "cpu/trapframe.h"
#include "lib/errno.h"
#include "mm/layout.h"
#include "mm/percpu.h"
#include "mm/space.h"
#include "proc/pool.h"
#include "proc/process.h"
#include "proc/signal.h"
#include "sched/world.h"

#define ERROR_WRITE    2u // page-fault error code, Intel SDM vol. 3, 4.7
#define ERROR_RESERVED 8u
#define ERROR_FETCH    16u

int user_copy(void *to, const void *from, size_t n);
int user_clear(void *to, size_t n);
long user_copy_string(char *to, const char *from, size_t max);
int user_cmpxchg(uint32_t *addr, uint32_t expected, uint32_t desired, uint32_t *old);
int user_load_atomic(uint32_t *value, const uint32_t *addr);

struct ex_entry {
    uint64_t at, to; // bit 63 of `to` clear: do not bring pages in
};
extern const struct ex_entry ex_table_start[], ex_table_end[];
#define EX_KERNEL_BIT BIT(63)

static inline bool user_range(const void *p, size_t n) {
    return (uint64_t)p <= USER_END && n <= USER_END - (uint64_t)p;
}

int copy_from_user(void *dst, const void __user *src, size_t n) {
    return likely(user_range(src, n)) ? user_copy(dst, src, n) : -EFAULT;
}

int copy_to_user(void __user *dst, const void *src, size_t n) {
    return likely(user_range(dst, n)) ? user_copy(dst, src, n) : -EFAULT;
}

int clear_user(void __user *dst, size_t n) {
    return user_range(dst, n) ? user_clear(dst, n) : -EFAULT;
}

long strncpy_from_user(char *dst, const char __user *src, size_t size) {
    if (!user_range(src, 1))
        return -EFAULT;
    size_t room = USER_END - (uint64_t)src, max = MIN(size, room);
    long n = user_copy_string(dst, src, max);
    if (n < 0 || (size_t)n < max)
        return n;
    return max == size ? -ENAMETOOLONG : -EFAULT;
}

int cmpxchg_user(uint32_t __user *addr, uint32_t expected, uint32_t desired, uint32_t *old) {
    if (!user_range(addr, sizeof(*addr)) || !IS_ALIGNED((uint64_t)addr, sizeof(*addr)))
        return -EFAULT;
    return user_cmpxchg(addr, expected, desired, old);
}

int get_user_u32_atomic(uint32_t *value, const uint32_t __user *addr) {
    return user_range(addr, sizeof(*addr)) ? user_load_atomic(value, addr) : -EFAULT;
}

static const struct ex_entry *find_fixup(uint64_t rip) {
    for (const struct ex_entry *e = ex_table_start; e < ex_table_end; e++)
        if (e->at == rip)
            return e;
    return NULL;
}

bool uaccess_fixup(struct trap_frame *frame) {
    const struct ex_entry *e = frame_from_user(frame) ? NULL : find_fixup(frame->rip);
    if (e)
        frame->rip = e->to | EX_KERNEL_BIT;
    return e;
}

// Ends the process that asked for memory which is not there.
static void out_of_memory(struct process *p) {
    pool_log_victim(p->pool, p, p->space->pages_mapped);
    signal_send_process(p, SIGKILL, NULL);
}

static void fault_signal(struct process *p, int err, uint64_t addr) {
    if (err == -ENOMEM) {
        out_of_memory(p);
    } else if (err == -EFAULT) {
        mutex_lock(&p->space->lock);
        int code = addr < USER_END && space_find(p->space, addr) ? SEGV_ACCERR : SEGV_MAPERR;
        mutex_unlock(&p->space->lock);
        signal_force(SIGSEGV, code, addr);
    } else {
        signal_force(SIGBUS, BUS_ADRERR, addr);
    }
}

static inline unsigned access_of(uint64_t error) {
    return error & ERROR_FETCH ? ACCESS_EXEC : error & ERROR_WRITE ? ACCESS_WRITE : ACCESS_READ;
}

bool page_fault(struct trap_frame *frame, uint64_t addr) {
    bool user = frame_from_user(frame);
    struct process *p = current_process();
    if (unlikely(!p || !p->space || frame->error & ERROR_RESERVED))
        return !user && uaccess_fixup(frame);
    if (!user) {
        const struct ex_entry *e = find_fixup(frame->rip);
        if (!e)
            return false;
        if (!(e->to & EX_KERNEL_BIT) || addr >= USER_END || this_cpu()->lock_depth)
            return uaccess_fixup(frame);
    }
    bool on = frame->rflags & RFLAGS_IF;
    if (on)
        irq_enable();
    current->min_faults++;
    int err = space_fault(p->space, addr, access_of(frame->error));
    if (unlikely(err)) {
        if (user)
            fault_signal(p, err, addr);
        else if (err == -ENOMEM)
            out_of_memory(p);
        if (!user)
            uaccess_fixup(frame);
    }
    if (on)
        irq_disable();
    return true;
}
