// Instructions that touched device memory: fetched, decoded, carried out.
//
// The common one, a plain move, takes the short way (begin_move): its address is what the hardware reported.
// All others run their handler (emulation.h).
#include "vmm/emulate.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "vmm/skip.h"
#include "vmm/emulation.h"
#include "vmm/fetch.h"
#include "vmm/operate.h"
#include "vmm/run.h"
#include "vmm/x86.h"
#include "vmm/xmm.h"
#include "vmm/vcpu_parts.h"

#define PAGE_MASK 4095ull
#define RFLAGS_DF (1ull << 10)
#define RFLAGS_ZF (1ull << 6)

// ---- operands ----------------------------------------------------------------------------------
static uint64_t effective_address(struct vcpu *v, const struct instruction *i) {
    uint64_t address = (uint64_t)i->displacement;
    if (i->base >= 0)
        address += guest_gpr(v, i->base, false, 8);
    if (i->index >= 0)
        address += guest_gpr(v, i->index, false, 8) * i->scale;
    if (i->rip_relative)
        address += v->rip + i->length;
    return truncate(address, i->address_size);
}

static int read_operand(struct vcpu *v, struct emulation *em, const struct operand *o,
                        unsigned size, bool will_write, uint64_t *value) {
    uint64_t linear;
    *value = 0;
    switch (o->kind) {
    case OPERAND_REG: *value = guest_gpr(v, o->reg, o->high_byte, size); return STEP_DONE;
    case OPERAND_IMM: *value = truncate(o->imm, size); return STEP_DONE;
    default: break;
    }
    int r = guest_linear(v, em->insn->segment, effective_address(v, em->insn), size, will_write,
                         &linear);
    return r != STEP_DONE ? r : guest_read(v, em, linear, value, size, will_write);
}

static int write_operand(struct vcpu *v, struct emulation *em, const struct operand *o,
                         unsigned size, uint64_t value) {
    uint64_t linear;
    if (o->kind == OPERAND_REG) {
        guest_set_gpr(v, o->reg, o->high_byte, size, value);
        return STEP_DONE;
    }
    int r = guest_linear(v, em->insn->segment, effective_address(v, em->insn), size, true, &linear);
    return r != STEP_DONE ? r : guest_write(v, em, linear, &value, size);
}

static void set_flags(struct vcpu *v, uint64_t rflags) {
    if (v->rflags == rflags)
        return;
    v->rflags = rflags;
    vcpu_changed(v, PART_RFLAGS);
}

// ---- moves -------------------------------------------------------------------------------------
static uint64_t swap_bytes(uint64_t value, unsigned size) {
    return __builtin_bswap64(value) >> (64 - 8 * size);
}

// What a move makes of the value it read.
static uint64_t moved(const struct instruction *i, uint64_t value) {
    switch (i->op) {
    case OP_MOVSX: return sign_extend(value, i->source_size);
    case OP_MOVBE: return swap_bytes(value, i->size);
    default: return value;
    }
}

static unsigned source_size(const struct instruction *i) {
    return i->op == OP_MOVZX || i->op == OP_MOVSX ? i->source_size : i->size;
}

static int move(struct vcpu *v, struct emulation *em) {
    const struct instruction *i = em->insn;
    uint64_t value;
    int r = read_operand(v, em, &i->src, source_size(i), false, &value);
    return r != STEP_DONE ? r : write_operand(v, em, &i->dst, i->size, moved(i, value));
}

// The memory operand of an instruction that may ask for its alignment.
static int wide_linear(struct vcpu *v, const struct instruction *i, bool write, uint64_t *linear) {
    int r = guest_linear(v, i->segment, effective_address(v, i), i->size, write, linear);
    if (r != STEP_DONE || !i->aligned || *linear % i->size == 0)
        return r;
    vcpu_inject_exception(v, VECTOR_GP, true, 0);
    return STEP_FAULT;
}

static int move_xmm(struct vcpu *v, struct emulation *em) {
    const struct instruction *i = em->insn;
    bool load = i->src.kind == OPERAND_MEM;
    uint8_t data[YMM_SIZE] = {0};
    uint64_t linear;
    // The processor has seen to this, unless the code has changed since.
    if (i->vex && !guest_has_ymm(v)) {
        vcpu_inject_exception(v, VECTOR_UD, false, 0);
        return STEP_FAULT;
    }
    int r = wide_linear(v, i, !load, &linear);
    if (r != STEP_DONE)
        return r;
    if (!load) {
        (i->vex ? guest_ymm_read : guest_xmm_read)(v, i->src.reg, data);
        return guest_write(v, em, linear, data, i->size);
    }
    r = guest_read(v, em, linear, data, i->size, false);
    if (r == STEP_DONE)
        (i->vex ? guest_ymm_write : guest_xmm_write)(v, i->dst.reg, data);
    return r;
}

static int conditional(struct vcpu *v, struct emulation *em) {
    const struct instruction *i = em->insn;
    bool holds = condition_true(i->condition, v->rflags);
    if (i->op == OP_SETCC)
        return write_operand(v, em, &i->dst, 1, holds);
    uint64_t value;
    int r = read_operand(v, em, &i->src, i->size, false, &value); // also when it does not hold
    if (r != STEP_DONE)
        return r;
    return write_operand(v, em, &i->dst, i->size,
                         holds ? value : guest_gpr(v, i->dst.reg, false, i->size));
}

// ---- arithmetic --------------------------------------------------------------------------------
static int arithmetic(struct vcpu *v, struct emulation *em) {
    const struct instruction *i = em->insn;
    bool writes = operation_writes(i->op), to_memory = i->dst.kind == OPERAND_MEM;
    const struct operand *first = i->third.kind != OPERAND_NONE ? &i->third : &i->dst;
    uint64_t dst, src, flags = v->rflags;
    int r = read_operand(v, em, first, i->size, writes && to_memory, &dst);
    if (r == STEP_DONE && i->src.kind != OPERAND_NONE)
        r = read_operand(v, em, &i->src, i->size, false, &src);
    if (r != STEP_DONE)
        return r;
    dst = operate(i->op, i->size, dst, i->src.kind != OPERAND_NONE ? src : 0, &flags);
    if (writes)
        r = write_operand(v, em, &i->dst, i->size, dst);
    if (r == STEP_DONE)
        set_flags(v, flags);
    return r;
}

static int double_shift(struct vcpu *v, struct emulation *em) {
    const struct instruction *i = em->insn;
    uint64_t dst, src, count, flags = v->rflags;
    int r = read_operand(v, em, &i->dst, i->size, true, &dst);
    if (r != STEP_DONE)
        return r;
    (void)read_operand(v, em, &i->src, i->size, false, &src); // these are never memory
    (void)read_operand(v, em, &i->third, 1, false, &count);
    dst = operate_double_shift(i->op, i->size, dst, src, (uint8_t)count, &flags);
    r = write_operand(v, em, &i->dst, i->size, dst);
    if (r == STEP_DONE)
        set_flags(v, flags);
    return r;
}

// BT and its family: a register position counts from the operand's address in both directions.
static int bit_test(struct vcpu *v, struct emulation *em) {
    const struct instruction *i = em->insn;
    unsigned bits = i->size * 8;
    uint64_t position, value, linear, flags = v->rflags, address = effective_address(v, i);
    bool writes = operation_writes(i->op);
    (void)read_operand(v, em, &i->src, i->size, false, &position); // never memory
    if (i->src.kind == OPERAND_REG) {
        int64_t offset = (int64_t)sign_extend(position, i->size);
        address = truncate(address + (uint64_t)((offset & -(int64_t)bits) / 8), i->address_size);
    }
    int r = guest_linear(v, i->segment, address, i->size, writes, &linear);
    value = 0;
    if (r == STEP_DONE)
        r = guest_read(v, em, linear, &value, i->size, writes);
    if (r != STEP_DONE)
        return r;
    value = operate(i->op, i->size, value, position & (bits - 1), &flags);
    if (writes)
        r = guest_write(v, em, linear, &value, i->size);
    if (r == STEP_DONE)
        set_flags(v, flags);
    return r;
}

// XCHG, XADD, CMPXCHG: memory is read and, as the hardware does it, written in any case.
static int exchange(struct vcpu *v, struct emulation *em) {
    const struct instruction *i = em->insn;
    uint64_t old, source, accumulator = guest_gpr(v, GPR_RAX, false, i->size), flags = v->rflags,
                          new;
    int r = read_operand(v, em, &i->dst, i->size, true, &old);
    if (r != STEP_DONE)
        return r;
    (void)read_operand(v, em, &i->src, i->size, false, &source); // never memory
    bool equal = old == accumulator;
    if (i->op == OP_XCHG) {
        new = source;
    } else if (i->op == OP_XADD) {
        new = operate(OP_ADD, i->size, old, source, &flags);
    } else {
        operate(OP_CMP, i->size, accumulator, old, &flags);
        new = equal ? source : old;
    }
    r = write_operand(v, em, &i->dst, i->size, new);
    if (r != STEP_DONE)
        return r;
    if (i->op != OP_CMPXCHG)
        (void)write_operand(v, em, &i->src, i->size, old);
    else if (!equal)
        guest_set_gpr(v, GPR_RAX, false, i->size, old);
    set_flags(v, flags);
    return STEP_DONE;
}

// CMPXCHG8B and CMPXCHG16B compare with EDX:EAX or RDX:RAX, and store ECX:EBX or RCX:RBX.
static int exchange_pair(struct vcpu *v, struct emulation *em) {
    const struct instruction *i = em->insn;
    unsigned half = i->size / 2;
    uint64_t linear;
    uint8_t old[16], expected[16], new[16];
    int r = wide_linear(v, i, true, &linear);
    if (r == STEP_DONE)
        r = guest_read(v, em, linear, old, i->size, true);
    if (r != STEP_DONE)
        return r;
    memcpy(expected, &v->gpr[GPR_RAX], half);
    memcpy(expected + half, &v->gpr[GPR_RDX], half);
    memcpy(new, &v->gpr[GPR_RBX], half);
    memcpy(new + half, &v->gpr[GPR_RCX], half);
    bool equal = memcmp(old, expected, i->size) == 0;
    r = guest_write(v, em, linear, equal ? new : old, i->size);
    if (r != STEP_DONE)
        return r;
    if (!equal) {
        uint64_t low = 0, high = 0;
        memcpy(&low, old, half);
        memcpy(&high, old + half, half);
        guest_set_gpr(v, GPR_RAX, false, half, low);
        guest_set_gpr(v, GPR_RDX, false, half, high);
    }
    set_flags(v, equal ? v->rflags | RFLAGS_ZF : v->rflags & ~RFLAGS_ZF);
    return STEP_DONE;
}

// ---- stack -------------------------------------------------------------------------------------
static unsigned stack_size(struct vcpu *v) {
    if (vcpu_code_size(v) == 8)
        return 8;
    vcpu_sync(v, PART_SEGMENTS);
    return v->seg[SEG_SS].db ? 4 : 2;
}

static int push(struct vcpu *v, struct emulation *em) {
    const struct instruction *i = em->insn;
    unsigned width = stack_size(v);
    uint64_t value, linear, rsp = truncate(guest_gpr(v, GPR_RSP, false, 8) - i->size, width);
    int r = read_operand(v, em, &i->src, i->size, false, &value);
    if (r == STEP_DONE)
        r = guest_linear(v, SEG_SS, rsp, i->size, true, &linear);
    if (r == STEP_DONE)
        r = guest_write(v, em, linear, &value, i->size);
    if (r == STEP_DONE)
        guest_set_gpr(v, GPR_RSP, false, width, rsp);
    return r;
}

// An address based on rSP is computed with the value after the pop (SDM vol. 2, "POP").
static int pop(struct vcpu *v, struct emulation *em) {
    const struct instruction *i = em->insn;
    unsigned width = stack_size(v);
    uint64_t old = guest_gpr(v, GPR_RSP, false, 8), value = 0, linear;
    int r = guest_linear(v, SEG_SS, truncate(old, width), i->size, false, &linear);
    if (r == STEP_DONE)
        r = guest_read(v, em, linear, &value, i->size, false);
    if (r != STEP_DONE)
        return r;
    guest_set_gpr(v, GPR_RSP, false, width, old + i->size);
    r = write_operand(v, em, &i->dst, i->size, value);
    if (r != STEP_DONE)
        guest_set_gpr(v, GPR_RSP, false, 8, old);
    return r;
}

// ---- strings -----------------------------------------------------------------------------------
static int string_linear(struct vcpu *v, const struct instruction *i, unsigned reg, bool write,
                         uint64_t *linear) {
    unsigned segment = reg == GPR_RDI ? SEG_ES : i->segment;
    return guest_linear(v, segment, guest_gpr(v, reg, false, i->address_size), i->size, write,
                        linear);
}

static int read_string(struct vcpu *v, struct emulation *em, unsigned reg, uint64_t *value) {
    uint64_t linear;
    *value = 0;
    int r = string_linear(v, em->insn, reg, false, &linear);
    return r != STEP_DONE ? r : guest_read(v, em, linear, value, em->insn->size, false);
}

static int write_string(struct vcpu *v, struct emulation *em, uint64_t value) {
    uint64_t linear;
    int r = string_linear(v, em->insn, GPR_RDI, true, &linear);
    return r != STEP_DONE ? r : guest_write(v, em, linear, &value, em->insn->size);
}

static void advance(struct vcpu *v, const struct instruction *i, unsigned reg) {
    uint64_t step = v->rflags & RFLAGS_DF ? -(uint64_t)i->size : i->size;
    guest_set_gpr(v, reg, false, i->address_size, guest_gpr(v, reg, false, i->address_size) + step);
}

// One iteration.
static int string(struct vcpu *v, struct emulation *em) {
    const struct instruction *i = em->insn;
    bool uses_si = i->op == OP_MOVS || i->op == OP_LODS || i->op == OP_CMPS;
    bool compares = i->op == OP_CMPS || i->op == OP_SCAS;
    uint64_t a = guest_gpr(v, GPR_RAX, false, i->size), b, flags = v->rflags;
    int r = STEP_DONE;
    if (uses_si)
        r = read_string(v, em, GPR_RSI, &a);
    if (r == STEP_DONE && compares)
        r = read_string(v, em, GPR_RDI, &b);
    if (r == STEP_DONE && (i->op == OP_MOVS || i->op == OP_STOS))
        r = write_string(v, em, a);
    if (r != STEP_DONE)
        return r;
    if (compares) {
        operate(OP_CMP, i->size, a, b, &flags);
        set_flags(v, flags);
    }
    if (i->op == OP_LODS)
        guest_set_gpr(v, GPR_RAX, false, i->size, a);
    if (uses_si)
        advance(v, i, GPR_RSI);
    if (i->op != OP_LODS)
        advance(v, i, GPR_RDI);
    return STEP_DONE;
}

// After an iteration: counts down. True: it was the last one.
static bool last_iteration(struct vcpu *v, const struct instruction *i) {
    uint64_t left = truncate(guest_gpr(v, GPR_RCX, false, i->address_size) - 1, i->address_size);
    guest_set_gpr(v, GPR_RCX, false, i->address_size, left);
    if (left == 0)
        return true;
    if (i->op != OP_CMPS && i->op != OP_SCAS)
        return false;
    bool equal = v->rflags & RFLAGS_ZF;
    return i->rep ? !equal : equal;
}

// ---- running handlers --------------------------------------------------------------------------
typedef int handler(struct vcpu *v, struct emulation *em);

static handler *const handlers[OP_COUNT] = {
    [OP_MOV] = move,          [OP_MOVZX] = move,
    [OP_MOVSX] = move,        [OP_MOVNTI] = move,
    [OP_MOVBE] = move,        [OP_MOVXMM] = move_xmm,
    [OP_SETCC] = conditional, [OP_CMOV] = conditional,
    [OP_CMP] = arithmetic,    [OP_TEST] = arithmetic,
    [OP_AND] = arithmetic,    [OP_OR] = arithmetic,
    [OP_XOR] = arithmetic,    [OP_ADD] = arithmetic,
    [OP_SUB] = arithmetic,    [OP_ADC] = arithmetic,
    [OP_SBB] = arithmetic,    [OP_INC] = arithmetic,
    [OP_DEC] = arithmetic,    [OP_NOT] = arithmetic,
    [OP_NEG] = arithmetic,    [OP_IMUL] = arithmetic,
    [OP_ROL] = arithmetic,    [OP_ROR] = arithmetic,
    [OP_RCL] = arithmetic,    [OP_RCR] = arithmetic,
    [OP_SHL] = arithmetic,    [OP_SHR] = arithmetic,
    [OP_SAR] = arithmetic,    [OP_BT] = bit_test,
    [OP_BTS] = bit_test,      [OP_BTR] = bit_test,
    [OP_BTC] = bit_test,      [OP_XCHG] = exchange,
    [OP_XADD] = exchange,     [OP_CMPXCHG] = exchange,
    [OP_PUSH] = push,         [OP_POP] = pop,
    [OP_MOVS] = string,       [OP_STOS] = string,
    [OP_LODS] = string,       [OP_CMPS] = string,
    [OP_SCAS] = string,       [OP_SHLD] = double_shift,
    [OP_SHRD] = double_shift, [OP_CMPXCHG_PAIR] = exchange_pair,
};

static bool repeated(const struct instruction *i) {
    return (i->rep || i->repne) && handlers[i->op] == string;
}

// Runs the instruction as far as it goes. A REP goes on here while its iterations need user space and
// nothing else is to be done; else the hardware continues it.
static int run_handler(struct vcpu *v, struct emulation *em) {
    const struct instruction *i = em->insn;
    for (;;) {
        em->next = 0;
        int r = handlers[i->op](v, em);
        if (r == STEP_WAIT)
            return USER_SPACE;
        if (r != STEP_DONE)
            return r == STEP_FAULT ? GO_ON : r;
        if (!repeated(i) || last_iteration(v, i)) {
            vcpu_skip(v, i->length);
            return GO_ON;
        }
        guest_iterated(v, 1);
        bool device = em->user_space;
        em->done = 0;
        em->user_space = false;
        if (!device || vcpu_attention(v))
            return GO_ON;
    }
}

// ---- the short way -----------------------------------------------------------------------------
static int complete_store(struct vcpu *v) {
    vcpu_skip(v, v->pending.length);
    return GO_ON;
}

static int complete_load(struct vcpu *v) {
    const struct instruction *i = v->emulation->insn;
    uint64_t value;
    __builtin_memcpy(&value, v->run->mmio.data, sizeof(value));
    value = truncate(value, source_size(i));
    guest_set_gpr(v, i->dst.reg, i->dst.high_byte, i->size,
                  i->op == OP_MOVSX ? sign_extend(value, i->source_size) : value);
    vcpu_skip(v, i->length);
    return GO_ON;
}

// A move between a register or constant and flat memory within one page, at the address that the
// hardware reports. False: not of that kind.
static bool begin_move(struct vcpu *v, const struct vm_exit *e, const struct instruction *i) {
    bool store = i->dst.kind == OPERAND_MEM;
    unsigned size = store ? i->size : source_size(i);
    if (i->op > OP_MOVSX || i->segment >= SEG_FS || vcpu_code_size(v) != 8 ||
        e->memory.write != store || (e->memory.gva & PAGE_MASK) + size > PAGE_MASK + 1 ||
        effective_address(v, i) != e->memory.gva)
        return false;
    struct kvm_run *run = v->run;
    uint64_t data = 0;
    if (store)
        data = i->src.kind == OPERAND_IMM ? truncate(i->src.imm, size)
                                          : guest_gpr(v, i->src.reg, i->src.high_byte, size);
    run->exit_reason = KVM_EXIT_MMIO;
    run->mmio.phys_addr = e->memory.gpa;
    __builtin_memcpy(run->mmio.data, &data, sizeof(data));
    run->mmio.len = size;
    run->mmio.is_write = store;
    v->pending.length = i->length;
    v->complete = store ? complete_store : complete_load;
    return true;
}

int emulate_mmio(struct vcpu *v, const struct vm_exit *e) {
    // Fetches, page-table walks and event deliveries are no accesses of an instruction.
    if (unlikely(!e->memory.gva_valid || e->memory.page_walk || e->memory.execute || e->vectoring))
        return vcpu_report_unknown(v, e);
    struct emulation *em = emulation_of(v);
    if (unlikely(!em))
        return -ENOMEM;
    vcpu_sync(v, PART_RIP);
    int r = fetch_instruction(v, &em->insn);
    if (unlikely(r))
        return r == 1 ? GO_ON : r == -EINVAL || r == -EFAULT ? vcpu_report_unknown(v, e) : r;
    if (likely(begin_move(v, e, em->insn)))
        return USER_SPACE;
    if (!handlers[em->insn->op])
        return vcpu_report_unknown(v, e);
    emulation_begin(em, run_handler);
    // What completion needs is read while the hardware still holds it.
    vcpu_sync(v, PART_RIP | PART_RSP | PART_RFLAGS | PART_CR | PART_SEGMENTS | PART_BLOCKING |
                     PART_ACTIVITY);
    return run_handler(v, em);
}
