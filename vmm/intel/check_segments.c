// SDM vol. 3, "Checks on Guest Segment Registers".
#include "vmm/intel/check_segments.h"
#include "vmm/intel/vmcs.h"
#include "vmm/x86.h"

struct segment {
    uint64_t selector, base, limit, rights;
};
enum { ES, CS, SS, DS, FS, GS, LDTR, TR, COUNT };
static const char *const parts[4][COUNT] = {
#define NAMES(part)                                                                               \
    {                                                                                             \
        "GUEST_ES_" part, "GUEST_CS_" part, "GUEST_SS_" part, "GUEST_DS_" part, "GUEST_FS_" part, \
            "GUEST_GS_" part, "GUEST_LDTR_" part, "GUEST_TR_" part                                \
    }
    NAMES("SELECTOR"), NAMES("BASE"), NAMES("LIMIT"), NAMES("RIGHTS")};
static const uint32_t fields[4] = {GUEST_ES_SELECTOR, GUEST_ES_BASE, GUEST_ES_LIMIT,
                                   GUEST_ES_RIGHTS};
enum { SELECTOR, BASE, LIMIT, RIGHTS };

// What the checks look at, gathered once.
struct view {
    struct vmcs_check *c;
    struct segment s[COUNT];
    bool v8086, guest64, unrestricted, protected;
};

static bool broken(const struct view *w, unsigned part, unsigned i, const char *rule) {
    uint32_t field = fields[part] + 2 * i;
    return check_broken(w->c, field, parts[part][i], check_read(w->c, field), rule);
}

static unsigned type_of(const struct segment *s) {
    return s->rights & 15;
}
static unsigned dpl_of(const struct segment *s) {
    return s->rights >> 5 & 3;
}
static bool usable(const struct segment *s) {
    return !(s->rights & BIT(16));
}
static bool bit(const struct segment *s, unsigned n) {
    return s->rights >> n & 1;
}

static bool check_selectors(const struct view *w) {
    const struct segment *s = w->s;
    if (s[TR].selector & 4)
        return broken(w, SELECTOR, TR, "the table indicator (bit 2) is 0");
    if (usable(&s[LDTR]) && (s[LDTR].selector & 4))
        return broken(w, SELECTOR, LDTR, "the table indicator (bit 2) is 0");
    if (!w->v8086 && !w->unrestricted && (s[SS].selector & 3) != (s[CS].selector & 3))
        return broken(w, SELECTOR, SS, "RPL is that of CS");
    return false;
}

static bool check_bases(const struct view *w) {
    const struct segment *s = w->s;
    if (w->v8086)
        for (unsigned i = ES; i <= GS; i++)
            if (s[i].base != s[i].selector << 4)
                return broken(w, BASE, i, "the selector times 16 in virtual-8086 mode");
    static const uint8_t full[] = {TR, FS, GS};
    for (unsigned i = 0; i < ARRAY_SIZE(full); i++)
        if (!canonical(s[full[i]].base))
            return broken(w, BASE, full[i], "canonical");
    if (usable(&s[LDTR]) && !canonical(s[LDTR].base))
        return broken(w, BASE, LDTR, "canonical");
    if (s[CS].base >> 32)
        return broken(w, BASE, CS, "bits 63:32 are 0");
    static const uint8_t flat[] = {SS, DS, ES};
    for (unsigned i = 0; i < ARRAY_SIZE(flat); i++)
        if (usable(&s[flat[i]]) && s[flat[i]].base >> 32)
            return broken(w, BASE, flat[i], "bits 63:32 are 0");
    return false;
}

static bool check_v8086(const struct view *w) {
    for (unsigned i = ES; i <= GS; i++) {
        if (w->s[i].limit != 0xffff)
            return broken(w, LIMIT, i, "0xffff in virtual-8086 mode");
        if (w->s[i].rights != 0xf3)
            return broken(w, RIGHTS, i, "0xf3 in virtual-8086 mode");
    }
    return false;
}

static bool check_cs(const struct view *w) {
    const struct segment *cs = &w->s[CS], *ss = &w->s[SS];
    unsigned type = type_of(cs);
    if (type != 9 && type != 11 && type != 13 && type != 15 && !(type == 3 && w->unrestricted))
        return broken(w, RIGHTS, CS, "type 9, 11, 13 or 15 (accessed code), or 3 if unrestricted");
    if (type == 3 && dpl_of(cs) != 0)
        return broken(w, RIGHTS, CS, "DPL 0 for type 3");
    if ((type == 9 || type == 11) && dpl_of(cs) != dpl_of(ss))
        return broken(w, RIGHTS, CS, "DPL of non-conforming code is that of SS");
    if ((type == 13 || type == 15) && dpl_of(cs) > dpl_of(ss))
        return broken(w, RIGHTS, CS, "DPL of conforming code is at most that of SS");
    if (w->guest64 && bit(cs, 13) && bit(cs, 14))
        return broken(w, RIGHTS, CS, "D (bit 14) is 0 where L (bit 13) is 1");
    return false;
}

static bool check_ss(const struct view *w) {
    const struct segment *cs = &w->s[CS], *ss = &w->s[SS];
    if (usable(ss) && type_of(ss) != 3 && type_of(ss) != 7)
        return broken(w, RIGHTS, SS, "type 3 or 7 (accessed, writable data)");
    if (!w->unrestricted && dpl_of(ss) != (ss->selector & 3))
        return broken(w, RIGHTS, SS, "DPL is the selector's RPL");
    if ((type_of(cs) == 3 || !w->protected) && dpl_of(ss) != 0)
        return broken(w, RIGHTS, SS, "DPL 0 in real mode");
    return false;
}

static bool check_data(const struct view *w, unsigned i) {
    const struct segment *s = &w->s[i];
    unsigned type = type_of(s);
    if (!(type & 1))
        return broken(w, RIGHTS, i, "bit 0 (accessed) is 1");
    if ((type & 8) && !(type & 2))
        return broken(w, RIGHTS, i, "code is readable (bit 1)");
    if (!w->unrestricted && type < 12 && dpl_of(s) < (s->selector & 3))
        return broken(w, RIGHTS, i, "DPL is not below the selector's RPL");
    return false;
}

static bool check_common(const struct view *w, unsigned i) {
    const struct segment *s = &w->s[i];
    bool system = i == LDTR || i == TR;
    if (bit(s, 4) == system)
        return broken(w, RIGHTS, i, system ? "S (bit 4) is 0" : "S (bit 4) is 1");
    if (!bit(s, 7))
        return broken(w, RIGHTS, i, "P (bit 7) is 1");
    if (s->rights & 0xfffe0f00)
        return broken(w, RIGHTS, i, "bits 11:8 and 31:17 are 0");
    if (bit(s, 15) && (s->limit & 0xfff) != 0xfff)
        return broken(w, RIGHTS, i, "G (bit 15) is 0 where a bit of limit 11:0 is 0");
    if (!bit(s, 15) && (s->limit & 0xfff00000))
        return broken(w, RIGHTS, i, "G (bit 15) is 1 where a bit of limit 31:20 is 1");
    return false;
}

static bool check_ordinary(const struct view *w) {
    if (check_cs(w) || check_common(w, CS) || check_ss(w))
        return true;
    if (usable(&w->s[SS]) && check_common(w, SS))
        return true;
    static const uint8_t data[] = {DS, ES, FS, GS};
    for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
        if (usable(&w->s[data[i]]) && (check_data(w, data[i]) || check_common(w, data[i])))
            return true;
    return false;
}

static bool check_system(const struct view *w) {
    const struct segment *tr = &w->s[TR], *ldtr = &w->s[LDTR];
    if (type_of(tr) != 11 && (w->guest64 || type_of(tr) != 3))
        return broken(w, RIGHTS, TR, "type 11 (busy TSS), or 3 outside 64-bit guests");
    if (!usable(tr))
        return broken(w, RIGHTS, TR, "usable (bit 16 is 0)");
    if (check_common(w, TR))
        return true;
    if (!usable(ldtr))
        return false;
    if (type_of(ldtr) != 2)
        return broken(w, RIGHTS, LDTR, "type 2 (LDT)");
    return check_common(w, LDTR);
}

bool vmcs_check_segments(struct vmcs_check *c, bool unrestricted) {
    struct view w = {.c = c,
                     .unrestricted = unrestricted,
                     .v8086 = check_read(c, GUEST_RFLAGS) & RFLAGS_VM,
                     .guest64 = check_read(c, ENTRY_CONTROLS) & ENTRY_GUEST_64,
                     .protected = check_read(c, GUEST_CR0) & CR0_PE};
    for (unsigned i = 0; i < COUNT; i++)
        w.s[i] = (struct segment){
            check_read(c, fields[SELECTOR] + 2 * i), check_read(c, fields[BASE] + 2 * i),
            check_read(c, fields[LIMIT] + 2 * i), check_read(c, fields[RIGHTS] + 2 * i)};
    return check_selectors(&w) || check_bases(&w) ||
           (w.v8086 ? check_v8086(&w) : check_ordinary(&w)) || check_system(&w);
}
