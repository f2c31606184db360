#include "replay/gdb/registers.h"
#include <assert.h>
#include <string.h>
#include "replay/gdb/description.h"

// A register of `bits` bits for gdb that lies in `size` bytes at `offset` of struct target_registers.
#define AT(field)                 offsetof(struct target_registers, field), FIELD_SIZE(field)
#define FIELD_SIZE(field)         sizeof(((struct target_registers *)0)->field)
#define GENERAL(n)                AT(general[n])
#define SELECTOR(s)               AT(segments[s].selector)
#define BASE(s)                   AT(segments[s].base)
#define LOW_HALF(field)           offsetof(struct target_registers, field), 4
#define HIGH_HALF(field)          offsetof(struct target_registers, field) + 4, 4
#define CORE(name, bits, type)    name, type, "general", FEATURE_CORE, bits
#define X87(name)                 name, "int", "float", FEATURE_CORE, 32
#define SYSTEM(name, bits)        name, "uint" #bits, "system", FEATURE_SYSTEM, bits
#define CONTROL(name, bits, type) name, type, "general", FEATURE_SYSTEM, bits

// clang-format off
#define SEGMENTS_AND_X87                                                                            \
    {CORE("cs", 32, "int32"), SELECTOR(TARGET_CS)}, {CORE("ss", 32, "int32"), SELECTOR(TARGET_SS)}, \
    {CORE("ds", 32, "int32"), SELECTOR(TARGET_DS)}, {CORE("es", 32, "int32"), SELECTOR(TARGET_ES)}, \
    {CORE("fs", 32, "int32"), SELECTOR(TARGET_FS)}, {CORE("gs", 32, "int32"), SELECTOR(TARGET_GS)}, \
    ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),                                         \
    {X87("fctrl"), AT(fcw)}, {X87("fstat"), AT(fsw)}, {X87("ftag"), AT(ftw)},                       \
    {X87("fiseg"), HIGH_HALF(fip)}, {X87("fioff"), LOW_HALF(fip)},                                  \
    {X87("foseg"), HIGH_HALF(fdp)}, {X87("fooff"), LOW_HALF(fdp)}, {X87("fop"), AT(fop)}
#define ST(n)    {"st" #n, "i387_ext", NULL, FEATURE_CORE, 80, offsetof(struct target_registers, st[n]), 10}
#define XMM(n)   {"xmm" #n, "vec128", NULL, FEATURE_SSE, 128, offsetof(struct target_registers, ymm[n]), 16}
#define YMM_H(n) {"ymm" #n "h", "uint128", NULL, FEATURE_AVX, 128, offsetof(struct target_registers, ymm[n]) + 16, 16}
#define MXCSR    {"mxcsr", "i386_mxcsr", "vector", FEATURE_SSE, 32, AT(mxcsr)}
#define CONTROL_REGISTERS(bits)                                                                     \
    {CONTROL("cr0", bits, "cr0_flags"), AT(cr0)}, {CONTROL("cr2", bits, "uint" #bits), AT(cr2)},    \
    {CONTROL("cr3", bits, "uint" #bits), AT(cr3)}, {CONTROL("cr4", bits, "cr4_flags"), AT(cr4)},    \
    {CONTROL("efer", bits, "efer_flags"), AT(efer)}
#define SEGMENT_BASES(bits)                                                                         \
    {SYSTEM("cs_base", bits), BASE(TARGET_CS)}, {SYSTEM("ss_base", bits), BASE(TARGET_SS)},         \
    {SYSTEM("ds_base", bits), BASE(TARGET_DS)}, {SYSTEM("es_base", bits), BASE(TARGET_ES)}

static const struct description_register x86_64[] = {
    {CORE("rax", 64, "int64"), GENERAL(0)}, {CORE("rbx", 64, "int64"), GENERAL(3)},
    {CORE("rcx", 64, "int64"), GENERAL(1)}, {CORE("rdx", 64, "int64"), GENERAL(2)},
    {CORE("rsi", 64, "int64"), GENERAL(6)}, {CORE("rdi", 64, "int64"), GENERAL(7)},
    {CORE("rbp", 64, "data_ptr"), GENERAL(5)}, {CORE("rsp", 64, "data_ptr"), GENERAL(4)},
    {CORE("r8", 64, "int64"), GENERAL(8)}, {CORE("r9", 64, "int64"), GENERAL(9)},
    {CORE("r10", 64, "int64"), GENERAL(10)}, {CORE("r11", 64, "int64"), GENERAL(11)},
    {CORE("r12", 64, "int64"), GENERAL(12)}, {CORE("r13", 64, "int64"), GENERAL(13)},
    {CORE("r14", 64, "int64"), GENERAL(14)}, {CORE("r15", 64, "int64"), GENERAL(15)},
    {CORE("rip", 64, "code_ptr"), AT(rip)}, {CORE("eflags", 32, "i386_eflags"), AT(rflags)},
    SEGMENTS_AND_X87,
    {"fs_base", "int", NULL, FEATURE_SEGMENTS, 64, BASE(TARGET_FS)},
    {"gs_base", "int", NULL, FEATURE_SEGMENTS, 64, BASE(TARGET_GS)},
    XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
    XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15), MXCSR,
    YMM_H(0), YMM_H(1), YMM_H(2), YMM_H(3), YMM_H(4), YMM_H(5), YMM_H(6), YMM_H(7),
    YMM_H(8), YMM_H(9), YMM_H(10), YMM_H(11), YMM_H(12), YMM_H(13), YMM_H(14), YMM_H(15),
    {CONTROL("k_gs_base", 64, "uint64"), AT(gs_kernel_base)}, CONTROL_REGISTERS(64),
    {CONTROL("cr8", 64, "uint64"), AT(cr8)}, SEGMENT_BASES(64),
};
static const struct description_register i386[] = {
    {CORE("eax", 32, "int32"), GENERAL(0)}, {CORE("ecx", 32, "int32"), GENERAL(1)},
    {CORE("edx", 32, "int32"), GENERAL(2)}, {CORE("ebx", 32, "int32"), GENERAL(3)},
    {CORE("esp", 32, "data_ptr"), GENERAL(4)}, {CORE("ebp", 32, "data_ptr"), GENERAL(5)},
    {CORE("esi", 32, "int32"), GENERAL(6)}, {CORE("edi", 32, "int32"), GENERAL(7)},
    {CORE("eip", 32, "code_ptr"), AT(rip)}, {CORE("eflags", 32, "i386_eflags"), AT(rflags)},
    SEGMENTS_AND_X87,
    XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7), MXCSR,
    YMM_H(0), YMM_H(1), YMM_H(2), YMM_H(3), YMM_H(4), YMM_H(5), YMM_H(6), YMM_H(7),
    CONTROL_REGISTERS(32), SEGMENT_BASES(32),
    {SYSTEM("fs_base", 32), BASE(TARGET_FS)}, {SYSTEM("gs_base", 32), BASE(TARGET_GS)},
};
// clang-format on
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

// What gdb demands of its features: general, RIP, EFLAGS, segments, x87; bases; XMM and MXCSR; YMM. Then ours.
static_assert(COUNT(x86_64) == 16 + 2 + 6 + 16 + 2 + 17 + 16 + 1 + 5 + 1 + 4, "x86-64 registers");
static_assert(COUNT(i386) == 8 + 2 + 6 + 16 + 9 + 8 + 5 + 4 + 2, "i386 registers");

static const struct layout {
    const char *name; // for gdb's `set architecture`
    const struct description_register *table;
    unsigned count;
    uint8_t first[4]; // RBP, RSP, RIP
} layouts[] = {
    [GDB_ARCH_X86_64] = {"i386:x86-64", x86_64, COUNT(x86_64), {6, 7, 16, REGISTERS_END}},
    [GDB_ARCH_I386] = {"i386", i386, COUNT(i386), {5, 4, 8, REGISTERS_END}},
    [GDB_ARCH_I8086] = {"i8086", i386, COUNT(i386), {5, 4, 8, REGISTERS_END}},
};

bool gdb_arch_parse(const char *name, enum gdb_arch *arch) {
    for (unsigned i = 0; i < COUNT(layouts); i++) {
        const char *full = layouts[i].name, *colon = strchr(full, ':');
        if (!strcmp(name, full) || (colon && !strcmp(name, colon + 1))) {
            *arch = (enum gdb_arch)i;
            return true;
        }
    }
    return false;
}

const char *registers_arch_name(enum gdb_arch arch) {
    return layouts[arch].name;
}

const uint8_t *registers_first(enum gdb_arch arch) {
    return layouts[arch].first;
}

unsigned registers_count(enum gdb_arch arch) {
    return layouts[arch].count;
}

size_t registers_size(enum gdb_arch arch, unsigned number) {
    return number < layouts[arch].count ? layouts[arch].table[number].bits / 8 : 0;
}

// ---- the x87 tag word ------------------------------------------------------------------------------
// FXSAVE keeps one bit for each register (not empty); gdb wants the two bits of FSAVE. SDM vol. 1, "x87 FPU Tag
// Word" and vol. 2, FXSAVE, "Recreating FSAVE format".
enum { TAG_VALID, TAG_ZERO, TAG_SPECIAL, TAG_EMPTY };

static unsigned tag_of(const uint8_t st[16]) {
    uint64_t significand;
    uint16_t exponent;
    memcpy(&significand, st, 8);
    memcpy(&exponent, st + 8, 2);
    exponent &= 0x7fff;
    if (exponent == 0)
        return significand == 0 ? TAG_ZERO : TAG_SPECIAL;
    return exponent == 0x7fff || !(significand >> 63) ? TAG_SPECIAL : TAG_VALID;
}

static uint16_t full_tags(const struct target_registers *r) {
    unsigned top = r->fsw >> 11 & 7, tags = 0;
    for (unsigned physical = 0; physical < 8; physical++) {
        bool used = r->ftw >> physical & 1;
        unsigned tag = used ? tag_of(r->st[(physical - top) & 7]) : TAG_EMPTY;
        tags |= tag << 2 * physical;
    }
    return (uint16_t)tags;
}

static uint16_t short_tags(unsigned tags) {
    unsigned used = 0;
    for (unsigned physical = 0; physical < 8; physical++)
        if ((tags >> 2 * physical & 3) != TAG_EMPTY)
            used |= 1u << physical;
    return (uint16_t)used;
}

// gdb sees something else than the machine has.
static bool is_converted(const struct description_register *d) {
    return d->offset == offsetof(struct target_registers, ftw) ||
           d->offset == offsetof(struct target_registers, rip);
}

// ---- values ------------------------------------------------------------------------------------------
static size_t common_size(const struct description_register *d) {
    return d->size < d->bits / 8 ? d->size : d->bits / 8;
}

void registers_get(enum gdb_arch arch, unsigned number, const struct target_registers *r,
                   uint8_t value[REGISTER_BYTES_MAX]) {
    const struct description_register *d = &layouts[arch].table[number];
    struct target_registers shown;
    shown.ftw = full_tags(r);
    shown.rip = target_linear_rip(r);
    const struct target_registers *from = is_converted(d) ? &shown : r;
    memset(value, 0, REGISTER_BYTES_MAX);
    memcpy(value, (const char *)from + d->offset, common_size(d));
}

void registers_set(enum gdb_arch arch, unsigned number, struct target_registers *r,
                   const uint8_t value[REGISTER_BYTES_MAX]) {
    const struct description_register *d = &layouts[arch].table[number];
    char *to = (char *)r + d->offset;
    memset(to, 0, d->size);
    memcpy(to, value, common_size(d));
    if (d->offset == offsetof(struct target_registers, ftw))
        r->ftw = short_tags(r->ftw);
    else if (d->offset == offsetof(struct target_registers, rip))
        target_set_linear_rip(r, r->rip);
}

size_t registers_description(enum gdb_arch arch, char *xml, size_t n) {
    const struct layout *l = &layouts[arch];
    return description_write(l->name, l->table, l->count, xml, n);
}
