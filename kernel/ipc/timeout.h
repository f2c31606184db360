// Timeouts of poll, select and epoll: reading the user's structure and writing the rest back.
#pragma once
#include <linux/time_types.h>
#include "lib/compiler.h"

// Monotonic deadlines; UINT64_MAX: none, 0: do not wait at all. Saturating.
uint64_t deadline_after_ns(uint64_t ns);
static inline uint64_t deadline_after_ms(int ms) { // negative: none
    return ms < 0 ? UINT64_MAX : deadline_after_ns((uint64_t)ms * 1000000);
}
// *deadline from a relative struct timespec (NULL: none). 0, -EFAULT or -EINVAL.
int deadline_from_timespec(const struct __kernel_timespec __user *ts, uint64_t *deadline);
int deadline_from_timeval(const struct __kernel_old_timeval __user *tv, uint64_t *deadline);
// Stores what is left of the time, as Linux does. A bad pointer is ignored, as there.
void timespec_store_rest(struct __kernel_timespec __user *ts, uint64_t deadline);
void timeval_store_rest(struct __kernel_old_timeval __user *tv, uint64_t deadline);
// A struct timespec as nanoseconds, saturating, or -EINVAL when it is not valid.
int timespec_to_ns(const struct __kernel_timespec *ts, uint64_t *ns);
