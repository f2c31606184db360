// Arithmetic by the processor itself: each operation is the same instruction, with the guest's flags
// before it and its flags after it, so that also what the SDM leaves undefined is what the processor does.
#include "vmm/operate.h"

#define FLAG_CF   (1ull << 0)
#define FLAG_PF   (1ull << 2)
#define FLAG_ZF   (1ull << 6)
#define FLAG_SF   (1ull << 7)
#define FLAG_OF   (1ull << 11)
#define LOW_FLAGS 0xd5ull // CF, PF, AF, ZF, SF: what SAHF and LAHF carry
#define OF_SHIFT  11

// SAHF and LAHF move five flags through AH; OF goes in by an addition that overflows and comes out by
// SETO. (No PUSHF: inline assembly must not touch the stack where there is a red zone.)
#define FLAGS_IN  "addb $0x7f, %%al; sahf; "
#define FLAGS_OUT "; lahf; seto %%al"

static inline uint64_t pack_flags(uint64_t rflags) {
    return (rflags & LOW_FLAGS) << 8 | (rflags >> OF_SHIFT & 1);
}

static inline uint64_t unpack_flags(uint64_t rflags, uint64_t ax) {
    return (rflags & ~(LOW_FLAGS | FLAG_OF)) | (ax >> 8 & LOW_FLAGS) | (ax & 1) << OF_SHIFT;
}

// One case per operation: `insn` with operands %1 (destination) and %2 (source) of type `type`.
#define BINARY(number, insn)                                                              \
    case number:                                                                          \
        __asm__(FLAGS_IN insn " %2, %1" FLAGS_OUT : "+&a"(ax), "+&r"(d) : "r"(s) : "cc"); \
        break;
#define UNARY(number, insn)                                                 \
    case number:                                                            \
        __asm__(FLAGS_IN insn " %1" FLAGS_OUT : "+&a"(ax), "+&r"(d)::"cc"); \
        break;
#define SHIFT(number, insn)                         \
    case number:                                    \
        __asm__(FLAGS_IN insn " %%cl, %1" FLAGS_OUT \
                : "+&a"(ax), "+&r"(d)               \
                : "c"((uint8_t)s)                   \
                : "cc");                            \
        break;

#define COMMON_CASES(x)       \
    BINARY(OP_ADD, "add" x)   \
    BINARY(OP_ADC, "adc" x)   \
    BINARY(OP_SUB, "sub" x)   \
    BINARY(OP_SBB, "sbb" x)   \
    BINARY(OP_CMP, "cmp" x)   \
    BINARY(OP_AND, "and" x)   \
    BINARY(OP_TEST, "test" x) \
    BINARY(OP_OR, "or" x)     \
    BINARY(OP_XOR, "xor" x)   \
    UNARY(OP_INC, "inc" x)    \
    UNARY(OP_DEC, "dec" x)    \
    UNARY(OP_NOT, "not" x)    \
    UNARY(OP_NEG, "neg" x)    \
    SHIFT(OP_ROL, "rol" x)    \
    SHIFT(OP_ROR, "ror" x)    \
    SHIFT(OP_RCL, "rcl" x)    \
    SHIFT(OP_RCR, "rcr" x)    \
    SHIFT(OP_SHL, "shl" x)    \
    SHIFT(OP_SHR, "shr" x)    \
    SHIFT(OP_SAR, "sar" x)
// Not for bytes.
#define WORD_CASES(x)         \
    BINARY(OP_IMUL, "imul" x) \
    BINARY(OP_BT, "bt" x)     \
    BINARY(OP_BTS, "bts" x)   \
    BINARY(OP_BTR, "btr" x)   \
    BINARY(OP_BTC, "btc" x)

#define OPERATE(name, type, common, words)                                      \
    static uint64_t name(enum operation op, type d, type s, uint64_t *rflags) { \
        uint64_t ax = pack_flags(*rflags);                                      \
        switch (op) { common words default : return d; }                        \
        *rflags = unpack_flags(*rflags, ax);                                    \
        return d;                                                               \
    }
OPERATE(operate_1, uint8_t, COMMON_CASES("b"), )
OPERATE(operate_2, uint16_t, COMMON_CASES("w"), WORD_CASES("w"))
OPERATE(operate_4, uint32_t, COMMON_CASES("l"), WORD_CASES("l"))
OPERATE(operate_8, uint64_t, COMMON_CASES("q"), WORD_CASES("q"))

uint64_t operate(enum operation op, unsigned size, uint64_t dst, uint64_t src, uint64_t *rflags) {
    switch (size) {
    case 1: return operate_1(op, (uint8_t)dst, (uint8_t)src, rflags);
    case 2: return operate_2(op, (uint16_t)dst, (uint16_t)src, rflags);
    case 4: return operate_4(op, (uint32_t)dst, (uint32_t)src, rflags);
    default: return operate_8(op, dst, src, rflags);
    }
}

#define DOUBLE_SHIFT(number, insn, type)                \
    case number: {                                      \
        type d = (type)dst, s = (type)src;              \
        __asm__(FLAGS_IN insn " %%cl, %2, %1" FLAGS_OUT \
                : "+&a"(ax), "+&r"(d)                   \
                : "r"(s), "c"(count)                    \
                : "cc");                                \
        dst = d;                                        \
        break;                                          \
    }

uint64_t operate_double_shift(enum operation op, unsigned size, uint64_t dst, uint64_t src,
                              uint8_t count, uint64_t *rflags) {
    uint64_t ax = pack_flags(*rflags);
    switch (size | (op == OP_SHRD)) {
        DOUBLE_SHIFT(2, "shldw", uint16_t)
        DOUBLE_SHIFT(3, "shrdw", uint16_t)
        DOUBLE_SHIFT(4, "shldl", uint32_t)
        DOUBLE_SHIFT(5, "shrdl", uint32_t)
        DOUBLE_SHIFT(8, "shldq", uint64_t)
        DOUBLE_SHIFT(9, "shrdq", uint64_t)
    }
    *rflags = unpack_flags(*rflags, ax);
    return dst;
}

bool operation_writes(enum operation op) {
    return op != OP_CMP && op != OP_TEST && op != OP_BT;
}

bool condition_true(unsigned condition, uint64_t f) {
    bool carry = f & FLAG_CF, zero = f & FLAG_ZF, sign = f & FLAG_SF, overflow = f & FLAG_OF, r;
    switch (condition >> 1) {
    case 0: r = overflow; break;
    case 1: r = carry; break;
    case 2: r = zero; break;
    case 3: r = carry || zero; break;
    case 4: r = sign; break;
    case 5: r = f & FLAG_PF; break;
    case 6: r = sign != overflow; break;
    default: r = zero || sign != overflow; break;
    }
    return r != (condition & 1);
}
