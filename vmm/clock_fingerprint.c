// What the architecture leaves to the processor and a guest can see: two machines on which it differs
// cannot replay each other's recordings.
#include "cpu/fpu.h"
#include "cpu/x86.h"
#include "vmm/clock.h"

static uint64_t mix(uint64_t hash, uint64_t value) { // FNV-1a, by words
    return (hash ^ value) * 0x100000001b3;
}
#define HASH_START 0xcbf29ce484222325

static uint64_t identity(void) {
    uint64_t hash = HASH_START;
    struct cpuid_result r = cpuid(0, 0);
    hash = mix(mix(mix(hash, r.ebx), r.ecx), r.edx);
    r = cpuid(1, 0); // family, model, stepping; EBX holds the APIC ID
    hash = mix(mix(mix(hash, r.eax), r.ecx & ~BIT(27)), r.edx);
    r = cpuid(7, 0);
    return mix(mix(hash, r.ebx), r.ecx);
}

#define FLAGS_AFTER(setup, a, c)                                                     \
    ({                                                                               \
        uint64_t flags_, a_ = (a), c_ = (c), d_ = 0;                                 \
        __asm__ volatile("xor %%ebx, %%ebx\n\t" setup "\n\tpushfq\n\tpop %0"         \
                         : "=r"(flags_), "+a"(a_), "+c"(c_), "+d"(d_)::"rbx", "cc"); \
        flags_ & 0x8d5;                                                              \
    })

// Flags that the manual calls undefined after an instruction, and undefined results.
static uint64_t undefined_flags(void) {
    uint64_t hash = HASH_START;
    for (uint64_t a = 1; a < 1000; a = a * 7 + 3) {
        hash = mix(hash, FLAGS_AFTER("mul %%rcx", a << 50, a * 31));
        hash = mix(hash, FLAGS_AFTER("imul %%ecx, %%eax", a << 20, a * 31));
        hash = mix(hash, FLAGS_AFTER("div %%rcx", a, 3));
        hash = mix(hash, FLAGS_AFTER("shl %%cl, %%eax", a << 22, 9));
        hash = mix(hash, FLAGS_AFTER("rcr %%cl, %%eax", a, 5));
        hash = mix(hash, FLAGS_AFTER("rol %%cl, %%rax", a << 60, 3));
        hash = mix(hash, FLAGS_AFTER("shld %%cl, %%rax, %%rcx", a, 17));
        hash = mix(hash, FLAGS_AFTER("and %%ecx, %%eax", a, 0xf5));
        hash = mix(hash, FLAGS_AFTER("bsf %%rcx, %%rax", a, a << 5));
        hash = mix(hash, FLAGS_AFTER("bt %%ecx, %%eax", a, 3));
    }
    return hash;
}

// Transcendental functions of the x87, of which only the error is bounded.
static uint64_t x87_results(void) {
    uint64_t hash = HASH_START;
    for (unsigned i = 1; i < 40; i++) {
        double x = 0;
        uint64_t bits;
        __asm__ volatile("fninit\n\t"
                         "fildl %1\n\t"
                         "fsin\n\t"
                         "fildl %1\n\t"
                         "fptan\n\t"
                         "fpatan\n\t"
                         "fyl2xp1\n\t"
                         "fstpl %0\n\t"
                         "fninit"
                         : "=m"(x)
                         : "m"(i));
        __builtin_memcpy(&bits, &x, sizeof(bits));
        hash = mix(hash, bits);
    }
    return hash;
}

// RCPPS and RSQRTPS: approximations with a relative error of at most 1.5 * 2^-12.
static uint64_t approximations(void) {
    uint64_t hash = HASH_START;
    for (unsigned i = 1; i < 200; i++) {
        uint32_t in = 0x3f000000 + i * 0x00012345, reciprocal, root;
        __asm__ volatile("movd %2, %%xmm0\n\t"
                         "rcpss %%xmm0, %%xmm1\n\t"
                         "rsqrtss %%xmm0, %%xmm0\n\t"
                         "movd %%xmm1, %0\n\t"
                         "movd %%xmm0, %1"
                         : "=r"(reciprocal), "=r"(root)
                         : "r"(in));
        hash = mix(hash, (uint64_t)reciprocal << 32 | root);
    }
    return hash;
}

// Boot: no world has floating-point registers of its own yet.
void clock_fingerprint(__u64 out[4]) {
    out[0] = identity();
    out[1] = undefined_flags();
    out[2] = x87_results();
    out[3] = approximations();
}
