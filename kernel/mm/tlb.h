// Keeping the processors' TLBs true to the page tables.
//
// A processor may hold translations of a space while its bit in space->cpus_active is set: from
// loading CR3 with the space until loading another. Whoever takes translations away first changes
// the tables, then calls tlb_flush() without spin locks, and only then frees what was mapped.
#pragma once
#include "lib/compiler.h"

struct space;

// Removes the translations of user range [start, end) on all processors that may hold them, and
// waits until they did; then has the notifiers of s flush theirs. No spin lock held.
void tlb_flush(struct space *s, uint64_t start, uint64_t end);
// Removes all user translations on the processors in `mask`. No spin lock held.
void tlb_flush_cpus(uint64_t mask);
// Makes all processors stop using s, which nobody will activate again.
void tlb_abandon(struct space *s);
// Removes all translations, global ones too, on all processors.
void tlb_flush_kernel(void);
// Boot: installs the interrupt.
void tlb_init(void);
