// The kernel's virtual address space (canonical upper half; four-level paging).
//   0xffff800000000000  direct map of all physical memory, 2 MB or 1 GB pages, NX, writable
//   0xffffc00000000000  frame table: struct frame of physical page n at FRAME_TABLE + n * sizeof
//   0xffffd00000000000  kernel stacks, each with an unmapped guard page below
//   0xffffe00000000000  device memory (uncached), handed out by map_device()
//   0xffffffff80000000  the kernel image, mapped with exact rights (W^X)
#pragma once
#include "lib/compiler.h"

#define PAGE_SHIFT      12
#define PAGE_SIZE       4096ull
#define LARGE_PAGE_SIZE (2 * MIB)
#define DIRECT_MAP      0xffff800000000000ull
#define FRAME_TABLE     0xffffc00000000000ull
#define STACK_AREA      0xffffd00000000000ull
#define DEVICE_AREA     0xffffe00000000000ull
#define KERNEL_BASE     0xffffffff80000000ull
// User space: one guard page below the canonical hole, as in Linux.
#define USER_END       0x00007ffffffff000ull
#define USER_STACK_TOP 0x00007fffffffe000ull

typedef uint64_t paddr_t;
#ifdef UNIT_TEST // the test supplies a fake physical memory
extern char *test_direct_map;
static inline void *phys_to_virt(paddr_t p) {
    return test_direct_map + p;
}
static inline paddr_t virt_to_phys(const void *v) {
    return (const char *)v - test_direct_map;
}
#else
static inline void *phys_to_virt(paddr_t p) {
    return (void *)(DIRECT_MAP + p);
}
// v: in the direct map (heap, frames).
static inline paddr_t virt_to_phys(const void *v) {
    return (uint64_t)v - DIRECT_MAP;
}
#endif
