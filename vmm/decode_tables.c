// Opcode tables: one row per opcode, in the order of the SDM's opcode map.
#include "vmm/decode_tables.h"

// The eight arithmetic operations have the same six forms at multiples of eight; the two with an
// immediate for the accumulator have no memory operand.
#define ALU(first, op)                                                             \
    [first] = {op, FORM_M_R, BYTE_SIZED, 0}, [(first) + 1] = {op, FORM_M_R, 0, 0}, \
    [(first) + 2] = {op, FORM_R_M, BYTE_SIZED, 0}, [(first) + 3] = {op, FORM_R_M, 0, 0}
// An opcode for bytes, and the next one for the operand size.
#define PAIR(first, op, form, flags) \
    [first] = {op, form, BYTE_SIZED | (flags), 0}, [(first) + 1] = {op, form, flags, 0}

const struct opcode decode_one_byte[256] = {
    ALU(0x00, OP_ADD),
    ALU(0x08, OP_OR),
    ALU(0x10, OP_ADC),
    ALU(0x18, OP_SBB),
    ALU(0x20, OP_AND),
    ALU(0x28, OP_SUB),
    ALU(0x30, OP_XOR),
    ALU(0x38, OP_CMP),
    [0x63] = {OP_MOVSX, FORM_R_M, ONLY_64, 4},
    [0x69] = {OP_IMUL, FORM_R_M_IMM, 0, 0},
    [0x6b] = {OP_IMUL, FORM_R_M_IMM8, 0, 0},
    PAIR(0x6c, OP_INS, FORM_STRING, 0),
    PAIR(0x6e, OP_OUTS, FORM_STRING, 0),
    PAIR(0x80, GROUP_ALU, FORM_M_IMM, GROUP),
    [0x82] = {GROUP_ALU, FORM_M_IMM, GROUP | BYTE_SIZED | NO_64, 0},
    [0x83] = {GROUP_ALU, FORM_M_IMM8, GROUP, 0},
    PAIR(0x84, OP_TEST, FORM_M_R, 0),
    PAIR(0x86, OP_XCHG, FORM_M_R, 0),
    PAIR(0x88, OP_MOV, FORM_M_R, 0),
    PAIR(0x8a, OP_MOV, FORM_R_M, 0),
    [0x8f] = {GROUP_POP, FORM_M, GROUP | DEFAULT_64, 0},
    PAIR(0xa0, OP_MOV, FORM_LOAD, 0),
    PAIR(0xa2, OP_MOV, FORM_STORE, 0),
    PAIR(0xa4, OP_MOVS, FORM_STRING, 0),
    PAIR(0xa6, OP_CMPS, FORM_STRING, 0),
    PAIR(0xaa, OP_STOS, FORM_STRING, 0),
    PAIR(0xac, OP_LODS, FORM_STRING, 0),
    PAIR(0xae, OP_SCAS, FORM_STRING, 0),
    PAIR(0xc0, GROUP_SHIFT, FORM_M_IMM8, GROUP),
    PAIR(0xc6, GROUP_MOV, FORM_M_IMM, GROUP),
    PAIR(0xd0, GROUP_SHIFT, FORM_M_1, GROUP),
    PAIR(0xd2, GROUP_SHIFT, FORM_M_CL, GROUP),
    PAIR(0xf6, GROUP_UNARY, FORM_M, GROUP),
    PAIR(0xfe, GROUP_INC, FORM_M, GROUP),
};

// Sixteen conditions, one opcode each.
#define CONDITIONS(first, op, form, flags) [first...(first) + 15] = {op, form, flags, 0}

const struct opcode decode_two_byte[256] = {
    CONDITIONS(0x40, OP_CMOV, FORM_R_M, 0),  CONDITIONS(0x90, OP_SETCC, FORM_M, BYTE_SIZED),
    [0xa3] = {OP_BT, FORM_M_R, 0, 0},        [0xab] = {OP_BTS, FORM_M_R, 0, 0},
    [0xaf] = {OP_IMUL, FORM_R_M, 0, 0},      PAIR(0xb0, OP_CMPXCHG, FORM_M_R, 0),
    [0xb3] = {OP_BTR, FORM_M_R, 0, 0},       [0xb6] = {OP_MOVZX, FORM_R_M, 0, 1},
    [0xb7] = {OP_MOVZX, FORM_R_M, 0, 2},     [0xba] = {GROUP_BIT, FORM_M_IMM8, GROUP, 0},
    [0xbb] = {OP_BTC, FORM_M_R, 0, 0},       [0xbe] = {OP_MOVSX, FORM_R_M, 0, 1},
    [0xbf] = {OP_MOVSX, FORM_R_M, 0, 2},     PAIR(0xc0, OP_XADD, FORM_M_R, 0),
    [0xc3] = {OP_MOVNTI, FORM_M_R, 0, 0},    [0xc7] = {GROUP_PAIR, FORM_M, GROUP, 0},
    [0xa4] = {OP_SHLD, FORM_M_R_IMM8, 0, 0}, [0xa5] = {OP_SHLD, FORM_M_R_CL, 0, 0},
    [0xac] = {OP_SHRD, FORM_M_R_IMM8, 0, 0}, [0xad] = {OP_SHRD, FORM_M_R_CL, 0, 0},
};

#define MEMBER(op) \
    { true, op, FORM_NONE, 0 }
const struct group_member decode_groups[GROUP_COUNT][8] = {
    [GROUP_ALU] = {MEMBER(OP_ADD), MEMBER(OP_OR), MEMBER(OP_ADC), MEMBER(OP_SBB), MEMBER(OP_AND),
                   MEMBER(OP_SUB), MEMBER(OP_XOR), MEMBER(OP_CMP)},
    [GROUP_SHIFT] = {MEMBER(OP_ROL), MEMBER(OP_ROR), MEMBER(OP_RCL), MEMBER(OP_RCR), MEMBER(OP_SHL),
                     MEMBER(OP_SHR), MEMBER(OP_SHL), MEMBER(OP_SAR)},
    [GROUP_UNARY] = {{true, OP_TEST, FORM_M_IMM, 0},
                     {true, OP_TEST, FORM_M_IMM, 0},
                     MEMBER(OP_NOT),
                     MEMBER(OP_NEG)},
    [GROUP_INC] = {MEMBER(OP_INC),
                   MEMBER(OP_DEC), [6] = {true, OP_PUSH, FORM_SOURCE_M, DEFAULT_64}},
    [GROUP_MOV] = {MEMBER(OP_MOV)},
    [GROUP_POP] = {MEMBER(OP_POP)},
    [GROUP_BIT] = {[4] = MEMBER(OP_BT), MEMBER(OP_BTS), MEMBER(OP_BTR), MEMBER(OP_BTC)},
    [GROUP_PAIR] = {[1] = {true, OP_CMPXCHG_PAIR, FORM_NONE, PAIR_SIZED}},
};

static const struct sse_row {
    uint8_t opcode, prefix;
    struct opcode row;
} sse_rows[] = {
    {0x10, PREFIX_NONE, {OP_MOVXMM, FORM_XMM_M, 0, 16}}, // MOVUPS
    {0x10, PREFIX_66, {OP_MOVXMM, FORM_XMM_M, 0, 16}},   // MOVUPD
    {0x10, PREFIX_F3, {OP_MOVXMM, FORM_XMM_M, 0, 4}},    // MOVSS
    {0x10, PREFIX_F2, {OP_MOVXMM, FORM_XMM_M, 0, 8}},    // MOVSD
    {0x11, PREFIX_NONE, {OP_MOVXMM, FORM_M_XMM, 0, 16}},
    {0x11, PREFIX_66, {OP_MOVXMM, FORM_M_XMM, 0, 16}},
    {0x11, PREFIX_F3, {OP_MOVXMM, FORM_M_XMM, 0, 4}},
    {0x11, PREFIX_F2, {OP_MOVXMM, FORM_M_XMM, 0, 8}},
    {0x28, PREFIX_NONE, {OP_MOVXMM, FORM_XMM_M, ALIGNED, 16}}, // MOVAPS
    {0x28, PREFIX_66, {OP_MOVXMM, FORM_XMM_M, ALIGNED, 16}},   // MOVAPD
    {0x29, PREFIX_NONE, {OP_MOVXMM, FORM_M_XMM, ALIGNED, 16}},
    {0x29, PREFIX_66, {OP_MOVXMM, FORM_M_XMM, ALIGNED, 16}},
    {0x2b, PREFIX_NONE, {OP_MOVXMM, FORM_M_XMM, ALIGNED, 16}},  // MOVNTPS
    {0x2b, PREFIX_66, {OP_MOVXMM, FORM_M_XMM, ALIGNED, 16}},    // MOVNTPD
    {0x6e, PREFIX_66, {OP_MOVXMM, FORM_XMM_M, WIDE_BY_REX, 4}}, // MOVD, MOVQ
    {0x6f, PREFIX_66, {OP_MOVXMM, FORM_XMM_M, ALIGNED, 16}},    // MOVDQA
    {0x6f, PREFIX_F3, {OP_MOVXMM, FORM_XMM_M, 0, 16}},          // MOVDQU
    {0x7e, PREFIX_66, {OP_MOVXMM, FORM_M_XMM, WIDE_BY_REX, 4}},
    {0x7e, PREFIX_F3, {OP_MOVXMM, FORM_XMM_M, 0, 8}}, // MOVQ
    {0x7f, PREFIX_66, {OP_MOVXMM, FORM_M_XMM, ALIGNED, 16}},
    {0x7f, PREFIX_F3, {OP_MOVXMM, FORM_M_XMM, 0, 16}},
    {0xd6, PREFIX_66, {OP_MOVXMM, FORM_M_XMM, 0, 8}},        // MOVQ
    {0xe7, PREFIX_66, {OP_MOVXMM, FORM_M_XMM, ALIGNED, 16}}, // MOVNTDQ
    {0xf0, PREFIX_F2, {OP_MOVXMM, FORM_XMM_M, 0, 16}},       // LDDQU
};

const struct opcode *decode_sse(uint8_t opcode, enum sse_prefix prefix) {
    for (size_t i = 0; i < ARRAY_SIZE(sse_rows); i++)
        if (sse_rows[i].opcode == opcode && sse_rows[i].prefix == prefix)
            return &sse_rows[i].row;
    return NULL;
}
