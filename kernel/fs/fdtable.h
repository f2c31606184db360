// A descriptor table, for fs/ alone.
#pragma once
#include "fs/current.h"
#include "fs/file.h"
#include "sync/spinlock.h"

#define FIRST_SIZE 64u

// A used descriptor has its bit in `used`; its file is NULL while it is only reserved.
struct file_table {
    uint32_t refs;        // atomic
    struct spinlock lock; // to write all below; to read it unless the table is private
    unsigned size;        // slots, a multiple of 64
    struct file **files;
    uint64_t *used, *cloexec; // bit per slot
    unsigned first_free;      // no free slot below
    struct file *first_files[FIRST_SIZE];
    uint64_t first_used[FIRST_SIZE / 64], first_cloexec[FIRST_SIZE / 64];
};

// The file behind fd, without a reference, for the length of a system call: nobody takes it out of a private table
// while the table's only user is in here. NULL: there is none, or the table is shared; fd_get() knows.
static inline struct file *file_of_private_table(int fd) {
    struct file_table *t = current->process->files;
    return likely(READ_ONCE(t->refs) == 1 && (unsigned)fd < t->size) ? t->files[fd] : NULL;
}
