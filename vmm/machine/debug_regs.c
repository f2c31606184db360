// Registers, as the debugger has them and as KVM has them.
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include "vmm/machine/debug_internal.h"

#define MSR_KERNEL_GS_BASE 0xc0000102
#define EFER_LMA           (1u << 10)
// The standard form of the XSAVE area (SDM vol. 1, "Standard Format of XSAVE Area").
#define XSTATE_BV     512
#define YMM_HIGH      576
#define STATE_X87     1ull
#define STATE_SSE     2ull
#define STATE_AVX     4ull
#define XSAVE_SIZE    4096
#define FCW_INITIAL   0x37f
#define MXCSR_INITIAL 0x1f80

struct legacy { // its first 512 bytes, the FXSAVE area in 64-bit mode
    uint16_t fcw, fsw;
    uint8_t ftw, reserved; // a bit per register: not empty
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t st[8][16], xmm[16][16];
};

// ---- x87, SSE, AVX --------------------------------------------------------------------------------------
// A component that is not in XSTATE_BV is in its initial state, whatever its bytes are.
static void vectors_from(const uint8_t area[XSAVE_SIZE], struct target_registers *r) {
    struct legacy l;
    uint64_t present;
    memcpy(&l, area, sizeof(l));
    memcpy(&present, area + XSTATE_BV, sizeof(present));
    if (!(present & STATE_X87)) {
        l.fcw = FCW_INITIAL;
        l.fsw = l.fop = 0;
        l.ftw = 0;
        l.fip = l.fdp = 0;
        memset(l.st, 0, sizeof(l.st));
    }
    memcpy(r->st, l.st, sizeof(r->st));
    r->fcw = l.fcw;
    r->fsw = l.fsw;
    r->ftw = l.ftw;
    r->fop = l.fop;
    r->fip = l.fip;
    r->fdp = l.fdp;
    r->mxcsr = present & (STATE_SSE | STATE_AVX) ? l.mxcsr : MXCSR_INITIAL;
    for (unsigned i = 0; i < 16; i++) {
        if (present & STATE_SSE)
            memcpy(r->ymm[i], l.xmm[i], 16);
        if (present & STATE_AVX)
            memcpy(r->ymm[i] + 16, area + YMM_HIGH + 16 * i, 16);
    }
}

static void vectors_into(uint8_t area[XSAVE_SIZE], const struct target_registers *r) {
    struct legacy l;
    uint64_t present;
    static const uint8_t zero[16];
    memcpy(&l, area, sizeof(l));
    memcpy(&present, area + XSTATE_BV, sizeof(present));
    memcpy(l.st, r->st, sizeof(l.st));
    l.fcw = r->fcw;
    l.fsw = r->fsw;
    l.ftw = (uint8_t)r->ftw;
    l.fop = r->fop;
    l.fip = r->fip;
    l.fdp = r->fdp;
    l.mxcsr = r->mxcsr;
    present |= STATE_X87 | STATE_SSE;
    for (unsigned i = 0; i < 16; i++) {
        memcpy(l.xmm[i], r->ymm[i], 16);
        if (memcmp(r->ymm[i] + 16, zero, 16) != 0) // a guest without AVX has nothing else there
            present |= STATE_AVX;
        memcpy(area + YMM_HIGH + 16 * i, r->ymm[i] + 16, 16);
    }
    memcpy(area, &l, sizeof(l));
    memcpy(area + XSTATE_BV, &present, sizeof(present));
}

// ---- general and system registers ------------------------------------------------------------------------
// KVM's order of the general registers is that of their letters.
static uint64_t *general(struct kvm_regs *k, unsigned i) {
    uint64_t *const order[16] = {
        (uint64_t *)&k->rax, (uint64_t *)&k->rcx, (uint64_t *)&k->rdx, (uint64_t *)&k->rbx,
        (uint64_t *)&k->rsp, (uint64_t *)&k->rbp, (uint64_t *)&k->rsi, (uint64_t *)&k->rdi,
        (uint64_t *)&k->r8,  (uint64_t *)&k->r9,  (uint64_t *)&k->r10, (uint64_t *)&k->r11,
        (uint64_t *)&k->r12, (uint64_t *)&k->r13, (uint64_t *)&k->r14, (uint64_t *)&k->r15};
    return order[i];
}

static struct kvm_segment *segment(struct kvm_sregs *s, unsigned i) {
    struct kvm_segment *const order[TARGET_SEGMENTS] = {
        [TARGET_ES] = &s->es, [TARGET_CS] = &s->cs, [TARGET_SS] = &s->ss,
        [TARGET_DS] = &s->ds, [TARGET_FS] = &s->fs, [TARGET_GS] = &s->gs};
    return order[i];
}

// SDM vol. 3, "Guest Register State": access rights, without the bit for "unusable"; then all else is undefined.
static uint16_t access_rights(const struct kvm_segment *s) {
    if (s->unusable)
        return 0;
    return (uint16_t)(s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | s->avl << 12 |
                      s->l << 13 | s->db << 14 | s->g << 15);
}

static void segments_from(struct kvm_sregs *s, struct target_registers *r) {
    for (unsigned i = 0; i < TARGET_SEGMENTS; i++) {
        const struct kvm_segment *k = segment(s, i);
        r->segments[i] = (struct target_segment){.base = k->base,
                                                 .limit = k->limit,
                                                 .selector = k->selector,
                                                 .attributes = access_rights(k)};
    }
}

// A selector alone does not load a descriptor: base, limit and rights are what the debugger says.
static void segments_into(struct kvm_sregs *s, const struct target_registers *r) {
    for (unsigned i = 0; i < TARGET_SEGMENTS; i++) {
        const struct target_segment *t = &r->segments[i];
        struct kvm_segment *k = segment(s, i);
        k->base = t->base;
        k->limit = t->limit;
        k->selector = t->selector;
        if (t->attributes == access_rights(k))
            continue;
        k->type = t->attributes & 15;
        k->s = t->attributes >> 4 & 1;
        k->dpl = t->attributes >> 5 & 3;
        k->present = t->attributes >> 7 & 1;
        k->avl = t->attributes >> 12 & 1;
        k->l = t->attributes >> 13 & 1;
        k->db = t->attributes >> 14 & 1;
        k->g = t->attributes >> 15 & 1;
        k->unusable = !k->present;
    }
}

static uint32_t mode_of(const struct kvm_sregs *s) {
    if (s->efer & EFER_LMA && s->cs.l)
        return TARGET_MODE_64;
    return s->cs.db ? TARGET_MODE_32 : TARGET_MODE_16;
}

int debug_read_registers(void *target, unsigned cpu, struct target_registers *r) {
    struct machine *m = target;
    static uint8_t area[XSAVE_SIZE];
    struct kvm_regs regs;
    struct kvm_sregs s;
    if (cpu >= m->cpu_count)
        return -EINVAL;
    int fd = m->cpus[cpu].fd;
    if (ioctl(fd, KVM_GET_REGS, &regs) < 0 || ioctl(fd, KVM_GET_SREGS, &s) < 0 ||
        ioctl(fd, KVM_GET_XSAVE, area) < 0)
        return -errno;
    *r = (struct target_registers){.rip = regs.rip,
                                   .rflags = regs.rflags,
                                   .gs_kernel_base = cpu_get_msr(&m->cpus[cpu], MSR_KERNEL_GS_BASE),
                                   .cr0 = s.cr0,
                                   .cr2 = s.cr2,
                                   .cr3 = s.cr3,
                                   .cr4 = s.cr4,
                                   .cr8 = s.cr8,
                                   .efer = s.efer,
                                   .mode = mode_of(&s)};
    for (unsigned i = 0; i < 16; i++)
        r->general[i] = *general(&regs, i);
    segments_from(&s, r);
    vectors_from(area, r);
    return 0;
}

static bool canonical(uint64_t address) {
    return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

// What a slip of gdb's user makes of addresses: the next entry would fail, and end the VM.
static bool addresses_are_possible(struct kvm_sregs *s, const struct target_registers *r) {
    bool good = mode_of(s) == TARGET_MODE_64 ? canonical(r->rip) : r->rip >> 32 == 0;
    for (unsigned i = 0; i < TARGET_SEGMENTS; i++) {
        const struct kvm_segment *k = segment(s, i);
        bool full = i == TARGET_FS || i == TARGET_GS;
        good &= full ? canonical(k->base) : k->unusable || k->base >> 32 == 0;
    }
    return good && canonical(r->gs_kernel_base);
}

// -EINVAL: a processor cannot have these values; then nothing, or less than everything, has changed.
int debug_write_registers(void *target, unsigned cpu, const struct target_registers *r) {
    struct machine *m = target;
    static uint8_t area[XSAVE_SIZE];
    struct kvm_regs regs = {.rip = r->rip, .rflags = r->rflags};
    struct kvm_sregs s;
    if (m->debug->kind != TARGET_LIVE)
        return -EPERM;
    if (cpu >= m->cpu_count)
        return -EINVAL;
    int fd = m->cpus[cpu].fd;
    if (ioctl(fd, KVM_GET_SREGS, &s) < 0 || ioctl(fd, KVM_GET_XSAVE, area) < 0)
        return -errno;
    for (unsigned i = 0; i < 16; i++)
        *general(&regs, i) = r->general[i];
    segments_into(&s, r);
    s.cr0 = r->cr0;
    s.cr2 = r->cr2;
    s.cr3 = r->cr3;
    s.cr4 = r->cr4;
    s.cr8 = r->cr8;
    s.efer = r->efer;
    vectors_into(area, r);
    if (!addresses_are_possible(&s, r))
        return -EINVAL;
    if (ioctl(fd, KVM_SET_SREGS, &s) < 0 || ioctl(fd, KVM_SET_REGS, &regs) < 0 ||
        ioctl(fd, KVM_SET_XSAVE, area) < 0)
        return -errno;
    cpu_set_msr(&m->cpus[cpu], MSR_KERNEL_GS_BASE, r->gs_kernel_base);
    return 0;
}
