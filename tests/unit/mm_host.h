// The memory manager on the workstation: a fake physical memory and the kernel around it.
#pragma once
#include "fs/file.h"
#include "mm/frame.h"
#include "mm/space.h"

#define HOST_MEMORY (96 * MIB)

void host_memory_init(void);
// Makes each further frame allocation fail after n successes; -1: never.
extern long host_pool_left;
// A file of `pages` pages in memory; page i starts with the 64-bit value given.
struct file *host_file_create(unsigned pages);
uint64_t host_file_value(struct file *f, unsigned page);
struct frame *host_file_frame(struct file *f, unsigned page);
void host_file_destroy(struct file *f); // drops the creator's reference; checks that it is the last
// Counts since the start.
extern unsigned host_tlb_flushes;
// Everything that can be given back was.
void host_assert_no_leak(const struct memory_stats *before);
