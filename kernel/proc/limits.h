// Resource limits.
#pragma once
#include "lib/compiler.h"
#include "lib/types.h"

struct process;

// The limits of the first program.
void limits_init(struct process *p);
// May p make one more process or thread? 0 or -EAGAIN.
int limits_check_fork(struct process *p);
// RLIMIT_FSIZE of the calling process: how many of the n bytes from `pos` on may be written to a
// regular file. At the limit -EFBIG, and SIGXFSZ is sent. Any context.
ssize_t file_size_allowed(uint64_t pos, size_t n);
