/* sources: vmm/decode.c vmm/decode_tables.c */
// The instruction decoder against GNU as and objdump: tests/tools/decode_corpus.py assembles some ten
// thousand instructions and says what objdump thinks of each.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "vmm/decode.h"

static const char *const names[OP_COUNT] = {
    [OP_MOV] = "mov",     [OP_MOVZX] = "movzx", [OP_MOVSX] = "movsx",
    [OP_STOS] = "stos",   [OP_MOVS] = "movs",   [OP_LODS] = "lods",
    [OP_CMPS] = "cmps",   [OP_SCAS] = "scas",   [OP_CMP] = "cmp",
    [OP_TEST] = "test",   [OP_AND] = "and",     [OP_OR] = "or",
    [OP_XOR] = "xor",     [OP_ADD] = "add",     [OP_SUB] = "sub",
    [OP_ADC] = "adc",     [OP_SBB] = "sbb",     [OP_INC] = "inc",
    [OP_DEC] = "dec",     [OP_NOT] = "not",     [OP_NEG] = "neg",
    [OP_XCHG] = "xchg",   [OP_XADD] = "xadd",   [OP_CMPXCHG] = "cmpxchg",
    [OP_BT] = "bt",       [OP_BTS] = "bts",     [OP_BTR] = "btr",
    [OP_BTC] = "btc",     [OP_INS] = "ins",     [OP_OUTS] = "outs",
    [OP_PUSH] = "push",   [OP_POP] = "pop",     [OP_MOVNTI] = "movnti",
    [OP_MOVBE] = "movbe", [OP_ROL] = "rol",     [OP_ROR] = "ror",
    [OP_RCL] = "rcl",     [OP_RCR] = "rcr",     [OP_SHL] = "shl",
    [OP_SHR] = "shr",     [OP_SAR] = "sar",     [OP_IMUL] = "imul",
    [OP_SETCC] = "set",   [OP_CMOV] = "cmov",   [OP_MOVXMM] = "movxmm",
    [OP_SHLD] = "shld",   [OP_SHRD] = "shrd",   [OP_CMPXCHG_PAIR] = "cmpxchgpair",
};

struct expected {
    int mode, size, source_size, address_size, segment, base, index, scale, rip, dst_reg, dst_high,
        src_reg, src_high;
    int rep, repne, lock, condition;
    long long count;
    long long displacement;
    unsigned long long imm;
    char hex[40], name[16], dst, src;
};

static bool parse(const char *line, struct expected *e) {
    return sscanf(
               line,
               "%d %39s %15s %d %d %d %d %d %d %d %lld %d %c %d %d %c %d %d %llu %d %d %d %d %lld",
               &e->mode, e->hex, e->name, &e->size, &e->source_size, &e->address_size, &e->segment,
               &e->base, &e->index, &e->scale, &e->displacement, &e->rip, &e->dst, &e->dst_reg,
               &e->dst_high, &e->src, &e->src_reg, &e->src_high, &e->imm, &e->rep, &e->repne,
               &e->lock, &e->condition, &e->count) == 24;
}

static unsigned parse_hex(const char *hex, uint8_t *bytes) {
    unsigned n = 0;
    for (unsigned value; hex[2 * n] && sscanf(hex + 2 * n, "%2x", &value) == 1; n++)
        bytes[n] = (uint8_t)value;
    return n;
}

static char kind(const struct operand *o) {
    return "-rmix"[o->kind];
}

static int reg_of(const struct operand *o) {
    if (o->kind != OPERAND_REG && o->kind != OPERAND_XMM)
        return -1;
    return o->reg;
}

static uint64_t low(uint64_t value, unsigned size) {
    return size >= 8 ? value : value & ((1ull << 8 * size) - 1);
}

// As the corpus has it.
static long long count_of(const struct instruction *i) {
    const struct operand *o = &i->third;
    if (o->kind != OPERAND_IMM)
        return o->kind == OPERAND_NONE ? -1 : 256;
    return (long long)low(o->imm, i->op != OP_IMUL ? 1 : i->size > 4 ? 4 : i->size);
}

#define SAME(what, got, want)                                                            \
    do {                                                                                 \
        if ((long long)(got) != (long long)(want)) {                                     \
            print_error("%s: %s is %lld, objdump: %lld\n", line, what, (long long)(got), \
                        (long long)(want));                                              \
            return false;                                                                \
        }                                                                                \
    } while (0)

static bool same(const char *line, const struct expected *e, const struct instruction *i,
                 unsigned n) {
    const char *name = i->vex ? "vmovxmm" : names[i->op];
    if (!name || strcmp(name, e->name)) {
        print_error("%s: operation is %s\n", line, name ? name : "?");
        return false;
    }
    SAME("length", i->length, n);
    SAME("size", i->size, e->size);
    SAME("address size", i->address_size, e->address_size);
    SAME("segment", i->segment, e->segment);
    if (e->source_size)
        SAME("source size", i->source_size, e->source_size);
    // Two registers without a scale may be named in either order.
    bool swapped = i->scale == 1 && e->scale == 1 && i->index == e->base && i->base == e->index;
    if (!swapped) {
        SAME("base", i->base, e->base);
        SAME("index", i->index, e->index);
    }
    SAME("scale", i->scale, e->scale);
    SAME("displacement", i->displacement, e->displacement);
    SAME("RIP-relative", i->rip_relative, e->rip);
    SAME("kind of dst", kind(&i->dst), e->dst);
    SAME("kind of src", kind(&i->src), e->src);
    SAME("register of dst", reg_of(&i->dst), e->dst_reg);
    SAME("register of src", reg_of(&i->src), e->src_reg);
    SAME("high byte of dst", i->dst.high_byte, e->dst_high);
    SAME("high byte of src", i->src.high_byte, e->src_high);
    if (e->src == 'i')
        SAME("immediate", low(i->src.imm, e->size), e->imm);
    SAME("REP", i->rep, e->rep);
    SAME("REPNE", i->repne, e->repne);
    SAME("LOCK", i->lock, e->lock);
    SAME("count", count_of(i), e->count);
    if (!strcmp(e->name, "set") || !strcmp(e->name, "cmov"))
        SAME("condition", i->condition, e->condition);
    return true;
}

static bool check(const char *line) {
    struct expected e;
    struct instruction i;
    uint8_t bytes[16] = {0};
    if (!parse(line, &e)) {
        print_error("cannot read: %s", line);
        return false;
    }
    unsigned n = parse_hex(e.hex, bytes);
    enum decode_mode mode = e.mode == 64 ? DECODE_64 : e.mode == 32 ? DECODE_32 : DECODE_16;
    int r = decode(bytes, n, mode, &i);
    if (r) {
        print_error("%s: %d\n", line, r);
        return false;
    }
    for (unsigned k = 0; k < n; k++) // too few bytes: more are asked for, never a wrong answer
        SAME("result for a part", decode(bytes, k, mode, &i), -EAGAIN);
    return decode(bytes, 15, mode, &i) == 0 && same(line, &e, &i, n);
}

static void test_corpus(void **state) {
    FILE *corpus = popen("python3 tests/tools/decode_corpus.py", "r");
    assert_non_null(corpus);
    char line[256];
    unsigned lines = 0, wrong = 0;
    bool seen[OP_COUNT] = {false};
    while (fgets(line, sizeof(line), corpus)) {
        line[strcspn(line, "\n")] = 0;
        lines++;
        wrong += !check(line);
        for (unsigned op = 0; op < OP_COUNT; op++)
            seen[op] |= names[op] && strstr(line, names[op]);
    }
    assert_int_equal(pclose(corpus), 0);
    assert_true(lines > 8000);
    assert_int_equal(wrong, 0);
    for (unsigned op = 0; op < OP_COUNT; op++)
        assert_true(seen[op]);
}

// ---- what as does not write ------------------------------------------------------------------------
static int result(const char *hex, enum decode_mode mode, struct instruction *i) {
    uint8_t bytes[16] = {0};
    return decode(bytes, parse_hex(hex, bytes), mode, i);
}

static void test_refused(void **state) {
    struct instruction i;
    assert_int_equal(result("89d8", DECODE_64, &i), -EINVAL);   // mov eax, ebx: no memory
    assert_int_equal(result("f08b03", DECODE_64, &i), -EINVAL); // lock mov
    assert_int_equal(result("f08303", DECODE_64, &i), -EAGAIN);
    assert_int_equal(result("f0833b05", DECODE_64, &i), -EINVAL); // lock cmp
    assert_int_equal(result("0f0b", DECODE_64, &i), -EINVAL);     // ud2
    assert_int_equal(result("820005", DECODE_64, &i), -EINVAL);   // invalid in 64-bit mode
    assert_int_equal(result("820005", DECODE_32, &i), 0);
    assert_int_equal(result("6303", DECODE_32, &i), -EINVAL); // arpl
    assert_int_equal(result("fe30", DECODE_64, &i), -EINVAL); // push of a byte
    assert_int_equal(result("8f4001", DECODE_64, &i), 0);
    assert_int_equal(result("f20f38f103", DECODE_64, &i), -EINVAL); // crc32
    assert_int_equal(result("660fc303", DECODE_64, &i), -EINVAL);
    assert_int_equal(result("0f6f03", DECODE_64, &i), -EINVAL);     // MMX
    assert_int_equal(result("f00fa4030b", DECODE_64, &i), -EINVAL); // lock shld
    assert_int_equal(result("0fa4c30b", DECODE_64, &i), -EINVAL);   // shld of registers
    assert_int_equal(result("0fc703", DECODE_64, &i), -EINVAL);     // no member of the group
    assert_int_equal(result("0fc7c8", DECODE_64, &i), -EINVAL);     // cmpxchg8b of a register
}

static void test_vex_refused(void **state) {
    struct instruction i;
    assert_int_equal(result("c5fe6f03", DECODE_64, &i), 0); // vmovdqu ymm0, [rbx]
    assert_true(i.vex && !i.aligned);
    assert_int_equal(i.size, 32);
    assert_int_equal(result("64c5fe6f03", DECODE_64, &i), 0);
    assert_int_equal(result("67c5fe6f03", DECODE_64, &i), 0);
    const char *prefixes[] = {"66c5fe6f03", "f0c5fe6f03", "f2c5fe6f03", "f3c5fe6f03", "48c5fe6f03"};
    for (unsigned k = 0; k < 5; k++)
        assert_int_equal(result(prefixes[k], DECODE_64, &i), -EINVAL);
    assert_int_equal(result("c5f66f03", DECODE_64, &i), -EINVAL);   // vvvv names a register
    assert_int_equal(result("c5fc6f03", DECODE_64, &i), -EINVAL);   // no pp
    assert_int_equal(result("c5fe6fc3", DECODE_64, &i), -EINVAL);   // registers only
    assert_int_equal(result("c4e27e6f03", DECODE_64, &i), -EINVAL); // map 0F 38
    assert_int_equal(result("c5fd6e03", DECODE_64, &i), -EINVAL);   // vmovd with L
    assert_int_equal(result("c5fe7e03", DECODE_64, &i), -EINVAL);   // vmovq with L
    assert_int_equal(result("c5fe1003", DECODE_64, &i), 0);         // vmovss ignores it
    assert_int_equal(i.size, 4);
    assert_int_equal(result("c57e6f03", DECODE_32, &i), -EINVAL);   // lds
    assert_int_equal(result("c4417e6f03", DECODE_32, &i), -EINVAL); // les
    assert_int_equal(result("c4c1fa6f03", DECODE_32, &i), 0);       // B and W mean nothing there
    assert_int_equal(i.base, 3);
}

static void test_prefixes(void **state) {
    struct instruction i;
    assert_int_equal(result("48668903", DECODE_64, &i), 0); // REX that does not count
    assert_int_equal(i.size, 2);
    assert_int_equal(result("66488903", DECODE_64, &i), 0);
    assert_int_equal(i.size, 8);
    assert_int_equal(result("642e8b03", DECODE_64, &i), 0); // CS means nothing in 64-bit mode
    assert_int_equal(i.segment, 4);
    assert_int_equal(result("642e8b03", DECODE_32, &i), 0); // the last one counts
    assert_int_equal(i.segment, 1);
    assert_int_equal(result("660fc70b", DECODE_64, &i), 0); // cmpxchg8b has one size
    assert_int_equal(i.size, 8);
    assert_false(i.aligned);
    assert_int_equal(result("f3f0480fc70b", DECODE_64, &i), 0); // with the hint to release a lock
    assert_true(i.lock && i.aligned);
    assert_int_equal(i.size, 16);
    assert_int_equal(result("f2f3a4", DECODE_64, &i), 0);
    assert_true(i.rep && !i.repne);
    assert_int_equal(result("6666666666666666666666668b03", DECODE_64, &i), 0); // 14 bytes
    assert_int_equal(result("6666666666666666666666666666668b", DECODE_64, &i), -EINVAL);
    assert_int_equal(result("66666666666666666666666666668b", DECODE_64, &i),
                     -EINVAL); // would be 16
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_vex_refused),
        cmocka_unit_test(test_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
