// What arithmetic instructions compute, flags included. Pure; unit-tested against the processor.
#pragma once
#include "vmm/decode.h"

// The result of `op` on operands of `size` bytes (1, 2, 4, 8; higher bits of dst and src do not matter),
// zero-extended, and in *rflags the flags as the processor leaves them. `op`: ADD ADC SUB SBB CMP AND TEST
// OR XOR INC DEC NOT NEG IMUL BT BTS BTR BTC and the shifts; CMP, TEST, BT return dst. The position of
// the BT family must be below size * 8.
uint64_t operate(enum operation op, unsigned size, uint64_t dst, uint64_t src, uint64_t *rflags);
// The same for SHLD and SHRD: bits of src move into dst. `size` is 2, 4 or 8, `count` as in the instruction.
uint64_t operate_double_shift(enum operation op, unsigned size, uint64_t dst, uint64_t src,
                              uint8_t count, uint64_t *rflags);
// Does the operation write dst?
bool operation_writes(enum operation op);
// Do the flags fulfil condition 0..15 of Jcc, SETcc, CMOVcc?
bool condition_true(unsigned condition, uint64_t rflags);

// The low `size` bytes of a value.
static inline uint64_t truncate(uint64_t value, unsigned size) {
    return size >= 8 ? value : value & ((1ull << 8 * size) - 1);
}
// Their value as a signed number.
static inline uint64_t sign_extend(uint64_t value, unsigned size) {
    unsigned shift = 64 - 8 * size;
    return (uint64_t)((int64_t)(value << shift) >> shift);
}
