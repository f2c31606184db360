// What ipc/ offers to the rest of the kernel.
#pragma once
#include "fs/file.h"

struct inode;

// FIFOs: operations of S_IFIFO inodes. open() may sleep; it fails with -ENXIO, -ERESTARTSYS or
// -ENOMEM, and then release() must not be called.
extern const struct file_ops fifo_file_ops;
// F_GETPIPE_SZ and F_SETPIPE_SZ. Bytes, or -EBADF (no pipe), -EINVAL, -EPERM, -EBUSY, -ENOMEM.
long pipe_fcntl(struct file *f, unsigned cmd, unsigned long arg);

// Must be called by file_put() for the last reference of a file with f->epoll != NULL, before
// ops->release: takes the file out of every epoll set. May sleep.
void epoll_file_closed(struct file *f);

// Adds to an eventfd's counter, which saturates, and wakes its readers. Any context. `f` must be an
// eventfd (eventfd_file()).
void eventfd_signal(struct file *f, uint64_t n);
// True when f is an eventfd.
bool eventfd_file(const struct file *f);

// The wall clock was set: CLOCK_REALTIME timerfds expire at other moments, and those with
// TFD_TIMER_CANCEL_ON_SET are cancelled. May sleep: no.
void timerfd_clock_set(void);
