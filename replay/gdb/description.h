// The description of registers that gdb reads: target.xml. Manual: appendix "Target Descriptions", with the features
// that gdb knows in "Standard Target Features", "i386 Features".
#pragma once
#include <stddef.h>
#include <stdint.h>

// gdb's features and ours, in the order in which every table has them: registers of a feature lie together.
enum description_feature {
    FEATURE_CORE,
    FEATURE_SEGMENTS,
    FEATURE_SSE,
    FEATURE_AVX,
    FEATURE_SYSTEM
};

struct description_register {
    const char *name, *type, *group; // `group`: gdb's for `info registers GROUP`; NULL: by its type
    enum description_feature feature;
    uint16_t bits;         // as gdb sees it
    uint16_t offset, size; // in struct target_registers, bytes
};

// Writes the description of `count` registers of an architecture. Returns its length, less than n (cut off
// there: the caller asserts that it fits).
size_t description_write(const char *architecture, const struct description_register *table,
                         unsigned count, char *xml, size_t n);
