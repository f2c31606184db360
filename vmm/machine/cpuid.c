// The guest's CPUID: what KVM offers, with what only the machine knows: who and how many the processors
// are, what our local APIC can do, and how fast time goes.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "vmm/machine/cpu.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

#define ENTRIES 256

#define LEAF1_ECX_MONITOR      (1u << 3)
#define LEAF1_ECX_X2APIC       (1u << 21)
#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_EDX_HTT          (1u << 28)
#define LEAF7_EBX_ERMS         (1u << 9)
#define LEAF7_EDX_FSRM         (1u << 4)
#define PARAVIRTUAL_LEAVES \
    0x40000000u // not in this machine: they carry clocks that no log could repeat
#define LEVEL_THREAD 1
#define LEVEL_CORE   2

static unsigned topology_bits(const struct machine *m) {
    unsigned bits = 0;
    while (1u << bits < m->cpu_count)
        bits++;
    return bits;
}

static struct kvm_cpuid_entry2 *entry(struct kvm_cpuid2 *t, uint32_t leaf, uint32_t subleaf,
                                      bool indexed) {
    for (unsigned i = 0; i < t->nent; i++)
        if (t->entries[i].function == leaf && (!indexed || t->entries[i].index == subleaf))
            return &t->entries[i];
    if (t->nent == ENTRIES)
        return NULL;
    struct kvm_cpuid_entry2 *e = &t->entries[t->nent++];
    *e = (struct kvm_cpuid_entry2){
        .function = leaf, .index = subleaf, .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0};
    return e;
}

static void remove_leaves(struct kvm_cpuid2 *t, uint32_t first, uint32_t last) {
    unsigned kept = 0;
    for (unsigned i = 0; i < t->nent; i++)
        if (t->entries[i].function < first || t->entries[i].function > last)
            t->entries[kept++] = t->entries[i];
    t->nent = kept;
}

static void set(struct kvm_cpuid_entry2 *e, uint32_t eax, uint32_t ebx, uint32_t ecx,
                uint32_t edx) {
    if (!e)
        return;
    e->eax = eax;
    e->ebx = ebx;
    e->ecx = ecx;
    e->edx = edx;
}

// One package, each processor a core of one thread.
static void set_topology(struct kvm_cpuid2 *t, const struct cpu *c) {
    const struct machine *m = c->machine;
    unsigned bits = topology_bits(m);
    remove_leaves(t, 0xb, 0xb);
    remove_leaves(t, 0x1f, 0x1f);
    set(entry(t, 0xb, 0, true), 0, 1, LEVEL_THREAD << 8, c->index);
    set(entry(t, 0xb, 1, true), bits, m->cpu_count, LEVEL_CORE << 8 | 1, c->index);
    set(entry(t, 0xb, 2, true), 0, 0, 2, c->index);
    for (unsigned i = 0; i < t->nent; i++) { // caches: L1 and L2 are a core's, L3 is everybody's
        struct kvm_cpuid_entry2 *e = &t->entries[i];
        if (e->function != 4 || !(e->eax & 0x1f))
            continue;
        unsigned level = e->eax >> 5 & 7, sharing = level == 3 ? (1u << bits) - 1 : 0;
        e->eax = (e->eax & 0x3fff) | sharing << 14 | ((1u << bits) - 1) << 26;
    }
}

static void set_features(struct kvm_cpuid2 *t, const struct cpu *c) {
    struct kvm_cpuid_entry2 *e = entry(t, 1, 0, false);
    if (!e)
        return;
    unsigned count = c->machine->cpu_count;
    e->ebx = (e->ebx & 0xffff) | c->index << 24 | (1u << topology_bits(c->machine)) << 16;
    e->ecx = (e->ecx & ~LEAF1_ECX_MONITOR) | LEAF1_ECX_X2APIC | LEAF1_ECX_TSC_DEADLINE;
    e->edx = count > 1 ? e->edx | LEAF1_EDX_HTT : e->edx & ~LEAF1_EDX_HTT;
    // Byte strings are not called fast: an emulator, and its clock with it, counts them byte by byte. Never one
    // without the other: where Linux 6.1 sees FSRM, its memmove() takes ERMS for granted.
    struct kvm_cpuid_entry2 *extended = entry(t, 7, 0, true);
    if (extended) {
        extended->ebx &= ~LEAF7_EBX_ERMS;
        extended->edx &= ~LEAF7_EDX_FSRM;
    }
}

// TSC and APIC timer run at the same frequency: crystal * 1 / 1 (SDM vol. 2, CPUID leaf 15h).
static void set_frequency(struct kvm_cpuid2 *t, const struct machine *m) {
    struct kvm_cpuid_entry2 *max = entry(t, 0, 0, false);
    if (max && max->eax < 0x16)
        max->eax = 0x16;
    unsigned ratio = m->hz >> 32 ? 2 : 1;
    uint32_t mhz = m->hz / 1000000;
    set(entry(t, 0x15, 0, false), 1, ratio, m->hz / ratio, 0);
    set(entry(t, 0x16, 0, false), mhz, mhz, 100, 0);
}

int cpuid_setup(struct cpu *c) {
    struct machine *m = c->machine;
    struct kvm_cpuid2 *t = calloc(1, sizeof(*t) + ENTRIES * sizeof(t->entries[0]));
    if (!t)
        return -ENOMEM;
    t->nent = ENTRIES;
    int error = ioctl(m->kvm_fd, KVM_GET_SUPPORTED_CPUID, t) < 0 ? -errno : 0;
    if (!error) {
        remove_leaves(t, PARAVIRTUAL_LEAVES, PARAVIRTUAL_LEAVES | 0xffff);
        set_features(t, c);
        set_topology(t, c);
        set_frequency(t, m);
        m->physical_bits = entry(t, 0x80000008, 0, false)->eax & 0xff;
        error = ioctl(c->fd, KVM_SET_CPUID2, t) < 0 ? -errno : 0;
        if (c->index == 0)
            m->cpuid_sum = XXH3_64bits(t->entries, t->nent * sizeof(t->entries[0]));
    }
    if (error)
        machine_log(m, "CPUID of vCPU %u cannot be set: %s", c->index, strerror(-error));
    free(t);
    return error;
}
