// Resource pools: a limit of memory and of processes, and a share of the processors, for a tree of
// processes. fork() inherits the pool; what a pool's processes use in memory is charged to it.
//
// /proc/pools lists them, and takes commands, one a line:
//     create NAME [memory=SIZE] [processes=N] [weight=N]    SIZE in bytes, or with K, M, G
//     set NAME ...                                          the same values for an existing one
//     move NAME [PID]                                       the caller, or process PID, changes over
//     delete NAME                                           when no process and no page is in it
#pragma once
#include "lib/compiler.h"

struct pool;
struct process;

// The pool of everything that was not put into another: without limits.
extern struct pool root_pool;

// Counts `pages` of memory against the pool. False: its limit would be passed, nothing is counted.
// Any context.
bool pool_charge(struct pool *p, uint64_t pages);
void pool_uncharge(struct pool *p, uint64_t pages);
// A further process for the pool. False: its limit is reached. The process holds the pool.
bool pool_enter(struct pool *p);
void pool_leave(struct pool *p);
// Weight of the worlds of its processes; 1024 is normal.
uint32_t pool_weight(const struct pool *p);
const char *pool_name(const struct pool *p);
// `victim` of this pool is about to be ended for want of memory: says so in the log and names whose
// memory is used up, the pool's or the machine's; at most once a second for each pool.
void pool_log_victim(struct pool *p, const struct process *victim, uint64_t resident_pages);
// Registers /proc/pools. Boot.
void pool_init(void);
