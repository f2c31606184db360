// The opcode tables of the decoder (SDM vol. 2, appendix "Opcode Map").
#pragma once
#include "vmm/decode.h"

// Where the operands are. r: the register of ModRM; m: its memory operand.
enum form {
    FORM_NONE,     // not in the table
    FORM_M_R,      // m, r
    FORM_R_M,      // r, m
    FORM_R_M_IMM,  // r, m, immediate of the operand size
    FORM_R_M_IMM8, // r, m, sign-extended byte
    FORM_M_IMM,    // m, immediate of the operand size (at most 4 bytes, sign-extended)
    FORM_M_IMM8,   // m, sign-extended byte
    FORM_M,        // m alone is read and written, or written
    FORM_SOURCE_M, // m alone is read
    FORM_M_1,      // m, 1
    FORM_M_CL,     // m, CL
    FORM_M_R_IMM8, // m, r, byte
    FORM_M_R_CL,   // m, r, CL
    FORM_M_XMM,    // m, xmm
    FORM_XMM_M,    // xmm, m
    FORM_LOAD,     // accumulator, absolute address
    FORM_STORE,    // absolute address, accumulator
    FORM_STRING,
};

enum {
    BYTE_SIZED = 1,   // the operand size is 1 whatever the prefixes say
    NO_64 = 2,        // invalid in 64-bit mode
    ONLY_64 = 4,      // means something else outside of 64-bit mode
    DEFAULT_64 = 8,   // 64 bits wide in 64-bit mode, without REX.W
    ALIGNED = 16,     // MOVXMM: the operand must be aligned
    WIDE_BY_REX = 32, // MOVXMM: REX.W makes it 8 bytes
    GROUP = 64,       // op is an enum group: the reg field of ModRM selects the operation
    PAIR_SIZED = 128, // 8 bytes whatever the prefixes say, 16 by REX.W
};

struct opcode {
    uint8_t op;   // enum operation or enum group
    uint8_t form; // enum form; of a group: its members' unless they have one of their own
    uint8_t flags;
    uint8_t bytes; // MOVZX, MOVSX: size of the source; MOVXMM: of the memory operand
};

enum group {
    GROUP_ALU,
    GROUP_SHIFT,
    GROUP_UNARY,
    GROUP_INC,
    GROUP_MOV,
    GROUP_POP,
    GROUP_BIT,
    GROUP_PAIR,
    GROUP_COUNT
};
struct group_member {
    bool valid;
    uint8_t op, form, flags;
};

extern const struct opcode decode_one_byte[256], decode_two_byte[256];
extern const struct group_member decode_groups[GROUP_COUNT][8];

// SSE moves: the mandatory prefix selects. In the order of VEX.pp.
enum sse_prefix { PREFIX_NONE, PREFIX_66, PREFIX_F3, PREFIX_F2 };
// The row of such an opcode (0F xx), or NULL.
const struct opcode *decode_sse(uint8_t opcode, enum sse_prefix prefix);
