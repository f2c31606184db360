// The system-call table. Each area lists its calls in AREA/calls.def as
//     SYSCALL(name, (prototype), FULL or PART or NOP, "what is missing or why nothing is done")
// From these lists come the prototypes here, the table (syscall/table.c) and the table in docs/.
// A call returns a result >= 0 or a negative errno.
#pragma once
#include <linux/types.h>
#include "lib/compiler.h"
#include "lib/types.h"

struct __kernel_old_timeval;
struct __kernel_itimerspec;
struct __kernel_timespec;
struct epoll_event;
struct iovec;
struct mmsghdr;
struct msghdr;
struct pollfd;
struct rlimit64;
struct stat;
struct statfs;
struct statx;
struct sysinfo;
struct timespec64_user;

#define SYSCALL(name, args, status, note) long sys_##name args;
#include "syscall/all.def"
#undef SYSCALL
