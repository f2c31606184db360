// The two halves of execve, for the first program as well.
#pragma once
#include "proc/exec.h"

// p->path and p->args are set (and p->file, when it is open already): opens the file and builds the
// program's memory. 0 or -errno.
int exec_prepare(struct exec_program *p);
// The calling process becomes the program. 0: the next return to user mode is into it.
int exec_commit(struct exec_program *p);
void exec_program_free(struct exec_program *p);
