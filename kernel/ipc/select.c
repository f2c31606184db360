// select and pselect6: sets of bits turned into entries of poll and back.
#include <linux/time_types.h>
#include "ipc/poller.h"
#include "ipc/timeout.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "proc/process.h"
#include "sched/world.h"
#include "syscall/syscall.h"

enum { SET_READ, SET_WRITE, SET_EXCEPT, SET_COUNT };
// Which events put a descriptor into the result set (as Linux: fs/select.c's rules in select(2)).
static const uint16_t set_events[SET_COUNT] = {
    [SET_READ] = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR,
    [SET_WRITE] = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR,
    [SET_EXCEPT] = POLLPRI,
};

struct select_sets {
    size_t words; // per set
    uint64_t *bits[SET_COUNT];
};

static bool bit_get(const uint64_t *bits, unsigned n) {
    return bits[n / 64] >> n % 64 & 1;
}

static unsigned wanted_sets(const struct select_sets *s, unsigned fd) {
    unsigned events = 0;
    for (int k = 0; k < SET_COUNT; k++)
        if (bit_get(s->bits[k], fd))
            events |= set_events[k];
    return events;
}

// One entry per descriptor in any set. Their number.
static unsigned build_entries(const struct select_sets *s, unsigned n, struct pollfd *fds) {
    unsigned count = 0;
    for (unsigned fd = 0; fd < n; fd++) {
        uint16_t events = wanted_sets(s, fd);
        if (events)
            fds[count++] = (struct pollfd){.fd = fd, .events = events};
    }
    return count;
}

// Leaves in the sets what is ready. The number of bits, or -EBADF.
static int build_result(struct select_sets *s, const struct pollfd *fds, unsigned count) {
    int bits = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned fd = fds[i].fd;
        uint16_t ready = fds[i].revents;
        if (ready & POLLNVAL)
            return -EBADF;
        for (int k = 0; k < SET_COUNT; k++) {
            if (!bit_get(s->bits[k], fd))
                continue;
            if (ready & set_events[k])
                bits++;
            else
                s->bits[k][fd / 64] &= ~BIT(fd % 64);
        }
    }
    return bits;
}

static int select_kernel(struct select_sets *s, unsigned n, uint64_t deadline) {
    unsigned count = 0;
    for (unsigned fd = 0; fd < n; fd++)
        count += wanted_sets(s, fd) != 0;
    struct pollfd *fds = kmalloc((count + 1) * sizeof(*fds));
    if (!fds)
        return -ENOMEM;
    count = build_entries(s, n, fds);
    int ret;
    for (;;) {
        ret = poller_wait(fds, count, deadline);
        if (ret <= 0)
            break;
        // A hang-up alone wakes poll() but is nothing that a write or exception set asks for.
        unsigned bits = 0;
        for (unsigned i = 0; i < count; i++)
            bits |= (uint16_t)fds[i].revents & ((uint16_t)fds[i].events | POLLNVAL);
        if (bits)
            break;
        for (unsigned i = 0; i < count; i++)
            if (fds[i].revents)
                fds[i].fd = -1 - fds[i].fd; // never ready for what is wanted: no longer asked
    }
    for (unsigned i = 0; i < count; i++)
        if (fds[i].fd < 0)
            fds[i] = (struct pollfd){.fd = -1 - fds[i].fd};
    if (ret >= 0)
        ret = build_result(s, fds, count);
    kfree(fds);
    return ret;
}

static int copy_sets(struct select_sets *s, void __user *const users[SET_COUNT], bool out) {
    for (int k = 0; k < SET_COUNT; k++) {
        size_t size = s->words * 8;
        if (users[k] && (out ? copy_to_user(users[k], s->bits[k], size)
                             : copy_from_user(s->bits[k], users[k], size)))
            return -EFAULT;
    }
    return 0;
}

static int select_user(int n, void __user *const users[SET_COUNT], uint64_t deadline) {
    if (n < 0)
        return -EINVAL;
    unsigned limit = MIN(current_process()->limits[RLIMIT_NOFILE].rlim_cur, (uint64_t)INT32_MAX);
    unsigned count = MIN((unsigned)n, limit);
    struct select_sets s = {.words = DIV_ROUND_UP(count, 64)};
    uint64_t *memory = kzalloc((s.words * SET_COUNT + 1) * 8);
    if (!memory)
        return -ENOMEM;
    for (int k = 0; k < SET_COUNT; k++)
        s.bits[k] = memory + k * s.words;
    int ret = copy_sets(&s, users, false);
    if (!ret)
        ret = select_kernel(&s, count, deadline);
    if (ret == 0)
        memset(memory, 0, s.words * SET_COUNT * 8);
    if (ret >= 0 && copy_sets(&s, users, true))
        ret = -EFAULT;
    kfree(memory);
    return ret == -ERESTARTSYS ? -ERESTARTNOHAND : ret;
}

long sys_select(int n, void __user *readers, void __user *writers, void __user *excepts,
                struct __kernel_old_timeval __user *timeout) {
    uint64_t deadline;
    int err = deadline_from_timeval(timeout, &deadline);
    if (err)
        return err;
    int ret = select_user(n, (void *[]){readers, writers, excepts}, deadline);
    timeval_store_rest(timeout, deadline);
    return ret;
}

// The sixth argument of pselect6 is a pointer to a pair: select(2), "C library/kernel differences".
struct mask_argument {
    const void __user *mask;
    size_t size;
};

long sys_pselect6(int n, void __user *readers, void __user *writers, void __user *excepts,
                  struct __kernel_timespec __user *timeout, const void __user *mask_argument) {
    struct mask_argument m = {NULL, 0};
    if (mask_argument && copy_from_user(&m, mask_argument, sizeof(m)))
        return -EFAULT;
    uint64_t deadline;
    int err = deadline_from_timespec(timeout, &deadline);
    if (!err)
        err = signal_use_mask(m.mask, m.size);
    if (err)
        return err;
    int ret = select_user(n, (void *[]){readers, writers, excepts}, deadline);
    timespec_store_rest(timeout, deadline);
    if (ret != -ERESTARTNOHAND && m.mask)
        signal_restore_mask();
    return ret;
}
