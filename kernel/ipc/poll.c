// poll and ppoll.
#include <linux/time_types.h>
#include "ipc/poller.h"
#include "ipc/timeout.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "proc/process.h"
#include "sched/world.h"
#include "syscall/syscall.h"

#define ON_STACK 16u // so many entries need no allocation

static int poll_user(struct pollfd __user *user, unsigned count, uint64_t deadline) {
    if (count > current_process()->limits[RLIMIT_NOFILE].rlim_cur)
        return -EINVAL;
    struct pollfd few[ON_STACK], *fds = few;
    if (count > ON_STACK && !(fds = kmalloc(count * sizeof(*fds))))
        return -ENOMEM;
    int ret = copy_from_user(fds, user, count * sizeof(*fds));
    if (!ret)
        ret = poller_wait(fds, count, deadline);
    // Only revents may be written: another thread may be changing the rest.
    for (unsigned i = 0; i < count && ret >= 0; i++)
        if (put_user(fds[i].revents, &user[i].revents))
            ret = -EFAULT;
    if (fds != few)
        kfree(fds);
    return ret;
}

static long poll_again(struct syscall_restart *r);

// poll() is never restarted with its full time: what is left of it is kept in the world.
static long poll_until(struct pollfd __user *user, unsigned count, uint64_t deadline) {
    long ret = poll_user(user, count, deadline);
    if (ret != -ERESTARTSYS)
        return ret;
    current->signals.restart = (struct syscall_restart){
        .fn = poll_again, .deadline = deadline, .fds = user, .count = count};
    return -ERESTART_RESTARTBLOCK;
}

static long poll_again(struct syscall_restart *r) {
    return poll_until(r->fds, r->count, r->deadline);
}

long sys_poll(struct pollfd __user *fds, unsigned count, int timeout_ms) {
    return poll_until(fds, count, deadline_after_ms(timeout_ms));
}

long sys_ppoll(struct pollfd __user *fds, unsigned count, struct __kernel_timespec __user *timeout,
               const void __user *mask, size_t mask_size) {
    uint64_t deadline;
    int err = deadline_from_timespec(timeout, &deadline);
    if (!err)
        err = signal_use_mask(mask, mask_size);
    if (err)
        return err;
    int ret = poll_user(fds, count, deadline);
    timespec_store_rest(timeout, deadline);
    if (ret == -ERESTARTSYS) // the mask comes back after the handler ran
        return -ERESTARTNOHAND;
    if (mask)
        signal_restore_mask();
    return ret;
}
