/* sources: vmm/emulate.c vmm/access.c vmm/fetch.c vmm/operate.c vmm/xmm.c vmm/decode.c vmm/decode_tables.c tests/unit/vmm_guest.c tests/unit/native.c tests/unit/vmm_mock.c */
// Emulated instructions against the processor: every 64-bit instruction of the decoder's corpus runs natively
// and in the emulator, with the same random registers, flags and memory, and must leave the same behind.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "native.h"
#include "vmm_guest.h"
#include "cpu/msr.h"
#include "vmm/decode.h"
#include "vmm/x86.h"

#define CODE_PAGES 4
#define DATA_PAGES 4
#define DATA       (CODE_PAGES * 4096)
#define REGION     (DATA + DATA_PAGES * 4096)
#define CODE_GPA   0x100000ull
#define DATA_GPA   0xfe000000ull
#define FLAGS      0x8d5ull // arithmetic
#define FLAG_DF    0x400ull
#define ROUNDS     3

// In the area of XSAVE: the XMM registers, and the upper halves of the YMM registers.
#define AREA_XMM    160
#define AREA_HEADER 512
#define AREA_YMM    576
#define AREA_VECTOR 256 // bytes of either

static uint8_t *region; // code, then data, as the processor uses them
static uint8_t emulated[DATA_PAGES * 4096] __attribute__((aligned(4096)));

static uint64_t seed = 0x9e3779b97f4a7c15;
static uint64_t any(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static bool is_string(const struct instruction *i) {
    return i->op >= OP_STOS && i->op <= OP_SCAS;
}

static bool testable(const struct instruction *i) {
    if (i->op == OP_INS || i->op == OP_OUTS || i->segment == SEG_FS)
        return false;
    if (i->vex && !__builtin_cpu_supports("avx"))
        return false;
    if ((i->op == OP_PUSH || i->op == OP_POP) && (i->base == GPR_RSP || i->index == GPR_RSP))
        return false;
    bool bit_string = i->op >= OP_BT && i->op <= OP_BTC && i->src.kind == OPERAND_REG;
    if (bit_string && (i->src.reg == i->base || i->src.reg == i->index))
        return false;
    bool absolute = i->base < 0 && i->index < 0 && !i->rip_relative;
    return !absolute && (i->base < 0 || i->base != i->index);
}

// Chooses registers such that the operand is at `target`. False: not possible for this form.
static bool aim(const struct instruction *i, uint64_t target, struct native *n, uint8_t **code) {
    uint64_t mask = i->address_size == 4 ? 0xffffffff : ~0ull;
    uint64_t rest = target - (uint64_t)i->displacement;
    if (i->rip_relative) {
        *code = (uint8_t *)(rest - i->length);
        return *code >= region && *code < region + DATA - 64;
    }
    if (i->index >= 0 && i->base >= 0) {
        n->gpr[i->index] = any() % 64;
        rest -= n->gpr[i->index] * i->scale;
    } else if (i->index >= 0) {
        n->gpr[i->index] = (rest & mask) / i->scale;
        return (rest & mask) % i->scale == 0;
    }
    n->gpr[i->base] = rest & mask;
    return true;
}

static uint64_t data_address(void) {
    uint64_t offset = 512 + any() % (sizeof(emulated) - 1024);
    if (any() % 4 == 0) // across a page
        offset = 4096 - any() % 8;
    return (uint64_t)region + DATA + offset;
}

static void random_state(struct native *n, const struct instruction *i) {
    for (unsigned r = 0; r < 16; r++)
        n->gpr[r] = any() >> (any() % 64);
    n->gpr[GPR_RSP] = data_address() & ~7ull;
    n->rflags = RFLAGS_FIXED | (any() & FLAGS) | (is_string(i) && any() % 2 ? FLAG_DF : 0);
    for (unsigned k = 0; k < AREA_VECTOR; k++) {
        n->xsave[AREA_XMM + k] = (uint8_t)any();
        n->xsave[AREA_YMM + k] = (uint8_t)any();
    }
    n->xsave[AREA_HEADER] = __builtin_cpu_supports("avx") ? 7 : 3; // these are valid
    n->gpr[GPR_RSI] = is_string(i) ? data_address() : n->gpr[GPR_RSI];
    n->gpr[GPR_RDI] = is_string(i) ? data_address() : n->gpr[GPR_RDI];
    if (i->rep || i->repne)
        n->gpr[GPR_RCX] = 1 + any() % 6;
    if (i->op >= OP_BT && i->op <= OP_BTC && i->src.kind == OPERAND_REG)
        n->gpr[i->src.reg] = any() % 2048 - 1024;
}

// ---- the emulator's side ---------------------------------------------------------------------------
static void to_guest(struct guest *g, const struct native *n, uint64_t rip) {
    memcpy(g->v.gpr, n->gpr, sizeof(n->gpr));
    g->v.rflags = n->rflags;
    g->v.rip = rip;
    memcpy(g->v.fpu, n->xsave, sizeof(n->xsave));
    g->v.cr4 = CR4_OSXSAVE;
    g->v.xcr0 = n->xsave[AREA_HEADER];
}

static uint64_t first_address(const struct native *n, const struct instruction *i,
                              uint64_t target) {
    if (!is_string(i))
        return i->op == OP_POP ? n->gpr[GPR_RSP] : target;
    return n->gpr[i->base] & (i->address_size == 4 ? 0xffffffff : ~0ull);
}

static bool emulate(struct guest *g, uint64_t rip, const struct instruction *i, uint64_t first) {
    uint64_t exits = 0;
    while (g->v.rip == rip && !g->exceptions && !g->reports && exits++ < 100) {
        int r = guest_mmio(g, first, i->dst.kind == OPERAND_MEM && i->op != OP_CMPS);
        if (r != 1)
            return false;
    }
    return g->v.rip == rip + i->length && !g->exceptions && !g->reports;
}

static bool compare(const char *line, const struct native *n, const struct guest *g) {
    bool same = true;
    for (unsigned r = 0; r < 16; r++)
        if (n->gpr[r] != g->v.gpr[r]) {
            print_error("%s: register %u is %llx, processor: %llx\n", line, r,
                        (unsigned long long)g->v.gpr[r], (unsigned long long)n->gpr[r]);
            same = false;
        }
    if ((n->rflags ^ g->v.rflags) & (FLAGS | FLAG_DF)) {
        print_error("%s: flags %llx, processor: %llx\n", line, (unsigned long long)g->v.rflags,
                    (unsigned long long)n->rflags);
        same = false;
    }
    if (memcmp(region + DATA, emulated, sizeof(emulated)) ||
        memcmp(n->xsave + AREA_XMM, (char *)g->v.fpu + AREA_XMM, AREA_VECTOR) ||
        memcmp(n->xsave + AREA_YMM, (char *)g->v.fpu + AREA_YMM, AREA_VECTOR)) {
        print_error("%s: memory or vector registers differ\n", line);
        same = false;
    }
    return same;
}

// Some of the data pages are memory, others devices; the one that exits is a device.
static void lay_out(struct guest *g, uint64_t exit_at) {
    guest_init(g);
    guest_add_memory(g, CODE_GPA, region, DATA, false);
    guest_map(g, (uint64_t)region, DATA, CODE_GPA);
    guest_map(g, (uint64_t)region + DATA, sizeof(emulated), DATA_GPA);
    uint64_t memory = any();
    for (unsigned p = 0; p < DATA_PAGES; p++)
        guest_add_memory(g, DATA_GPA + p * 4096, emulated + p * 4096, 4096,
                         (memory >> p & 1) || p == (exit_at - (uint64_t)region - DATA) / 4096);
}

// Half of the times, what is compared with memory is equal. False: the operand cannot be aimed then.
static bool fill_accumulator(const struct instruction *i, uint64_t target, struct native *n,
                             uint8_t **code) {
    bool pair = i->op == OP_CMPXCHG_PAIR;
    const uint8_t *at = emulated + (target - (uint64_t)region - DATA);
    if ((!pair && i->op != OP_CMPXCHG) || any() % 2)
        return true;
    memcpy(&n->gpr[GPR_RAX], at, pair ? i->size / 2 : 8);
    if (pair)
        memcpy(&n->gpr[GPR_RDX], at + i->size / 2, i->size / 2);
    bool in_address = i->base == GPR_RAX || i->index == GPR_RAX || i->base == GPR_RDX ||
                      i->index == GPR_RDX;
    return !in_address || aim(i, target, n, code);
}

static bool run_both(const char *line, const uint8_t *bytes, const struct instruction *i,
                     bool *done) {
    struct native n = {0};
    memset(&n, 0, sizeof(n));
    __asm__ volatile("fxsave64 %0" : "=m"(n.xsave));
    uint64_t target = data_address();
    uint8_t *code = region + 64 + any() % (DATA - 256);
    if (i->aligned)
        target &= -(uint64_t)i->size;
    random_state(&n, i);
    *done = false;
    if (!is_string(i) && !aim(i, target, &n, &code))
        return true;
    for (unsigned k = 0; k < sizeof(emulated); k += 8)
        memcpy(emulated + k, &(uint64_t){any()}, 8);
    if (!fill_accumulator(i, target, &n, &code))
        return true;
    memcpy(region + DATA, emulated, sizeof(emulated));
    memcpy(code, bytes, i->length);
    uint64_t first = first_address(&n, i, target), rcx = n.gpr[GPR_RCX];
    struct guest g;
    lay_out(&g, first);
    to_guest(&g, &n, (uint64_t)code);
    native_run(&n, code, i->length);
    bool repeated = i->rep || i->repne, ok = emulate(&g, (uint64_t)code, i, first);
    if (!ok)
        print_error("%s: not carried out: %u exceptions (%u), %u reports, rip + %lld\n", line,
                    g.exceptions, g.vector, g.reports, (long long)(g.v.rip - (uint64_t)code));
    else
        ok = compare(line, &n, &g);
    uint64_t iterations = is_string(i) && repeated ? rcx - n.gpr[GPR_RCX] : 1;
    if (ok && g.v.count != iterations) {
        print_error("%s: counted %llu for %llu\n", line, (unsigned long long)g.v.count,
                    (unsigned long long)iterations);
        ok = false;
    }
    guest_free(&g);
    *done = true;
    return ok;
}

static unsigned parse_hex(const char *hex, uint8_t *bytes) {
    unsigned n = 0;
    for (unsigned value; sscanf(hex + 2 * n, "%2x", &value) == 1 && hex[2 * n] != ' '; n++)
        bytes[n] = (uint8_t)value;
    return n;
}

static void test_against_processor(void **state) {
    FILE *corpus = popen("python3 tests/tools/decode_corpus.py", "r");
    assert_non_null(corpus);
    char line[256];
    unsigned tested[OP_COUNT] = {0}, tested_avx = 0, wrong = 0;
    region = native_memory(REGION);
    while (fgets(line, sizeof(line), corpus)) {
        uint8_t bytes[16] = {0};
        struct instruction i;
        bool done;
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "64 ", 3))
            continue;
        parse_hex(line + 3, bytes);
        assert_int_equal(decode(bytes, 15, DECODE_64, &i), 0);
        for (unsigned k = 0; k < ROUNDS && testable(&i); k++) {
            wrong += !run_both(line, bytes, &i, &done);
            tested[i.op] += done;
            tested_avx += done && i.vex;
        }
    }
    pclose(corpus);
    assert_int_equal(wrong, 0);
    for (unsigned op = 0; op < OP_COUNT; op++)
        if (op != OP_INS && op != OP_OUTS)
            assert_true(tested[op] > 10);
    assert_true(tested_avx > 100 || !__builtin_cpu_supports("avx"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
