// What the processor can do (CPUID).
#pragma once
#include "lib/compiler.h"

enum cpu_feature {
    FEATURE_SSE2,
    FEATURE_FXSR,
    FEATURE_NX,
    FEATURE_SYSCALL,
    FEATURE_TSC,
    FEATURE_APIC,
    FEATURE_X2APIC,
    FEATURE_TSC_DEADLINE,
    FEATURE_INVARIANT_TSC,
    FEATURE_XSAVE,
    FEATURE_AVX,
    FEATURE_AVX2,
    FEATURE_AVX512,
    FEATURE_SMEP,
    FEATURE_SMAP,
    FEATURE_UMIP,
    FEATURE_PGE,
    FEATURE_PAT,
    FEATURE_1GB_PAGES,
    FEATURE_RDRAND,
    FEATURE_RDTSCP,
    FEATURE_ERMS,
    FEATURE_HYPERVISOR,
    FEATURE_VMX,
    FEATURE_SVM,
    FEATURE_COUNT,
};

// True when the processor that booted has it. Valid after features_detect().
bool cpu_has(enum cpu_feature f);
// The name that people know, "x2APIC".
const char *feature_name(enum cpu_feature f);

struct cpu_identity {
    char vendor[13]; // "GenuineIntel"
    char brand[49];  // "11th Gen Intel(R) Core(TM) ..."
    unsigned family, model, stepping;
    unsigned physical_bits;
};
extern struct cpu_identity cpu_identity;

// Reads CPUID; panics with a sentence when something indispensable is missing. Boot processor.
void features_detect(void);
// Sets the control registers and MSRs of the processor that calls it.
void features_enable(void);
