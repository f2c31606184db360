// Resource limits.
#pragma once

struct process;

// The limits of the first program.
void limits_init(struct process *p);
// May p make one more process or thread? 0 or -EAGAIN.
int limits_check_fork(struct process *p);
