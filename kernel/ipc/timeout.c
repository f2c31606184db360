// See timeout.h.
#include "ipc/timeout.h"
#include "cpu/clock.h"
#include "lib/errno.h"
#include "mm/uaccess.h"

uint64_t deadline_after_ns(uint64_t ns) {
    if (!ns)
        return 0;
    uint64_t now = clock_monotonic();
    return ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
}

int timespec_to_ns(const struct __kernel_timespec *ts, uint64_t *ns) {
    if (ts->tv_sec < 0 || (uint64_t)ts->tv_nsec >= NSEC_PER_SEC)
        return -EINVAL;
    if (__builtin_mul_overflow((uint64_t)ts->tv_sec, NSEC_PER_SEC, ns) ||
        __builtin_add_overflow(*ns, (uint64_t)ts->tv_nsec, ns))
        *ns = UINT64_MAX;
    return 0;
}

int deadline_from_timespec(const struct __kernel_timespec __user *ts, uint64_t *deadline) {
    *deadline = UINT64_MAX;
    if (!ts)
        return 0;
    struct __kernel_timespec value;
    if (get_user(value, ts))
        return -EFAULT;
    uint64_t ns;
    int err = timespec_to_ns(&value, &ns);
    if (!err)
        *deadline = deadline_after_ns(ns);
    return err;
}

int deadline_from_timeval(const struct __kernel_old_timeval __user *tv, uint64_t *deadline) {
    *deadline = UINT64_MAX;
    if (!tv)
        return 0;
    struct __kernel_old_timeval value;
    if (get_user(value, tv))
        return -EFAULT;
    // Unlike a timespec, the microseconds may be a second or more.
    if (value.tv_sec < 0 || value.tv_usec < 0)
        return -EINVAL;
    uint64_t seconds = (uint64_t)value.tv_sec + (uint64_t)value.tv_usec / 1000000;
    uint64_t rest = (uint64_t)value.tv_usec % 1000000 * 1000;
    uint64_t ns;
    if (__builtin_mul_overflow(seconds, NSEC_PER_SEC, &ns) || __builtin_add_overflow(ns, rest, &ns))
        ns = UINT64_MAX;
    *deadline = deadline_after_ns(ns);
    return 0;
}

static uint64_t rest_until(uint64_t deadline) {
    uint64_t now = clock_monotonic();
    return now < deadline ? deadline - now : 0;
}

void timespec_store_rest(struct __kernel_timespec __user *ts, uint64_t deadline) {
    if (!ts || deadline == UINT64_MAX)
        return;
    uint64_t rest = rest_until(deadline);
    struct __kernel_timespec value = {rest / NSEC_PER_SEC, rest % NSEC_PER_SEC};
    if (put_user(value, ts))
        return;
}

void timeval_store_rest(struct __kernel_old_timeval __user *tv, uint64_t deadline) {
    if (!tv || deadline == UINT64_MAX)
        return;
    uint64_t rest = rest_until(deadline);
    struct __kernel_old_timeval value = {rest / NSEC_PER_SEC, rest % NSEC_PER_SEC / 1000};
    if (put_user(value, tv))
        return;
}
