// Times as user programs give them.
#pragma once
#include <linux/time_types.h>
#include "cpu/clock.h"
#include "lib/errno.h"
#include "mm/uaccess.h"

// a + b, or the end of time.
static inline uint64_t time_after(uint64_t a, uint64_t b) {
    uint64_t sum = a + b;
    return sum < a ? UINT64_MAX : sum;
}
// Nanoseconds of a timespec; times beyond 580 years are the end of time. -EINVAL when malformed.
static inline int timespec_to_ns(const struct __kernel_timespec *t, uint64_t *ns) {
    if (t->tv_sec < 0 || (uint64_t)t->tv_nsec >= NSEC_PER_SEC)
        return -EINVAL;
    if (__builtin_mul_overflow((uint64_t)t->tv_sec, NSEC_PER_SEC, ns) ||
        __builtin_add_overflow(*ns, (uint64_t)t->tv_nsec, ns))
        *ns = UINT64_MAX;
    return 0;
}
static inline int user_timespec(const void __user *p, uint64_t *ns) {
    struct __kernel_timespec t;
    if (copy_from_user(&t, p, sizeof(t)))
        return -EFAULT;
    return timespec_to_ns(&t, ns);
}
static inline struct __kernel_timespec ns_to_timespec(uint64_t ns) {
    return (struct __kernel_timespec){(long long)(ns / NSEC_PER_SEC),
                                      (long long)(ns % NSEC_PER_SEC)};
}
static inline struct __kernel_old_timeval ns_to_timeval(uint64_t ns) {
    return (struct __kernel_old_timeval){(long)(ns / NSEC_PER_SEC),
                                         (long)(ns % NSEC_PER_SEC / 1000)};
}
// The monotonic time at which the wall clock will show `ns`, if nobody sets it.
static inline uint64_t realtime_to_monotonic(uint64_t ns) {
    uint64_t now = clock_realtime(), monotonic = clock_monotonic();
    return ns == UINT64_MAX ? ns : ns <= now ? monotonic : time_after(monotonic, ns - now);
}
