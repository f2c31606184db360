// Decoder for the instructions that compilers and kernels use on device memory, and for string I/O.
// Pure: bytes in, operation out; unit-tested opcode by opcode on the workstation.
#pragma once
#include "lib/compiler.h"

enum operation {
    OP_MOV,
    OP_MOVZX,
    OP_MOVSX,
    OP_STOS,
    OP_MOVS,
    OP_LODS,
    OP_CMPS,
    OP_SCAS,
    OP_CMP,
    OP_TEST,
    OP_AND,
    OP_OR,
    OP_XOR,
    OP_ADD,
    OP_SUB,
    OP_ADC,
    OP_SBB,
    OP_INC,
    OP_DEC,
    OP_NOT,
    OP_NEG,
    OP_XCHG,
    OP_XADD,
    OP_CMPXCHG,
    OP_CMPXCHG_PAIR, // CMPXCHG8B, CMPXCHG16B
    OP_BT,
    OP_BTS,
    OP_BTR,
    OP_BTC,
    OP_INS,
    OP_OUTS,
    OP_PUSH,
    OP_POP,
    OP_MOVNTI,
    OP_MOVBE,
    OP_ROL,
    OP_ROR,
    OP_RCL,
    OP_RCR,
    OP_SHL,
    OP_SHR,
    OP_SAR,
    OP_SHLD,
    OP_SHRD,
    OP_IMUL,
    OP_SETCC,
    OP_CMOV,
    OP_MOVXMM,
    OP_COUNT
};
enum operand_kind { OPERAND_NONE, OPERAND_REG, OPERAND_MEM, OPERAND_IMM, OPERAND_XMM };

struct operand {
    enum operand_kind kind;
    uint8_t reg; // GPR or XMM number; high_byte: AH, CH, DH, BH as 0..3
    bool high_byte;
    uint64_t imm; // sign-extended
};
struct instruction {
    enum operation op;
    uint8_t length; // bytes
    uint8_t size;   // operand size: 1, 2, 4, 8; MOVXMM, CMPXCHG_PAIR: bytes of memory, up to 32
    uint8_t source_size;  // MOVZX, MOVSX: size of the source
    uint8_t address_size; // 2, 4, 8
    uint8_t condition;    // SETcc, CMOVcc: low four bits of the opcode
    // At least one of them is memory. Shifts: src is an immediate or CL. CMPS: dst is [rSI], src [rDI];
    // MOVS: dst is [rDI], src [rSI]. PUSH: src; POP: dst.
    struct operand dst, src;
    struct operand
        third; // SHLD, SHRD: the count, an immediate or CL; IMUL: an immediate in place of dst's value
    uint8_t segment; // SEG_* of the memory operand (MOVS, CMPS, OUTS, LODS: of [rSI])
    bool rep, repne, lock;
    bool aligned; // MOVXMM, CMPXCHG_PAIR: #GP when the operand is not aligned to its size
    bool vex;     // MOVXMM: by AVX, a load zeroes the rest of the YMM register
    // Effective address = base + index * scale + displacement (+ RIP of the next instruction).
    int8_t base,
        index; // GPR numbers, -1: none. String operations: rSI, or rDI where only it is used
    uint8_t scale;
    bool rip_relative;
    int64_t displacement;
};
enum decode_mode { DECODE_16, DECODE_32, DECODE_64 };

// Decodes one instruction at the start of `bytes` (n valid ones, 15 are always enough). 0; -EAGAIN: more
// bytes are needed; -EINVAL: not an instruction of this table, or its operands are all registers (the
// caller reports it).
int decode(const uint8_t *bytes, size_t n, enum decode_mode mode, struct instruction *out);
