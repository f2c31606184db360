// Futexes: user-space locks that sleep in the kernel.
#pragma once
#include "lib/compiler.h"

struct world;

// What identifies a futex: private memory by address space and address, shared memory by inode and
// offset, so that processes which map it at different addresses meet.
struct futex_key {
    const void *object;
    uint64_t offset;
};
static inline bool futex_key_equal(const struct futex_key *a, const struct futex_key *b) {
    return a->object == b->object && a->offset == b->offset;
}
// Bucket of a key; `buckets` is a power of two.
unsigned futex_hash(const struct futex_key *k, unsigned buckets);

// FUTEX_WAKE on the calling process's memory, for the end of threads.
void futex_wake_user(uint32_t __user *addr, int count);
// The calling thread ends: marks the robust futexes that it holds as FUTEX_OWNER_DIED.
void futex_exit_robust(struct world *w);
