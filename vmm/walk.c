// The guest's own page tables, walked as the processor does (SDM vol. 3, chapter "Paging"): 32-bit, PAE
// and 4-level paging. Nothing is cached, so the walk sees what a processor without a TLB would.
#include "lib/errno.h"
#include "mm/pte.h"
#include "vmm/cpuid.h"
#include "vmm/guest_memory.h"
#include "vmm/vcpu_parts.h"
#include "vmm/walk.h"
#include "vmm/x86.h"

#define ERROR_PRESENT  (1u << 0) // page-fault error code, SDM vol. 3, "Page-Fault Exceptions"
#define ERROR_WRITE    (1u << 1)
#define ERROR_USER     (1u << 2)
#define ERROR_RESERVED (1u << 3)
#define ERROR_FETCH    (1u << 4)

#define CPUID_1G_PAGES (1u << 26) // leaf 80000001h, EDX

#define MODE_32   2 // number of levels in memory
#define MODE_PAE  3
#define MODE_LONG 4

struct walk {
    struct vcpu *v;
    uint64_t gva;
    unsigned access; // ACCESS_READ, _WRITE or _EXEC, and ACCESS_IMPLICIT
    bool user;
    unsigned mode, entry_size;
    bool no_execute;         // XD bits count
    struct memory_slot slot; // that the last table was in

    // Path from the top: where each entry is, and what it held. `looked` counts one that does not lead on, too.
    unsigned depth, looked;
    uint64_t at[4], entry[4];
    bool writable, user_page, executable; // all levels together
    uint64_t gpa;
};

static unsigned mode_of(const struct vcpu *v) {
    if (v->efer & EFER_LMA)
        return MODE_LONG;
    return v->cr4 & CR4_PAE ? MODE_PAE : MODE_32;
}

static uint32_t fault(const struct walk *w, uint32_t why) {
    uint32_t error = why | (w->user ? ERROR_USER : 0);
    if (w->access & ACCESS_WRITE)
        error |= ERROR_WRITE;
    if (w->access & ACCESS_EXEC && (w->no_execute || w->v->cr4 & CR4_SMEP))
        error |= ERROR_FETCH;
    return error;
}

// Whether the entry of this level maps a page.
static bool is_page(const struct walk *w, uint64_t entry, unsigned level) {
    if (level == 1)
        return true;
    if (!(entry & PTE_LARGE))
        return false;
    if (w->mode == MODE_32)
        return w->v->cr4 & CR4_PSE;
    return level == 2 || (level == 3 && w->mode == MODE_LONG);
}

static bool has_1g_pages(const struct walk *w) {
    return cpuid_bits(w->v, 0x80000001, 0, CPUID_EDX) & CPUID_1G_PAGES;
}

// Bits of the entry's address that this guest's processor does not have.
static uint64_t beyond_width(const struct walk *w, uint64_t address) {
    if (likely(!(address & PTE_ADDR & ~0xffffffffull))) // every width is at least 32
        return 0;
    return address & PTE_ADDR & ~(BIT(cpuid_physical_bits(w->v)) - 1);
}

static bool reserved_bits_set(const struct walk *w, uint64_t entry, unsigned level) {
    bool page = is_page(w, entry, level);
    if (w->mode == MODE_32) // 4 MB pages: bits 20:13 are address bits 39:32 (PSE-36)
        return level == 2 && page &&
               (entry & BIT(21) || beyond_width(w, (entry >> 13 & 0xff) << 32));
    uint64_t reserved = w->no_execute ? 0 : PTE_NX;
    if (w->mode == MODE_PAE)
        reserved |= 0x7ff0000000000000ull;
    if (level == 4 || (level == 3 && page && !has_1g_pages(w)))
        reserved |= PTE_LARGE;
    if (level > 1 && page)
        reserved |= (level_size(level) - 1) & ~0x1fffull; // bit 12 is PAT
    return entry & reserved || beyond_width(w, entry);
}

static unsigned index_of(const struct walk *w, unsigned level) {
    return w->mode == MODE_32 ? w->gva >> (12 + 10 * (level - 1)) & 1023
                              : table_index(w->gva, level);
}

static uint64_t page_address(const struct walk *w, uint64_t entry, unsigned level) {
    if (w->mode == MODE_32 && level == 2)
        return (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32 | (w->gva & 0x3fffff);
    uint64_t offset = level_size(level) - 1;
    return (entry & PTE_ADDR & ~offset) | (w->gva & offset);
}

// Follows the tables. 0, or a page-fault error code with `*faulted` set.
static uint32_t follow(struct walk *w, bool *faulted) {
    struct vcpu *v = w->v;
    unsigned level = w->mode == MODE_LONG ? 4 : 2;
    uint64_t table = v->cr3 & (w->mode == MODE_LONG ? PTE_ADDR : 0xfffff000);
    *faulted = true;
    w->depth = w->looked = 0;
    if (w->mode == MODE_PAE) { // the four top entries are registers, loaded with CR3
        uint64_t top = v->pdpte[w->gva >> 30 & 3];
        if (!(top & PTE_PRESENT))
            return fault(w, 0);
        table = top & PTE_ADDR;
    }
    w->writable = w->user_page = w->executable = true;
    for (;; level--) {
        uint64_t entry = 0, at = table + index_of(w, level) * w->entry_size;
        w->at[w->depth] = at;
        w->looked = w->depth + 1;
        if (vm_read_near(v->vm, &w->slot, at, &entry, w->entry_size) || !(entry & PTE_PRESENT))
            return fault(w, 0);
        if (reserved_bits_set(w, entry, level))
            return fault(w, ERROR_PRESENT | ERROR_RESERVED);
        w->entry[w->depth++] = entry;
        w->writable &= !!(entry & PTE_WRITE);
        w->user_page &= !!(entry & PTE_USER);
        w->executable &= !(w->no_execute && entry & PTE_NX);
        if (is_page(w, entry, level)) {
            w->gpa = page_address(w, entry, level);
            *faulted = false;
            return 0;
        }
        table = entry & (w->mode == MODE_32 ? 0xfffff000 : PTE_ADDR);
    }
}

// SDM vol. 3, "Determination of Access Rights".
static bool allowed(const struct walk *w) {
    const struct vcpu *v = w->v;
    if (w->user && !w->user_page)
        return false;
    if (w->access & ACCESS_EXEC)
        return w->executable && (w->user || !w->user_page || !(v->cr4 & CR4_SMEP));
    if (!w->user && w->user_page && v->cr4 & CR4_SMAP &&
        (!(v->rflags & RFLAGS_AC) || w->access & ACCESS_IMPLICIT))
        return false;
    return !(w->access & ACCESS_WRITE) || w->writable || (!w->user && !(v->cr0 & CR0_WP));
}

// What entry `i` of a path that leads on becomes by the access.
static uint64_t entry_after(const struct walk *w, unsigned i) {
    bool last = i == w->depth - 1;
    return w->entry[i] | PTE_ACCESSED | (last && w->access & ACCESS_WRITE ? PTE_DIRTY : 0);
}

// 0; -EAGAIN: an entry changed meanwhile.
static int set_accessed_dirty(const struct walk *w) {
    for (unsigned i = 0; i < w->depth; i++) {
        uint64_t old = w->entry[i], new = entry_after(w, i);
        // Tables in read-only memory stay as they are.
        if (new != old &&
            vm_compare_exchange(w->v->vm, w->at[i], w->entry_size, old, new) == -EAGAIN)
            return -EAGAIN;
    }
    return 0;
}

// False: there is no paging, and the address is physical.
static bool begin_walk(struct vcpu *v, uint64_t gva, unsigned access, bool user, struct walk *w) {
    vcpu_sync(v, PART_CR | PART_RFLAGS);
    if (!(v->efer & EFER_LMA))
        gva = (uint32_t)gva;
    *w = (struct walk){
        .v = v, .gva = gva, .access = access, .user = user, .mode = mode_of(v), .gpa = gva};
    w->entry_size = w->mode == MODE_32 ? 4 : 8;
    w->no_execute = w->mode != MODE_32 && v->efer & EFER_NXE;
    return v->cr0 & CR0_PG;
}

int vcpu_translate(struct vcpu *v, uint64_t gva, unsigned access, bool user, uint64_t *gpa,
                   uint32_t *error) {
    struct walk w;
    bool paging = begin_walk(v, gva, access, user, &w);
    *gpa = w.gpa;
    if (!paging)
        return 0;
    do {
        bool faulted;
        *error = follow(&w, &faulted);
        if (faulted)
            return 1;
        if (!allowed(&w)) {
            *error = fault(&w, ERROR_PRESENT);
            return 1;
        }
    } while (set_accessed_dirty(&w));
    *gpa = w.gpa;
    return 0;
}

void vcpu_walk_path(struct vcpu *v, uint64_t gva, unsigned access, bool user, struct walk_path *p) {
    struct walk w;
    bool faulted = false;
    *p = (struct walk_path){.allowed = true};
    if (begin_walk(v, gva, access, user, &w)) {
        follow(&w, &faulted);
        p->allowed = !faulted && allowed(&w);
    }
    for (unsigned i = 0; i < w.looked; i++) {
        p->at[i] = w.at[i];
        p->sets[i] = p->allowed && entry_after(&w, i) != w.entry[i];
    }
    p->looked = w.looked;
    p->entry_size = w.entry_size;
    p->gpa = w.gpa;
}
