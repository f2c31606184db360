// The guest's page tables, read as memory: unlike the processor's walk and KVM_TRANSLATE, this sets no accessed bits
// and asks for no rights.
#include <string.h>
#include "vmm/machine/debug_internal.h"

// SDM vol. 3, chapter "Paging".
#define CR0_PG   (1ull << 31)
#define CR4_PSE  (1ull << 4)
#define CR4_PAE  (1ull << 5)
#define EFER_LMA (1ull << 10)
#define PRESENT  1ull
#define LARGE    (1ull << 7)
#define ADDRESS  0x000ffffffffff000ull

const struct space debug_physical_space = {.efer = EFER_LMA}; // 64 bits, no paging

struct space debug_space(struct cpu *c) {
    struct kvm_sregs s = {0};
    cpu_get_sregs(c, &s);
    return (struct space){.cr0 = s.cr0, .cr3 = s.cr3, .cr4 = s.cr4, .efer = s.efer};
}

struct space debug_space_with(struct space s, uint64_t cr3) {
    if (cr3 != ANY_CR3)
        s.cr3 = cr3;
    return s;
}

bool debug_space_is(const struct space *s, uint64_t cr3) {
    return cr3 == ANY_CR3 || ((s->cr3 ^ cr3) & ADDRESS) == 0;
}

static bool entry_at(struct machine *m, uint64_t gpa, unsigned size, uint64_t *entry) {
    const void *p = memory_look(m, gpa, size);
    *entry = 0;
    if (p)
        memcpy(entry, p, size);
    return *entry & PRESENT;
}

static bool walk_32(struct machine *m, const struct space *s, uint32_t linear, uint64_t *gpa) {
    uint64_t entry;
    if (!entry_at(m, (s->cr3 & 0xfffff000) + (linear >> 22) * 4, 4, &entry))
        return false;
    if (entry & LARGE && s->cr4 & CR4_PSE) { // bits 20:13 are address bits 39:32 (PSE-36)
        *gpa = (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32 | (linear & 0x3fffff);
        return true;
    }
    if (!entry_at(m, (entry & 0xfffff000) + (linear >> 12 & 1023) * 4, 4, &entry))
        return false;
    *gpa = (entry & 0xfffff000) | (linear & 0xfff);
    return true;
}

static bool walk_levels(struct machine *m, uint64_t table, unsigned level, uint64_t linear,
                        uint64_t *gpa) {
    for (;; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        uint64_t entry, offset = (1ull << shift) - 1;
        if (!entry_at(m, table + (linear >> shift & 511) * 8, 8, &entry))
            return false;
        if (level == 1 || (entry & LARGE && level <= 3)) {
            *gpa = (entry & ADDRESS & ~offset) | (linear & offset);
            return true;
        }
        table = entry & ADDRESS;
    }
}

bool debug_translate(struct machine *m, const struct space *s, uint64_t linear, uint64_t *gpa) {
    uint64_t entry;
    if (!(s->efer & EFER_LMA))
        linear = (uint32_t)linear;
    *gpa = linear;
    if (!(s->cr0 & CR0_PG))
        return true;
    if (s->efer & EFER_LMA) {
        int64_t sign = (int64_t)(linear << 16) >> 16;
        return (uint64_t)sign == linear && walk_levels(m, s->cr3 & ADDRESS, 4, linear, gpa);
    }
    if (!(s->cr4 & CR4_PAE))
        return walk_32(m, s, (uint32_t)linear, gpa);
    // The processor keeps the four top entries since CR3 was loaded; memory has the same unless the guest errs.
    return entry_at(m, (s->cr3 & 0xffffffe0) + (linear >> 30) * 8, 8, &entry) &&
           walk_levels(m, entry & ADDRESS, 2, linear, gpa);
}

size_t debug_read(struct machine *m, const struct space *s, uint64_t linear, void *buf, size_t n) {
    size_t done = 0;
    while (done < n) {
        uint64_t gpa, at = linear + done;
        size_t part = SPACE_PAGE - at % SPACE_PAGE;
        if (part > n - done)
            part = n - done;
        const void *p = debug_translate(m, s, at, &gpa) ? memory_look(m, gpa, part) : NULL;
        if (!p)
            break;
        memcpy((uint8_t *)buf + done, p, part);
        done += part;
    }
    return done;
}
