// Error numbers: Linux's. Functions return 0 or a positive result, or a negative errno.
#pragma once
#include <asm/errno.h>

// Only between a system call and the signal code, never seen by user programs (Linux's values):
#define ERESTARTSYS    512 // a signal came: restart if the handler has SA_RESTART, else EINTR
#define ERESTARTNOINTR 513 // a signal came: always restart
#define ERESTARTNOHAND 514 // a signal came: restart only when there was no handler, else EINTR

// A pointer result that may carry an error, as in Linux: the last page of the address space.
#define ERR_PTR(e) ((void *)(long)(e))
#define PTR_ERR(p) ((long)(p))
#define IS_ERR(p)  ((unsigned long)(p) >= (unsigned long)-4095L)
