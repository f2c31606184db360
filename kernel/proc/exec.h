// execve: a process goes on with another program.
#pragma once
#include "lib/compiler.h"
#include "proc/exec_args.h"

struct file;
struct space;

// A program ready to be run: its memory, filled, and where it starts.
struct exec_program {
    struct file *file; // reference
    struct space *space;
    uint64_t entry, stack_pointer;
    char path[1024];             // as execve was told (AT_EXECFN)
    char name[16];               // last component
    uint32_t mode, owner, group; // of the file
    struct exec_args args;
};

// Builds the memory of the ELF program in p->file: segments, stack, arguments, auxiliary vector.
// `head`: the file's first `size` bytes. 0 or -errno; p->space is set on success.
int exec_load(struct exec_program *p, const void *head, size_t size);
