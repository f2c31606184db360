// The decoder: prefixes, opcode, ModRM, SIB, displacement, immediate (SDM vol. 2, chapter 2).
#include "vmm/decode.h"
#include "lib/errno.h"
#include "vmm/decode_tables.h"
#include "vmm/vcpu.h"

#define MAX_LENGTH 15

struct reader {
    const uint8_t *bytes;
    size_t n, at;
    int error; // -EAGAIN or -EINVAL once something could not be read
};

// The next `size` bytes, little-endian; 0 when they are not there.
static inline uint64_t take(struct reader *r, unsigned size) {
    if (unlikely(r->at + size > r->n)) {
        if (!r->error)
            r->error = r->at + size > MAX_LENGTH ? -EINVAL : -EAGAIN;
        return 0;
    }
    const uint8_t *p = r->bytes + r->at;
    r->at += size;
    if (size == 1)
        return *p;
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)p[i] << 8 * i;
    return value;
}

static int64_t take_signed(struct reader *r, unsigned size) {
    unsigned shift = 64 - 8 * size;
    return (int64_t)(take(r, size) << shift) >> shift;
}

struct prefixes {
    bool operand_size, address_size, lock;
    uint8_t repeat; // 0xf2 or 0xf3, the last one; 0: none
    int8_t segment; // -1: none
    uint8_t rex;    // 0: none; also what VEX says in its place
    bool vex, vector_256;
};

static bool take_prefix(struct prefixes *p, uint8_t byte, enum decode_mode mode) {
    switch (byte) {
    case 0x66: p->operand_size = true; break;
    case 0x67: p->address_size = true; break;
    case 0xf0: p->lock = true; break;
    case 0xf2:
    case 0xf3: p->repeat = byte; break;
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e: // ES, CS, SS, DS: without meaning in 64-bit mode
        if (mode != DECODE_64)
            p->segment = byte >> 3 & 3;
        break;
    case 0x64: p->segment = SEG_FS; break;
    case 0x65: p->segment = SEG_GS; break;
    default:
        if (mode == DECODE_64 && (byte & 0xf0) == 0x40) {
            p->rex = byte;
            return true;
        }
        return false;
    }
    p->rex = 0; // REX counts only right before the opcode
    return true;
}

// Returns the first byte that is not a prefix.
static uint8_t take_prefixes(struct reader *r, enum decode_mode mode, struct prefixes *p) {
    *p = (struct prefixes){.segment = -1};
    uint8_t byte = (uint8_t)take(r, 1);
    // What most accesses to devices begin with: an opcode, or REX and an opcode.
    if (likely(decode_one_byte[byte].form != FORM_NONE) && !r->error)
        return byte;
    while (!r->error && take_prefix(p, byte, mode))
        byte = (uint8_t)take(r, 1);
    return byte;
}

// ---- memory operands ---------------------------------------------------------------------------
// SDM vol. 2, table "16-Bit Addressing Forms with the ModR/M Byte".
static void memory_16(struct reader *r, unsigned mod, unsigned rm, struct instruction *out) {
    static const int8_t bases[] = {GPR_RBX, GPR_RBX, GPR_RBP, GPR_RBP,
                                   GPR_RSI, GPR_RDI, GPR_RBP, GPR_RBX};
    static const int8_t indexes[] = {GPR_RSI, GPR_RDI, GPR_RSI, GPR_RDI, -1, -1, -1, -1};
    if (mod == 0 && rm == 6) {
        out->displacement = take_signed(r, 2);
        return;
    }
    out->base = bases[rm];
    out->index = indexes[rm];
    if (out->base == GPR_RBP)
        out->segment = SEG_SS;
    if (mod != 0)
        out->displacement = take_signed(r, mod == 1 ? 1 : 2);
}

static void scaled_index(struct reader *r, unsigned mod, uint8_t rex, struct instruction *out) {
    uint8_t sib = (uint8_t)take(r, 1);
    unsigned index = (sib >> 3 & 7) | (rex & 2) << 2, base = sib & 7;
    if (index != GPR_RSP) {
        out->index = (int8_t)index;
        out->scale = (uint8_t)(1 << (sib >> 6));
    }
    if (base == GPR_RBP && mod == 0)
        out->displacement = take_signed(r, 4);
    else
        out->base = (int8_t)(base | (rex & 1) << 3);
}

static void memory_32(struct reader *r, unsigned mod, unsigned rm, uint8_t rex,
                      enum decode_mode mode, struct instruction *out) {
    if (rm == GPR_RSP) {
        scaled_index(r, mod, rex, out);
    } else if (rm == GPR_RBP && mod == 0) {
        out->displacement = take_signed(r, 4);
        out->rip_relative = mode == DECODE_64;
    } else {
        out->base = (int8_t)(rm | (rex & 1) << 3);
    }
    if (out->base == GPR_RSP || out->base == GPR_RBP)
        out->segment = SEG_SS;
    if (mod != 0)
        out->displacement = take_signed(r, mod == 1 ? 1 : 4);
}

static void memory_operand(struct reader *r, uint8_t modrm, const struct prefixes *p,
                           enum decode_mode mode, struct instruction *out) {
    if (out->address_size == 2)
        memory_16(r, modrm >> 6, modrm & 7, out);
    else
        memory_32(r, modrm >> 6, modrm & 7, p->rex, mode, out);
    if (p->segment >= 0)
        out->segment = (uint8_t)p->segment;
}

// ---- operands by form --------------------------------------------------------------------------
static struct operand register_operand(unsigned reg, unsigned size, bool rex) {
    if (size == 1 && !rex && reg >= 4) // AH, CH, DH, BH
        return (struct operand){.kind = OPERAND_REG, .reg = (uint8_t)(reg - 4), .high_byte = true};
    return (struct operand){.kind = OPERAND_REG, .reg = (uint8_t)reg};
}

static struct operand immediate(struct reader *r, unsigned size) {
    return (struct operand){.kind = OPERAND_IMM, .imm = (uint64_t)take_signed(r, size)};
}

static const struct operand memory = {.kind = OPERAND_MEM},
                            cl = {.kind = OPERAND_REG, .reg = GPR_RCX};

static void string_operands(const struct prefixes *p, struct instruction *out) {
    struct operand accumulator = {.kind = OPERAND_REG, .reg = GPR_RAX},
                   none = {.kind = OPERAND_NONE};
    enum operation op = out->op;
    bool reads_si = op == OP_MOVS || op == OP_LODS || op == OP_CMPS || op == OP_OUTS;
    out->base = reads_si ? GPR_RSI : GPR_RDI;
    out->segment = !reads_si ? SEG_ES : p->segment >= 0 ? (uint8_t)p->segment : SEG_DS;
    out->dst = op == OP_LODS || op == OP_SCAS ? accumulator : op == OP_OUTS ? none : memory;
    out->src = op == OP_STOS ? accumulator : op == OP_INS ? none : memory;
    out->rep = p->repeat == 0xf3;
    out->repne = p->repeat == 0xf2;
}

static void absolute_operands(struct reader *r, const struct prefixes *p, bool load,
                              struct instruction *out) {
    struct operand accumulator = {.kind = OPERAND_REG, .reg = GPR_RAX};
    out->displacement = take_signed(r, out->address_size);
    out->segment = p->segment >= 0 ? (uint8_t)p->segment : SEG_DS;
    out->dst = load ? accumulator : memory;
    out->src = load ? memory : accumulator;
}

// `reg`: the field of ModRM with REX.R.
static void operands(struct reader *r, const struct opcode *row, enum form form, unsigned reg,
                     bool rex, struct instruction *out) {
    struct operand xmm = {.kind = OPERAND_XMM, .reg = (uint8_t)reg};
    switch (form) {
    case FORM_M_R:
        out->dst = memory;
        out->src = register_operand(reg, out->size, rex);
        break;
    case FORM_R_M:
        out->dst = register_operand(reg, out->size, rex);
        out->src = memory;
        break;
    case FORM_R_M_IMM:
    case FORM_R_M_IMM8:
        out->dst = register_operand(reg, out->size, rex);
        out->src = memory;
        out->third = immediate(r, form == FORM_R_M_IMM8 ? 1 : MIN(out->size, 4));
        break;
    case FORM_M_IMM:
        out->dst = memory;
        out->src = immediate(r, MIN(out->size, 4));
        break;
    case FORM_M_IMM8:
        out->dst = memory;
        out->src = immediate(r, 1);
        break;
    case FORM_M: out->dst = memory; break;
    case FORM_SOURCE_M: out->src = memory; break;
    case FORM_M_1:
        out->dst = memory;
        out->src = (struct operand){.kind = OPERAND_IMM, .imm = 1};
        break;
    case FORM_M_CL:
        out->dst = memory;
        out->src = cl;
        break;
    case FORM_M_R_IMM8:
        out->dst = memory;
        out->src = register_operand(reg, out->size, rex);
        out->third = immediate(r, 1);
        break;
    case FORM_M_R_CL:
        out->dst = memory;
        out->src = register_operand(reg, out->size, rex);
        out->third = cl;
        break;
    case FORM_M_XMM:
        out->dst = memory;
        out->src = xmm;
        break;
    case FORM_XMM_M:
        out->dst = xmm;
        out->src = memory;
        break;
    default: break;
    }
}

// ---- the whole ---------------------------------------------------------------------------------
static const struct opcode *two_byte_opcode(struct reader *r, const struct prefixes *p,
                                            uint8_t *opcode) {
    static const struct opcode movbe_load = {OP_MOVBE, FORM_R_M, 0, 0},
                               movbe_store = {OP_MOVBE, FORM_M_R, 0, 0};
    *opcode = (uint8_t)take(r, 1);
    if (*opcode == 0x38) {
        *opcode = (uint8_t)take(r, 1);
        if (p->repeat || (*opcode & 0xfe) != 0xf0)
            return NULL;
        return *opcode == 0xf0 ? &movbe_load : &movbe_store;
    }
    const struct opcode *row = &decode_two_byte[*opcode];
    enum sse_prefix prefix = p->repeat == 0xf2   ? PREFIX_F2
                             : p->repeat == 0xf3 ? PREFIX_F3
                             : p->operand_size   ? PREFIX_66
                                                 : PREFIX_NONE;
    if (row->form == FORM_NONE)
        return decode_sse(*opcode, prefix);
    return row->op == OP_MOVNTI && prefix != PREFIX_NONE ? NULL : row;
}

// SDM vol. 2, "The VEX Prefix": the bits of REX inverted, W, vvvv, L, pp, and the opcode map, which is the
// one of 0F here. Outside of 64-bit mode a first byte below C0 is the ModRM of LES or LDS.
static const struct opcode *vex_opcode(struct reader *r, struct prefixes *p, enum decode_mode mode,
                                       uint8_t *opcode) {
    bool three = *opcode == 0xc4;
    uint8_t first = (uint8_t)take(r, 1), last = three ? (uint8_t)take(r, 1) : first & 0x7f;
    bool refused = p->operand_size || p->lock || p->repeat || p->rex;
    bool is_vex = mode == DECODE_64 || first >= 0xc0;
    bool has_vvvv = (~last & 0x78) != 0; // no move of memory has a third operand
    *opcode = (uint8_t)take(r, 1);
    if (refused || !is_vex || has_vvvv || (three && (first & 31) != 1))
        return NULL;
    if (mode == DECODE_64)
        p->rex = (uint8_t)((~first >> 5 & (three ? 7 : 4)) | (last >> 7 << 3));
    p->vex = true;
    p->vector_256 = last & 4;
    const struct opcode *row = decode_sse(*opcode, last & 3);
    bool ignores_length = *opcode == 0x10 || *opcode == 0x11; // VMOVSS, VMOVSD
    return row && p->vector_256 && row->bytes < 16 && !ignores_length ? NULL : row;
}

static uint8_t operand_size(const struct opcode *row, unsigned flags, const struct prefixes *p,
                            enum decode_mode mode) {
    bool wide = p->rex & 8;
    if (row->op == OP_MOVXMM && !(flags & GROUP))
        return (flags & WIDE_BY_REX) && wide       ? 8
               : p->vector_256 && row->bytes == 16 ? 32
                                                   : row->bytes;
    if (flags & BYTE_SIZED)
        return 1;
    if (flags & PAIR_SIZED)
        return wide ? 16 : 8;
    if (wide)
        return 8;
    if (row->op == OP_MOVNTI && !(flags & GROUP)) // has no 16-bit form
        return 4;
    if (p->operand_size != (mode == DECODE_16))
        return 2;
    return mode == DECODE_64 && (flags & DEFAULT_64) ? 8 : 4;
}

static bool lock_allowed(const struct instruction *i) {
    const uint64_t lockable = BIT(OP_ADD) | BIT(OP_OR) | BIT(OP_ADC) | BIT(OP_SBB) | BIT(OP_AND) |
                              BIT(OP_SUB) | BIT(OP_XOR) | BIT(OP_INC) | BIT(OP_DEC) | BIT(OP_NOT) |
                              BIT(OP_NEG) | BIT(OP_XCHG) | BIT(OP_XADD) | BIT(OP_CMPXCHG) |
                              BIT(OP_CMPXCHG_PAIR) | BIT(OP_BTS) | BIT(OP_BTR) | BIT(OP_BTC);
    return i->dst.kind == OPERAND_MEM && (lockable >> i->op & 1);
}

// ModRM and what it leads to. False: not an instruction of the tables.
static bool modrm_operands(struct reader *r, const struct opcode *row, const struct prefixes *p,
                           enum decode_mode mode, struct instruction *out) {
    uint8_t modrm = (uint8_t)take(r, 1);
    if (modrm >= 0xc0)
        return false; // registers only
    unsigned reg = modrm >> 3 & 7, form = row->form;
    if (row->flags & GROUP) {
        const struct group_member *m = &decode_groups[row->op][reg];
        if (!m->valid || (m->op == OP_PUSH && (row->flags & BYTE_SIZED)))
            return false;
        out->op = m->op;
        form = m->form != FORM_NONE ? m->form : form;
        out->size = operand_size(row, row->flags | m->flags, p, mode);
        out->aligned = out->size == 16; // CMPXCHG16B
    }
    memory_operand(r, modrm, p, mode, out);
    operands(r, row, form, reg | (p->rex & 4) << 1, p->rex != 0, out);
    return true;
}

int decode(const uint8_t *bytes, size_t n, enum decode_mode mode, struct instruction *out) {
    struct reader r = {.bytes = bytes, .n = MIN(n, (size_t)MAX_LENGTH)};
    struct prefixes p;
    uint8_t opcode = take_prefixes(&r, mode, &p);
    const struct opcode *row;
    if (opcode == 0x0f)
        row = two_byte_opcode(&r, &p, &opcode);
    else if (opcode == 0xc4 || opcode == 0xc5)
        row = vex_opcode(&r, &p, mode, &opcode);
    else
        row = &decode_one_byte[opcode];
    if (r.error)
        return r.error;
    if (!row || row->form == FORM_NONE || (row->flags & (mode == DECODE_64 ? NO_64 : ONLY_64)))
        return -EINVAL;
    uint8_t wide = mode == DECODE_64 ? 8 : mode == DECODE_32 ? 4 : 2;
    uint8_t narrow = mode == DECODE_32 ? 2 : 4;
    *out = (struct instruction){
        .op = row->op,
        .size = operand_size(row, row->flags, &p, mode),
        .address_size = p.address_size ? narrow : wide,
        .condition = opcode & 15,
        .segment = SEG_DS,
        .base = -1,
        .index = -1,
        .scale = 1,
        .lock = p.lock,
        .aligned = row->flags & ALIGNED,
        .vex = p.vex,
    };
    out->source_size = row->op == OP_MOVSX && row->bytes > out->size ? out->size : row->bytes;
    if (row->form == FORM_STRING)
        string_operands(&p, out);
    else if (row->form == FORM_LOAD || row->form == FORM_STORE)
        absolute_operands(&r, &p, row->form == FORM_LOAD, out);
    else if (!modrm_operands(&r, row, &p, mode, out))
        return r.error ? r.error : -EINVAL;
    if (r.error)
        return r.error;
    if (p.lock && !lock_allowed(out))
        return -EINVAL;
    out->length = (uint8_t)r.at;
    return 0;
}
