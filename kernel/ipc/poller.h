// Waiting until one of several files is ready: the engine under poll and select.
#pragma once
#include "fs/file.h"

// Sets revents of each entry and returns how many are not zero (a bad descriptor gives POLLNVAL, a
// negative one is skipped), 0 when monotonic time `deadline` passed first (0: only look, UINT64_MAX:
// no limit), -ERESTARTSYS when a signal came first, -ENOMEM.
int poller_wait(struct pollfd *fds, unsigned count, uint64_t deadline);
// The events that hold now; t as for ops->poll.
static inline unsigned file_poll(struct file *f, struct poll_table *t) {
    return f->ops->poll ? f->ops->poll(f, t) : POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
}
