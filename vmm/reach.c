// The emulator's decoder knows the instructions that are used on device memory. Watched memory is touched by all of
// them, most of all by those that use the stack, and by deliveries of events.
#include "vmm/reach.h"
#include "cpu/fpu.h"
#include "mm/pte.h"
#include "vmm/walk.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

#define UNKNOWN    64 // any instruction that is not named below touches no more
#define WALK_SIZE  8  // a page-table entry
#define FXSAVE     512
#define TABLE_SIZE 10 // what SGDT stores

unsigned reach_max(void) {
    return (unsigned)MAX((size_t)FXSAVE, fpu_area_size());
}

// ---- instructions ------------------------------------------------------------------------------
// 0F AE and 0F 01 with a memory operand, by the reg field of ModRM.
static unsigned state_size(uint8_t opcode, uint8_t modrm) {
    unsigned reg = modrm >> 3 & 7;
    if (modrm >= 0xc0)
        return UNKNOWN;
    if (opcode == 0x01)
        return reg < 4 ? TABLE_SIZE : UNKNOWN;
    return reg < 2    ? FXSAVE
           : reg < 4  ? 4 // LDMXCSR, STMXCSR
           : reg == 7 ? UNKNOWN
                      : (unsigned)fpu_area_size(); // XSAVE, XRSTOR, XSAVEOPT
}

// Pushes go down from where the first one faulted. `width`: of one.
static struct reach stack_access(uint8_t opcode, unsigned width) {
    switch (opcode) {
    case 0x06: // PUSH and POP of a segment register
    case 0x07:
    case 0x0e:
    case 0x16:
    case 0x17:
    case 0x1e:
    case 0x1f:
    case 0x50 ... 0x5f: // PUSH, POP
    case 0x68:
    case 0x6a:
    case 0x9c: // PUSHF, POPF
    case 0x9d:
    case 0xc2: // RET
    case 0xc3:
    case 0xc9:                                          // LEAVE
    case 0xe8: return (struct reach){0, width};         // CALL
    case 0x60: return (struct reach){7 * width, width}; // PUSHA
    case 0x61: return (struct reach){0, 8 * width};     // POPA
    case 0x9a: return (struct reach){5 * width, width}; // far CALL, perhaps by a gate
    case 0xca: return (struct reach){0, 4 * width};     // far RET
    case 0xcb: return (struct reach){0, 4 * width};
    case 0xcf:
        return (struct reach){0,
                              (width == 8 ? 5 : 9) * width}; // IRET, perhaps to virtual-8086 mode
    }
    return (struct reach){0, UNKNOWN};
}

struct reach reach_of_instruction(const uint8_t *bytes, size_t n, enum decode_mode mode) {
    struct instruction insn;
    if (decode(bytes, n, mode, &insn) == 0) {
        bool extends = insn.op == OP_MOVZX || insn.op == OP_MOVSX;
        return (struct reach){0, extends ? insn.source_size : insn.size};
    }
    bool narrow = false;
    size_t i = 0;
    for (; i + 2 < n; i++) {
        bool rex = mode == DECODE_64 && (bytes[i] & 0xf0) == 0x40;
        bool segment = (bytes[i] & 0xe7) == 0x26 || (bytes[i] & 0xfe) == 0x64;
        bool other = (bytes[i] & 0xfe) == 0xf2 || bytes[i] == 0xf0 || (bytes[i] & 0xfe) == 0x66;
        narrow |= bytes[i] == 0x66;
        if (!rex && !segment && !other)
            break;
    }
    if (i + 2 >= n)
        return (struct reach){0, UNKNOWN};
    const uint8_t *at = bytes + i;
    unsigned width = mode == DECODE_64 ? (narrow ? 2 : 8) : (mode == DECODE_32) != narrow ? 4 : 2;
    if (at[0] == 0x0f && (at[1] == 0xae || at[1] == 0x01))
        return (struct reach){0, state_size(at[1], at[2])};
    if (at[0] == 0xff && (at[1] & 0x08) == 0) // near CALL and JMP through memory: it, or the stack
        return (struct reach){0, mode == DECODE_64 ? 8 : width};
    return stack_access(at[0], width);
}

// ---- exits -------------------------------------------------------------------------------------
static struct reach reach_of_rip(struct vcpu *v) {
    uint8_t bytes[15];
    uint64_t gpa;
    uint32_t error;
    vcpu_sync(v, PART_RIP | PART_SEGMENTS | PART_CR);
    bool long_mode = v->efer & EFER_LMA && v->seg[SEG_CS].l;
    uint64_t linear = long_mode ? v->rip : (uint32_t)(v->rip + v->seg[SEG_CS].base);
    size_t n = MIN(sizeof(bytes), PAGE_SIZE - linear % PAGE_SIZE);
    if (vcpu_translate(v, linear, ACCESS_EXEC, vcpu_cpl(v) == 3, &gpa, &error) ||
        vm_read(v->vm, gpa, bytes, n))
        return (struct reach){0, UNKNOWN};
    return reach_of_instruction(bytes, n,
                                long_mode           ? DECODE_64
                                : v->seg[SEG_CS].db ? DECODE_32
                                                    : DECODE_16);
}

// The delivery of an event reads a gate, descriptors and stack pointers, and pushes a frame.
static struct reach reach_of_delivery(struct vcpu *v, const struct vm_exit *e) {
    vcpu_sync(v, PART_SEGMENTS | PART_CR);
    bool long_mode = v->efer & EFER_LMA;
    bool error = v->event.exception_pending && v->event.exception_has_error;
    if (e->memory.write && long_mode) // SS, RSP, RFLAGS, CS, RIP, error code
        return (struct reach){(error ? 5 : 4) * 8, 8};
    if (e->memory.write) // from virtual-8086 mode nine and the code; in real mode three of 16 bits
        return v->cr0 & CR0_PE ? (struct reach){9 * 4, 4} : (struct reach){4, 2};
    bool gate = e->memory.gva_valid && e->memory.gva - v->idt.base <= v->idt.limit;
    return (struct reach){0, gate && long_mode ? 16 : 8};
}

struct reach reach_of(struct vcpu *v, const struct vm_exit *e) {
    if (e->memory.execute)
        return (struct reach){0, 1};
    if (e->memory.page_walk)
        return (struct reach){0, WALK_SIZE};
    struct reach r = e->vectoring ? reach_of_delivery(v, e) : reach_of_rip(v);
    r.before = MIN(r.before, (unsigned)(e->memory.gpa % PAGE_SIZE));
    return r;
}
