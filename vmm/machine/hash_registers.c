// Registers of a vCPU in a canonical form: what the architecture leaves open is masked.
#include <string.h>
#include <sys/ioctl.h>
#include "vmm/machine/hash_walk.h"

#define RFLAGS_RF (1u << 16) // left open by the architecture after many events

struct named_msr {
    uint32_t index;
    const char *name;
};
// MSRs that are state of the guest and are not in the KVM structures below. (The TSC follows from virtual time.)
static const struct named_msr msrs[] = {
    {0x174, "SYSENTER_CS"},  {0x175, "SYSENTER_ESP"},
    {0x176, "SYSENTER_EIP"}, {0x277, "PAT"},
    {0x1d9, "DEBUGCTL"},     {0xc0000081, "STAR"},
    {0xc0000082, "LSTAR"},   {0xc0000083, "CSTAR"},
    {0xc0000084, "FMASK"},   {0xc0000102, "KERNEL_GS_BASE"},
    {0xc0000103, "TSC_AUX"},
};
#define MSRS (sizeof(msrs) / sizeof(msrs[0]))

#define FIELD(w, s, member) walk_field(w, #member, &(s)->member, sizeof((s)->member))

static void walk_general(struct walk *w, struct cpu *c) {
    struct kvm_regs r = {0};
    ioctl(c->fd, KVM_GET_REGS, &r);
    r.rflags &= ~(uint64_t)RFLAGS_RF;
    walk_group(w, "vCPU", c->index, "general registers");
    FIELD(w, &r, rax);
    FIELD(w, &r, rbx);
    FIELD(w, &r, rcx);
    FIELD(w, &r, rdx);
    FIELD(w, &r, rsi);
    FIELD(w, &r, rdi);
    FIELD(w, &r, rsp);
    FIELD(w, &r, rbp);
    FIELD(w, &r, r8);
    FIELD(w, &r, r9);
    FIELD(w, &r, r10);
    FIELD(w, &r, r11);
    FIELD(w, &r, r12);
    FIELD(w, &r, r13);
    FIELD(w, &r, r14);
    FIELD(w, &r, r15);
    FIELD(w, &r, rip);
    FIELD(w, &r, rflags);
}

// ---- segments and control registers ------------------------------------------------------------------
static void walk_segment(struct walk *w, const char *name, struct kvm_segment *s) {
    if (s->unusable)
        *s = (struct kvm_segment){.unusable = 1};
    s->padding = 0;
    walk_field(w, name, s, sizeof(*s));
}

static void walk_table(struct walk *w, const char *name, const struct kvm_dtable *t) {
    const uint64_t value[2] = {t->base, t->limit};
    walk_field(w, name, value, sizeof(value));
}

static void walk_system(struct walk *w, struct cpu *c) {
    struct kvm_sregs s = {0};
    ioctl(c->fd, KVM_GET_SREGS, &s);
    walk_group(w, "vCPU", c->index, "segment registers");
    walk_segment(w, "cs", &s.cs);
    walk_segment(w, "ds", &s.ds);
    walk_segment(w, "es", &s.es);
    walk_segment(w, "fs", &s.fs);
    walk_segment(w, "gs", &s.gs);
    walk_segment(w, "ss", &s.ss);
    walk_segment(w, "tr", &s.tr);
    walk_segment(w, "ldt", &s.ldt);
    walk_table(w, "gdt", &s.gdt);
    walk_table(w, "idt", &s.idt);
    walk_group(w, "vCPU", c->index, "control registers");
    FIELD(w, &s, cr0);
    FIELD(w, &s, cr2);
    FIELD(w, &s, cr3);
    FIELD(w, &s, cr4);
    FIELD(w, &s, cr8);
    FIELD(w, &s, efer);
    FIELD(w, &s, apic_base);
    FIELD(w, &s, interrupt_bitmap);
}

static void walk_debug(struct walk *w, struct cpu *c) {
    struct kvm_debugregs d = {0};
    ioctl(c->fd, KVM_GET_DEBUGREGS, &d);
    walk_group(w, "vCPU", c->index, "debug registers");
    FIELD(w, &d, db);
    FIELD(w, &d, dr6);
    FIELD(w, &d, dr7);
}

// ---- floating point -----------------------------------------------------------------------------------
static const char *numbered(char buf[8], const char *name, unsigned i) {
    size_t n = strlen(name);
    memcpy(buf, name, n);
    if (i >= 10)
        buf[n++] = '1';
    buf[n++] = (char)('0' + i % 10);
    buf[n] = 0;
    return buf;
}

// XSAVE area (SDM vol. 1, "XSAVE Area"): a component whose bit in XSTATE_BV is clear is in its initial state
// whatever its bytes say; bytes 464 to 511 are software's, MXCSR_MASK is the processor's.
static void canonical_xsave(uint8_t area[4096]) {
    uint64_t present;
    memcpy(&present, area + 512, 8);
    if (!(present & 1)) {
        const uint16_t fcw = 0x37f;
        memset(area, 0, 24);
        memcpy(area, &fcw, 2);
        memset(area + 32, 0, 128);
    }
    if (!(present & 2))
        memset(area + 160, 0, 256);
    if (!(present & 4))
        memset(area + 576, 0, 256);
}

static void walk_float(struct walk *w, struct cpu *c) {
    static uint8_t area[4096];
    struct kvm_xcrs xcrs = {0};
    char name[8];
    ioctl(c->fd, KVM_GET_XCRS, &xcrs);
    ioctl(c->fd, KVM_GET_XSAVE, area);
    canonical_xsave(area);
    walk_group(w, "vCPU", c->index, "floating-point registers");
    walk_field(w, "xcr0", &xcrs.xcrs[0].value, sizeof(xcrs.xcrs[0].value));
    walk_field(w, "x87 control and status", area, 24);
    walk_field(w, "mxcsr", area + 24, 4);
    for (unsigned i = 0; i < 8; i++)
        walk_field(w, numbered(name, "st", i), area + 32 + 16 * i, 16);
    for (unsigned i = 0; i < 16; i++)
        walk_field(w, numbered(name, "xmm", i), area + 160 + 16 * i, 16);
    for (unsigned i = 0; i < 16; i++)
        walk_field(w, numbered(name, "ymmh", i), area + 576 + 16 * i, 16);
}

static void walk_msrs(struct walk *w, struct cpu *c) {
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entries[MSRS];
    } list = {.head.nmsrs = MSRS};
    for (unsigned i = 0; i < MSRS; i++)
        list.entries[i].index = msrs[i].index;
    ioctl(c->fd, KVM_GET_MSRS, &list);
    walk_group(w, "vCPU", c->index, "model-specific registers");
    for (unsigned i = 0; i < MSRS; i++)
        walk_field(w, msrs[i].name, &list.entries[i].data, sizeof(list.entries[i].data));
}

void walk_cpu(struct walk *w, struct cpu *c) {
    walk_general(w, c);
    walk_system(w, c);
    walk_debug(w, c);
    walk_float(w, c);
    walk_msrs(w, c);
}
