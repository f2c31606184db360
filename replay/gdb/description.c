#include "replay/gdb/description.h"
#include <stdbool.h>
#include <stdio.h>
#include "replay/text.h"

struct bit {
    const char *name;
    unsigned number;
};
struct flags {
    const char *id;
    const struct bit *bits; // closed by an entry without a name
};

// SDM vol. 1, "EFLAGS Register"; vol. 3, "Control Registers", "IA32_EFER".
static const struct flags core_flags[] = {
    {"i386_eflags", (const struct bit[]){{"CF", 0},
                                         {"", 1},
                                         {"PF", 2},
                                         {"AF", 4},
                                         {"ZF", 6},
                                         {"SF", 7},
                                         {"TF", 8},
                                         {"IF", 9},
                                         {"DF", 10},
                                         {"OF", 11},
                                         {"NT", 14},
                                         {"RF", 16},
                                         {"VM", 17},
                                         {"AC", 18},
                                         {"VIF", 19},
                                         {"VIP", 20},
                                         {"ID", 21},
                                         {NULL, 0}}},
    {NULL, NULL},
};
static const struct flags sse_flags[] = {
    {"i386_mxcsr", (const struct bit[]){{"IE", 0},
                                        {"DE", 1},
                                        {"ZE", 2},
                                        {"OE", 3},
                                        {"UE", 4},
                                        {"PE", 5},
                                        {"DAZ", 6},
                                        {"IM", 7},
                                        {"DM", 8},
                                        {"ZM", 9},
                                        {"OM", 10},
                                        {"UM", 11},
                                        {"PM", 12},
                                        {"FZ", 15},
                                        {NULL, 0}}},
    {NULL, NULL},
};
static const struct flags system_flags[] = {
    {"cr0_flags", (const struct bit[]){{"PE", 0},
                                       {"MP", 1},
                                       {"EM", 2},
                                       {"TS", 3},
                                       {"ET", 4},
                                       {"NE", 5},
                                       {"WP", 16},
                                       {"AM", 18},
                                       {"NW", 29},
                                       {"CD", 30},
                                       {"PG", 31},
                                       {NULL, 0}}},
    {"cr4_flags",
     (const struct bit[]){{"VME", 0},    {"PVI", 1},      {"TSD", 2},         {"DE", 3},
                          {"PSE", 4},    {"PAE", 5},      {"MCE", 6},         {"PGE", 7},
                          {"PCE", 8},    {"OSFXSR", 9},   {"OSXMMEXCPT", 10}, {"UMIP", 11},
                          {"LA57", 12},  {"VMXE", 13},    {"SMXE", 14},       {"FSGSBASE", 16},
                          {"PCIDE", 17}, {"OSXSAVE", 18}, {"SMEP", 20},       {"SMAP", 21},
                          {"PKE", 22},   {NULL, 0}}},
    {"efer_flags",
     (const struct bit[]){{"SCE", 0}, {"LME", 8}, {"LMA", 10}, {"NXE", 11}, {NULL, 0}}},
    {NULL, NULL},
};
static const char vectors[] = "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
                              "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
                              "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
                              "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
                              "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
                              "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
                              "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
                              "<field name=\"v2_double\" type=\"v2d\"/>"
                              "<field name=\"v16_int8\" type=\"v16i8\"/>"
                              "<field name=\"v8_int16\" type=\"v8i16\"/>"
                              "<field name=\"v4_int32\" type=\"v4i32\"/>"
                              "<field name=\"v2_int64\" type=\"v2i64\"/>"
                              "<field name=\"uint128\" type=\"uint128\"/></union>\n";
static const struct feature {
    const char *name;
    const struct flags *flags;
    const char *types;
} features[] = {
    [FEATURE_CORE] = {"org.gnu.gdb.i386.core", core_flags, ""},
    [FEATURE_SEGMENTS] = {"org.gnu.gdb.i386.segments", NULL, ""},
    [FEATURE_SSE] = {"org.gnu.gdb.i386.sse", sse_flags, vectors},
    [FEATURE_AVX] = {"org.gnu.gdb.i386.avx", NULL, ""},
    [FEATURE_SYSTEM] = {"org.chronovisor.i386.system", system_flags, ""},
};

static void add_types(struct text *t, const struct feature *f, unsigned size) {
    for (const struct flags *flags = f->flags; flags && flags->id; flags++) {
        text_add(t, "<flags id=\"%s\" size=\"%u\">", flags->id, size);
        for (const struct bit *b = flags->bits; b->name; b++)
            text_add(t, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>", b->name, b->number,
                     b->number);
        text_add(t, "</flags>\n");
    }
    text_add(t, "%s", f->types);
}

static void add_register(struct text *t, const struct description_register *r) {
    text_add(t, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"", r->name, r->bits, r->type);
    if (r->group)
        text_add(t, " group=\"%s\"", r->group);
    text_add(t, "/>\n");
}

size_t description_write(const char *architecture, const struct description_register *table,
                         unsigned count, char *xml, size_t n) {
    struct text t = {xml, n, 0};
    text_add(
        &t,
        "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n"
        "<architecture>%s</architecture>\n",
        architecture);
    for (unsigned i = 0; i < count; i++) {
        const struct feature *f = &features[table[i].feature];
        if (i == 0 || table[i - 1].feature != table[i].feature) {
            // Control registers are as wide as the layout; the other flags are of 32 bits.
            bool wide = table[i].feature == FEATURE_SYSTEM && table[0].bits == 64;
            text_add(&t, "<feature name=\"%s\">\n", f->name);
            add_types(&t, f, wide ? 8 : 4);
        }
        add_register(&t, &table[i]);
        if (i + 1 == count || table[i + 1].feature != table[i].feature)
            text_add(&t, "</feature>\n");
    }
    text_add(&t, "</target>\n");
    return t.used;
}
