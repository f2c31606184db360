// The banner: what machine this is, and what it offers a hypervisor, by name.
#include "boot/boot_info.h"
#include "boot/main.h"
#include "boot/version.h"
#include "cpu/features.h"
#include "cpu/msr.h"
#include "cpu/percpu.h"
#include "cpu/x86.h"
#include "lib/log.h"
#include "lib/printf.h"
#include "lib/string.h"

// Collects names into one line of text.
struct names {
    char text[320];
    size_t length;
};

static void add_name(struct names *n, const char *name) {
    n->length += scnprintf(n->text + n->length, sizeof(n->text) - n->length, "%s%s",
                           n->length ? ", " : "", name);
}

// A part of VT-x: bit `bit` of capability MSR `msr`. Control MSRs tell in the high half what may
// be 1 (Intel SDM vol. 3, A.3); the EPT/VPID MSR has plain bits (A.10).
struct vmx_part {
    const char *name;
    uint32_t msr;
    uint8_t bit;
};
#define CONTROL(b) (32 + (b))
static const struct vmx_part vmx_parts[] = {
    {"EPT", MSR_VMX_PROCBASED2, CONTROL(1)},
    {"EPT 2 MB pages", MSR_VMX_EPT_VPID_CAP, 16},
    {"EPT 1 GB pages", MSR_VMX_EPT_VPID_CAP, 17},
    {"EPT A/D bits", MSR_VMX_EPT_VPID_CAP, 21},
    {"unrestricted guest", MSR_VMX_PROCBASED2, CONTROL(7)},
    {"VPID", MSR_VMX_PROCBASED2, CONTROL(5)},
    {"preemption timer", MSR_VMX_PINBASED, CONTROL(6)},
    {"virtual NMIs", MSR_VMX_PINBASED, CONTROL(5)},
    {"posted interrupts", MSR_VMX_PINBASED, CONTROL(7)},
    {"monitor trap flag", MSR_VMX_PROCBASED, CONTROL(27)},
    {"MSR bitmaps", MSR_VMX_PROCBASED, CONTROL(28)},
    {"TPR shadow", MSR_VMX_PROCBASED, CONTROL(21)},
    {"APIC-register virtualization", MSR_VMX_PROCBASED2, CONTROL(8)},
    {"virtual-interrupt delivery", MSR_VMX_PROCBASED2, CONTROL(9)},
    {"descriptor-table exiting", MSR_VMX_PROCBASED2, CONTROL(2)},
    {"PAUSE-loop exiting", MSR_VMX_PROCBASED2, CONTROL(10)},
    {"VMCS shadowing", MSR_VMX_PROCBASED2, CONTROL(14)},
    {"PML", MSR_VMX_PROCBASED2, CONTROL(17)},
    {"XSAVES", MSR_VMX_PROCBASED2, CONTROL(20)},
    {"TSC scaling", MSR_VMX_PROCBASED2, CONTROL(25)},
};

#define SECONDARY_CONTROLS CONTROL(31) // of MSR_VMX_PROCBASED: PROCBASED2 exists
#define EPT_OR_VPID        (BIT(CONTROL(1)) | BIT(CONTROL(5)))

// Reads a capability MSR; 0 where the processor says that it does not exist.
static uint64_t vmx_capability(uint32_t msr) {
    bool secondary = rdmsr(MSR_VMX_PROCBASED) & BIT(SECONDARY_CONTROLS);
    if (msr == MSR_VMX_PROCBASED2 && !secondary)
        return 0;
    if (msr == MSR_VMX_EPT_VPID_CAP && (!secondary || !(rdmsr(MSR_VMX_PROCBASED2) & EPT_OR_VPID)))
        return 0;
    return rdmsr(msr);
}

// IA32_FEATURE_CONTROL: SDM vol. 3, 24.7
static const char *vmx_lock_state(void) {
    uint64_t v = rdmsr(MSR_FEATURE_CONTROL);
    if (!(v & 1))
        return "not locked by the firmware";
    return v & 4 ? "enabled and locked by the firmware"
                 : "DISABLED and locked by the firmware: enable it in the firmware's setup";
}

static void print_vmx(void) {
    struct names found = {0}, missing = {0};
    for (unsigned i = 0; i < ARRAY_SIZE(vmx_parts); i++)
        add_name(vmx_capability(vmx_parts[i].msr) & BIT(vmx_parts[i].bit) ? &found : &missing,
                 vmx_parts[i].name);
    log_info("boot: virtualization: VT-x, %s", vmx_lock_state());
    log_info("boot: VT-x has: %s", found.text);
    log_info("boot: VT-x lacks: %s",
             missing.length ? missing.text : "nothing of what is known here");
}

// AMD APM vol. 3, CPUID 8000_000Ah
static void print_svm(void) {
    static const struct {
        const char *name;
        uint8_t bit;
    } parts[] = {
        {"nested paging", 0}, {"next-RIP save", 3},  {"TSC rate MSR", 4},  {"VMCB clean bits", 5},
        {"flush by ASID", 6}, {"decode assists", 7}, {"PAUSE filter", 10}, {"AVIC", 13},
    };
    struct names found = {0}, missing = {0};
    uint32_t edx = cpuid(0x8000000a, 0).edx;
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        add_name(edx >> parts[i].bit & 1 ? &found : &missing, parts[i].name);
    bool disabled = rdmsr(MSR_VM_CR) & 0x10; // SVMDIS
    log_info("boot: virtualization: AMD SVM, %s",
             disabled ? "DISABLED by the firmware: enable it in the firmware's setup" : "enabled");
    log_info("boot: SVM has: %s", found.length ? found.text : "none of the extensions");
    log_info("boot: SVM lacks: %s",
             missing.length ? missing.text : "nothing of what is known here");
}

static void print_features(void) {
    struct names found = {0}, missing = {0};
    static const enum cpu_feature shown[] = {
        FEATURE_NX,     FEATURE_SMEP,         FEATURE_SMAP,          FEATURE_UMIP,
        FEATURE_XSAVE,  FEATURE_AVX,          FEATURE_AVX2,          FEATURE_AVX512,
        FEATURE_X2APIC, FEATURE_TSC_DEADLINE, FEATURE_INVARIANT_TSC, FEATURE_1GB_PAGES,
        FEATURE_RDRAND,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(shown); i++)
        add_name(cpu_has(shown[i]) ? &found : &missing, feature_name(shown[i]));
    log_info("boot: CPU has: %s", found.text);
    if (missing.length)
        log_info("boot: CPU lacks: %s", missing.text);
}

static void print_memory(void) {
    uint64_t usable = 0, top = 0;
    for (unsigned i = 0; i < boot_info.memory_count; i++) {
        struct memory_range *m = &boot_info.memory[i];
        if (m->usable) {
            usable += m->end - m->start;
            top = m->end;
        }
    }
    log_info("boot: memory: %llu MB usable, up to address %#lx", usable / MIB, top);
}

static void print_consoles(void) {
    struct names consoles = {0};
    const char *value = cmdline_get("console", 0);
    for (unsigned i = 1; value; value = cmdline_get("console", i++))
        add_name(&consoles, value);
    log_info("boot: console: %s",
             consoles.length ? consoles.text : "vga, ttyS0 (console= chooses others)");
}

void banner_print(void) {
    log_notice("Chronovisor %s", build_id);
    log_info("boot: CPU: %s, %s, family %u model %u stepping %u, %u bits physical",
             cpu_identity.vendor, cpu_identity.brand, cpu_identity.family, cpu_identity.model,
             cpu_identity.stepping, cpu_identity.physical_bits);
    print_features();
    if (cpu_has(FEATURE_HYPERVISOR))
        log_info("boot: this machine is itself virtual");
    if (cpu_has(FEATURE_VMX))
        print_vmx();
    else if (cpu_has(FEATURE_SVM))
        print_svm();
    else
        log_info("boot: virtualization: none (no VT-x, no SVM), or switched off in the firmware");
    print_memory();
    print_consoles();
    log_info("boot: image: %llu KB at %#lx, initial file system %llu KB, loaded by %s",
             (boot_info.image_end - boot_info.image_start) / KIB, boot_info.image_start,
             (boot_info.initrd_end - boot_info.initrd_start) / KIB,
             boot_info.loader[0] ? boot_info.loader : "an unnamed loader");
    if (boot_info.cmdline[0])
        log_info("boot: command line: %s", boot_info.cmdline);
}
