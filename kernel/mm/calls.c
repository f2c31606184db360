// The memory system calls: arguments in, space_*() does the work.
#include <linux/membarrier.h>
#include "cpu/smp.h"
#include "fs/file.h"
#include "lib/errno.h"
#include "mm/fault.h"
#include "mm/pagetable.h"
#include "mm/region.h"
#include "mm/remap.h"
#include "mm/uaccess.h"
#include "proc/process.h"
#include "syscall/syscall.h"

static inline struct space *my_space(void) {
    return current_process()->space;
}

long sys_mmap(unsigned long addr, unsigned long len, int prot, int flags, int fd,
              unsigned long offset) {
    struct file *f = NULL;
    if (!(flags & MAP_ANONYMOUS) && !(f = fd_get(fd)))
        return -EBADF;
    long at = space_map(my_space(), addr, len, prot, flags, f, f ? offset : 0);
    if (f)
        file_put(f);
    return at;
}

long sys_munmap(unsigned long addr, unsigned long len) {
    return space_unmap(my_space(), addr, len);
}

long sys_mprotect(unsigned long addr, unsigned long len, int prot) {
    return space_protect(my_space(), addr, len, prot);
}

long sys_madvise(unsigned long addr, unsigned long len, int advice) {
    return space_advise(my_space(), addr, len, advice);
}

long sys_mremap(unsigned long addr, unsigned long old_len, unsigned long new_len, unsigned flags,
                unsigned long new_addr) {
    return space_remap(my_space(), addr, old_len, new_len, flags, new_addr);
}

long sys_brk(unsigned long brk) {
    return space_set_brk(my_space(), brk);
}

// Page aligned and in user space: 0 and *end, or `error`.
static int check_range(uint64_t addr, uint64_t len, uint64_t *end, int error) {
    if (!IS_ALIGNED(addr, PAGE_SIZE))
        return -EINVAL;
    if (len > USER_END || addr > USER_END || ROUND_UP(len, PAGE_SIZE) > USER_END - addr)
        return error;
    *end = addr + ROUND_UP(len, PAGE_SIZE);
    return 0;
}

long sys_msync(unsigned long addr, unsigned long len, int flags) {
    uint64_t end, at = addr;
    if (flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) ||
        (flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
        return -EINVAL;
    int err = check_range(addr, len, &end, -ENOMEM);
    struct space *s = my_space();
    bool hole = false;
    while (!err && at < end) {
        struct file *f = NULL;
        mutex_lock(&s->lock);
        struct region *r = region_from(s, at);
        hole |= !r || r->start > at;
        if (r && r->start < end && region_is_shared(r) && r->file && flags & MS_SYNC)
            f = file_get(r->file);
        at = r ? r->end : end;
        mutex_unlock(&s->lock); // writing takes long, and the writer may want our pages
        if (f) {
            err = f->ops->fsync ? f->ops->fsync(f, true) : 0;
            file_put(f);
        }
    }
    return err ? err : hole ? -ENOMEM : 0;
}

// Whether something is mapped at va. Lock held.
static bool is_resident(struct space *s, uint64_t va) {
    spin_lock(&tables_lock);
    const uint64_t *pde = pt_pde(s, va, false);
    bool here = pde && *pde && (!pde_is_table(*pde) || *pt_entry(pde, va));
    spin_unlock(&tables_lock);
    return here;
}

long sys_mincore(unsigned long addr, unsigned long len, unsigned char __user *vec) {
    uint64_t end;
    int err = check_range(addr, len, &end, -ENOMEM);
    struct space *s = my_space();
    for (uint64_t va = addr; !err && va < end;) {
        unsigned char part[256];
        unsigned n = 0;
        mutex_lock(&s->lock);
        for (; n < sizeof(part) && va < end && space_find(s, va); n++, va += PAGE_SIZE)
            part[n] = is_resident(s, va);
        bool hole = va < end && !space_find(s, va);
        mutex_unlock(&s->lock);
        err = copy_to_user(vec, part, n);
        vec += n;
        if (!err && hole)
            err = -ENOMEM;
    }
    return err;
}

static long lock_range(uint64_t addr, uint64_t len, bool populate) {
    uint64_t start = ROUND_DOWN(addr, PAGE_SIZE), end;
    int err = len > USER_END ? -ENOMEM : check_range(start, len + (addr - start), &end, -ENOMEM);
    if (err || start == end)
        return err;
    struct space *s = my_space();
    mutex_lock(&s->lock);
    if (!space_fully_mapped(s, start, end))
        err = -ENOMEM;
    else if (populate)
        err = fault_populate(s, start, end);
    mutex_unlock(&s->lock);
    return err == -EFAULT || err == -EIO ? -ENOMEM : err;
}

long sys_mlock(unsigned long addr, unsigned long len) {
    return lock_range(addr, len, true);
}

long sys_mlock2(unsigned long addr, unsigned long len, int flags) {
    return flags & ~MLOCK_ONFAULT ? -EINVAL : lock_range(addr, len, !flags);
}

long sys_munlock(unsigned long addr, unsigned long len) {
    return lock_range(addr, len, false);
}

long sys_mlockall(int flags) {
    if (!flags || flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) || flags == MCL_ONFAULT)
        return -EINVAL;
    struct space *s = my_space();
    mutex_lock(&s->lock);
    s->lock_future = (flags & (MCL_FUTURE | MCL_ONFAULT)) == MCL_FUTURE;
    struct region *r = region_from(s, 0);
    for (; r && flags & MCL_CURRENT && !(flags & MCL_ONFAULT); r = region_next(r))
        (void)fault_populate(s, r->start, r->end);
    mutex_unlock(&s->lock);
    return 0;
}

long sys_munlockall(void) {
    struct space *s = my_space();
    mutex_lock(&s->lock);
    s->lock_future = false;
    mutex_unlock(&s->lock);
    return 0;
}

static void barrier_here(void *arg) {
    (void)arg;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

long sys_membarrier(int cmd, unsigned flags, int cpu) {
    (void)cpu;
    const int commands = MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_PRIVATE_EXPEDITED |
                         MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
    if (flags)
        return -EINVAL;
    switch (cmd) {
    case MEMBARRIER_CMD_QUERY: return commands;
    case MEMBARRIER_CMD_GLOBAL:
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
        barrier_here(NULL);
        smp_call_others(barrier_here, NULL);
        return 0;
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED: return 0;
    default: return -EINVAL;
    }
}
