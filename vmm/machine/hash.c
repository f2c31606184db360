#include "vmm/machine/hash.h"
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "vmm/machine/machine.h"
#include "vmm/machine/state.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

#define PAGE      4096u
#define REGION    (2u << 20) // looked up for residence at once
#define RFLAGS_RF (1u << 16) // left open by the architecture after many events

// MSRs that are state of the guest and are not in the KVM structures below.
static const uint32_t msrs[] = {
    0x10, // TSC: follows from virtual time, so it must agree
    0x174,      0x175,      0x176,      0x277,      0x1d9, // SYSENTER, PAT, DEBUGCTL
    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000102, 0xc0000103,
};

// ---- registers -----------------------------------------------------------------------------------
static void canonical_segment(struct kvm_segment *s) {
    if (s->unusable)
        *s = (struct kvm_segment){.unusable = 1};
    s->padding = 0;
}

static void canonical_sregs(struct kvm_sregs *s) {
    struct kvm_segment *all[] = {&s->cs, &s->ds, &s->es, &s->fs, &s->gs, &s->ss, &s->tr, &s->ldt};
    for (unsigned i = 0; i < 8; i++)
        canonical_segment(all[i]);
}

// XSAVE area (SDM vol. 1, "XSAVE Area"): a component whose bit in XSTATE_BV is clear is in its initial state
// whatever its bytes say; bytes 464 to 511 are software's.
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
    memset(area + 28, 0, 4); // MXCSR_MASK: the processor's
    memset(area + 464, 0, 48);
    memset(area + 512, 0, 64);
    memset(area + 832, 0, 4096 - 832);
}

static void hash_msrs(XXH3_state_t *x, int fd) {
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entries[sizeof(msrs) / sizeof(msrs[0])];
    } list = {.head.nmsrs = sizeof(msrs) / sizeof(msrs[0])};
    for (unsigned i = 0; i < list.head.nmsrs; i++)
        list.entries[i].index = msrs[i];
    if (ioctl(fd, KVM_GET_MSRS, &list) >= 0)
        XXH3_64bits_update(x, list.entries + 1, sizeof(list.entries) - sizeof(list.entries[0]));
}

static void hash_cpu(XXH3_state_t *x, struct cpu *c) {
    struct kvm_regs regs = {0};
    struct kvm_sregs sregs = {0};
    struct kvm_debugregs debug = {0};
    struct kvm_xcrs xcrs = {0};
    static uint8_t xsave[4096];
    ioctl(c->fd, KVM_GET_REGS, &regs);
    ioctl(c->fd, KVM_GET_SREGS, &sregs);
    ioctl(c->fd, KVM_GET_DEBUGREGS, &debug);
    ioctl(c->fd, KVM_GET_XCRS, &xcrs);
    ioctl(c->fd, KVM_GET_XSAVE, xsave);
    regs.rflags &= ~(uint64_t)RFLAGS_RF;
    canonical_sregs(&sregs);
    canonical_xsave(xsave);
    XXH3_64bits_update(x, &regs, sizeof(regs));
    XXH3_64bits_update(x, &sregs, sizeof(sregs));
    XXH3_64bits_update(x, &debug, sizeof(debug));
    XXH3_64bits_update(x, &xcrs.xcrs[0].value, sizeof(xcrs.xcrs[0].value));
    XXH3_64bits_update(x, xsave, 832);
    hash_msrs(x, c->fd);
}

uint64_t machine_hash_state(struct machine *m) {
    XXH3_state_t x;
    XXH3_64bits_reset(&x);
    for (unsigned i = 0; i < m->cpu_count; i++)
        hash_cpu(&x, &m->cpus[i]);
    uint64_t devices = state_hash(m);
    XXH3_64bits_update(&x, &devices, sizeof(devices));
    return XXH3_64bits_digest(&x);
}

// ---- memory --------------------------------------------------------------------------------------
static bool is_zero(const uint64_t *page) {
    for (unsigned i = 0; i < PAGE / 8; i++)
        if (page[i])
            return false;
    return true;
}

uint64_t machine_hash_memory(struct machine *m) {
    XXH3_state_t x;
    unsigned char resident[REGION / PAGE];
    XXH3_64bits_reset(&x);
    for (uint64_t at = 0; at < m->ram_size; at += REGION) {
        uint64_t size = m->ram_size - at < REGION ? m->ram_size - at : REGION;
        if (mincore(m->ram + at, size, resident) < 0)
            memset(resident, 1, sizeof(resident));
        for (uint64_t page = 0; page < size / PAGE; page++) {
            const uint8_t *p = m->ram + at + page * PAGE;
            if (!(resident[page] & 1) || is_zero((const uint64_t *)p))
                continue;
            uint64_t number = at / PAGE + page;
            XXH3_64bits_update(&x, &number, sizeof(number));
            XXH3_64bits_update(&x, p, PAGE);
        }
    }
    return XXH3_64bits_digest(&x);
}
