// The two invalidation instructions. Unit tests replace them by recorders: Bochs never misses one, so
// tests must see that each is issued.
#pragma once
#include "lib/assert.h"
#include "mm/layout.h"

enum invept_type { INVEPT_SINGLE = 1, INVEPT_ALL = 2 };
enum invvpid_type { INVVPID_ADDRESS = 0, INVVPID_SINGLE = 1, INVVPID_ALL = 2 };

#ifdef UNIT_TEST
void vmx_invept(enum invept_type type, uint64_t eptp);
void vmx_invvpid(enum invvpid_type type, uint16_t vpid, uint64_t address);
#else
struct invalidation {
    uint64_t first, second;
};
static inline void vmx_invept(enum invept_type type, uint64_t eptp) {
    struct invalidation d = {eptp, 0};
    bool failed;
    __asm__ volatile("invept %1, %2" : "=@ccna"(failed) : "m"(d), "r"((uint64_t)type) : "memory");
    ASSERT(!failed);
}
static inline void vmx_invvpid(enum invvpid_type type, uint16_t vpid, uint64_t address) {
    struct invalidation d = {vpid, address};
    bool failed;
    __asm__ volatile("invvpid %1, %2" : "=@ccna"(failed) : "m"(d), "r"((uint64_t)type) : "memory");
    ASSERT(!failed);
}
#endif
