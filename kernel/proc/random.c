#include "proc/random.h"
#include <linux/random.h>
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/uaccess.h"
#include "sched/world.h"
#include "sync/spinlock.h"
#include "syscall/syscall.h"

#define KEY_WORDS 8
#define CHUNK     256 // bytes handed out per turn of the lock

static struct spinlock lock = SPINLOCK_INIT;
static uint32_t key[KEY_WORDS]; // lock
static uint64_t calls;          // lock; makes each use of a key differ
static bool seeded;             // lock

// One number from RDSEED or RDRAND (Intel SDM vol. 1, 7.3.17); false: the processor has none now.
static bool hardware_random(uint64_t *out) {
    bool has_rdrand = cpuid(1, 0).ecx & BIT(30);
    bool has_rdseed = cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx & BIT(18));
    for (int tries = 0; tries < 10; tries++) {
        bool ok = false;
        if (has_rdseed)
            __asm__ volatile("rdseed %0; setc %1" : "=r"(*out), "=qm"(ok) : : "cc");
        if (!ok && has_rdrand)
            __asm__ volatile("rdrand %0; setc %1" : "=r"(*out), "=qm"(ok) : : "cc");
        if (ok)
            return true;
    }
    return false;
}

// key := first half of the block made from the key and `input` (16 bytes).
static void stir(const uint32_t input[4]) {
    uint32_t state[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, block[16];
    memcpy(state + 4, key, sizeof(key));
    memcpy(state + 12, input, 4 * sizeof(uint32_t));
    chacha20_block(state, block);
    memcpy(key, block, sizeof(key));
}

static void seed(void) {
    for (int i = 0; i < 16; i++) {
        uint64_t words[2] = {0, rdtsc()};
        if (!hardware_random(&words[0]))
            words[0] = rdtsc() * 0x9e3779b97f4a7c15ull;
        stir((const uint32_t *)words);
    }
    seeded = true;
}

// Up to CHUNK bytes. The key that made them is gone afterwards, so that nobody who reads the kernel's
// memory later can compute them.
static void generate(uint8_t *out, size_t n) {
    uint32_t state[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, block[16];
    spin_lock(&lock);
    if (!seeded)
        seed();
    memcpy(state + 4, key, sizeof(key));
    state[13] = (uint32_t)rdtsc();
    state[14] = (uint32_t)++calls;
    state[15] = (uint32_t)(calls >> 32);
    chacha20_block(state, block);
    memcpy(key, block, sizeof(key));
    spin_unlock(&lock);
    while (n) {
        state[12]++;
        chacha20_block(state, block);
        size_t m = MIN(n, sizeof(block));
        memcpy(out, block, m);
        out += m;
        n -= m;
    }
    memset(state, 0, sizeof(state));
    memset(block, 0, sizeof(block));
    __asm__ volatile("" : : "r"(state), "r"(block) : "memory"); // the clearing must happen
}

void random_bytes(void *buf, size_t n) {
    uint8_t *to = buf;
    while (n) {
        size_t m = MIN(n, (size_t)CHUNK);
        generate(to, m);
        to += m;
        n -= m;
    }
}

void random_add(const void *buf, size_t n) {
    const uint8_t *from = buf;
    spin_lock(&lock);
    while (n) {
        uint32_t words[4] = {0, 0, 0, (uint32_t)n};
        size_t m = MIN(n, 12ull);
        memcpy(words, from, m);
        stir(words);
        from += m;
        n -= m;
    }
    spin_unlock(&lock);
}

long sys_getrandom(void __user *buf, size_t n, unsigned flags) {
    uint8_t chunk[CHUNK];
    if (flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE))
        return -EINVAL;
    size_t done = 0;
    n = MIN(n, (size_t)INT32_MAX);
    while (done < n) {
        size_t m = MIN(n - done, sizeof(chunk));
        random_bytes(chunk, m);
        if (copy_to_user((char *)buf + done, chunk, m))
            return done ? (long)done : -EFAULT;
        done += m;
        if (done >= 256 && signal_pending(current))
            break;
        cond_resched();
    }
    return (long)done;
}
