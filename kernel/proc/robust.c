// Robust futexes: locks whose holder died are marked, so that the next one learns of it.
#include <linux/futex.h>
#include "cpu/percpu.h"
#include "lib/errno.h"
#include "mm/uaccess.h"
#include "proc/futex.h"
#include "proc/table.h"
#include "syscall/syscall.h"

// Reads a pointer of the list; its lowest bit says "PI futex" and is not part of the address.
static int fetch(uint64_t *to, const void __user *from) {
    if (get_user(*to, (const uint64_t *)from))
        return -EFAULT;
    *to &= ~1ull;
    return 0;
}

// The owner of a futex is gone. `pending`: it may just have been about to take or release it.
static int mark_dead(uint32_t __user *addr, uint32_t tid, bool pending) {
    uint32_t value, seen;
    if (((uint64_t)addr & 3) || get_user(value, addr))
        return -EFAULT;
    for (;;) {
        if (pending && !value) { // released, but the waiters were not woken any more
            futex_wake_user(addr, 1);
            return 0;
        }
        if ((value & FUTEX_TID_MASK) != tid)
            return 0;
        uint32_t dead = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        if (cmpxchg_user(addr, value, dead, &seen))
            return -EFAULT;
        if (seen == value)
            break;
        value = seen;
    }
    if (value & FUTEX_WAITERS)
        futex_wake_user(addr, 1);
    return 0;
}

void futex_exit_robust(struct world *w) {
    struct robust_list_head head;
    uint64_t list = (uint64_t)w->robust_list, entry, pending;
    w->robust_list = NULL;
    if (!list || get_user(head, (const struct robust_list_head *)list))
        return;
    entry = (uint64_t)head.list.next & ~1ull;
    pending = (uint64_t)head.list_op_pending & ~1ull;
    uint32_t tid = (uint32_t)w->tid;
    // The list is the program's: it may be a circle or nonsense.
    for (unsigned i = 0; i < ROBUST_LIST_LIMIT && entry != list; i++) {
        uint64_t next;
        int err = fetch(&next, (const void *)entry);
        uint64_t futex = entry + (uint64_t)head.futex_offset;
        if (entry != pending && mark_dead((uint32_t __user *)futex, tid, false))
            return;
        if (err)
            return;
        entry = next;
        cond_resched();
    }
    if (pending)
        (void)mark_dead((uint32_t __user *)(pending + (uint64_t)head.futex_offset), tid, true);
}

long sys_set_robust_list(void __user *head, size_t size) {
    if (size != sizeof(struct robust_list_head))
        return -EINVAL;
    current->robust_list = head;
    current->robust_list_len = size;
    return 0;
}

long sys_get_robust_list(int tid, void __user *head, size_t __user *size) {
    uint64_t list = 0;
    int err = 0;
    spin_lock(&process_lock);
    struct world *w = tid ? world_find_locked(tid) : current;
    if (!w)
        err = -ESRCH;
    else if (w->process != current_process() && current_process()->euid != 0)
        err = -EPERM;
    else
        list = (uint64_t)w->robust_list;
    spin_unlock(&process_lock);
    if (err)
        return err;
    if (put_user(list, (uint64_t *)head) || put_user(sizeof(struct robust_list_head), size))
        return -EFAULT;
    return 0;
}
