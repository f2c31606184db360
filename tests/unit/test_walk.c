/* sources: vmm/walk.c tests/unit/vmm_mock.c */
// The guest's page tables: every mode, page size, right and reserved bit, against the manual's tables as
// an independent model that decides from a list of levels.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/errno.h"
#include "mm/pte.h"
#include "vmm/cpuid.h"
#include "vmm/guest_memory.h"
#include "vmm/vcpu.h"
#include "vmm/walk.h"
#include "vmm/x86.h"
#include "vmm_mock.h"

char *test_direct_map;

#define MEMORY 0x20000
static uint8_t memory[MEMORY];
static struct vm vm;
static struct vcpu cpu;
static bool has_1g;
static unsigned disturbances; // so many exchanges find that the entry changed

int vm_read_near(struct vm *v, struct memory_slot *last, uint64_t gpa, void *buf, size_t n) {
    assert_ptr_equal(v, &vm);
    (void)last;
    if (gpa >= MEMORY || n > MEMORY - gpa)
        return -EFAULT;
    memcpy(buf, memory + gpa, n);
    return 0;
}
int vm_compare_exchange(struct vm *v, uint64_t gpa, unsigned size, uint64_t expected,
                        uint64_t new) {
    assert_ptr_equal(v, &vm);
    uint64_t now = 0;
    assert_true(gpa + size <= MEMORY);
    memcpy(&now, memory + gpa, size);
    if (disturbances) { // another processor was faster
        disturbances--;
        now |= PTE_ACCESSED;
        memcpy(memory + gpa, &now, size);
        return now == expected ? 0 : -EAGAIN;
    }
    if (now != expected)
        return -EAGAIN;
    memcpy(memory + gpa, &new, size);
    return 0;
}
uint32_t cpuid_bits(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, enum cpuid_register r) {
    (void)v, (void)subleaf;
    return leaf == 0x80000001 && r == CPUID_EDX && has_1g ? 1u << 26 : 0;
}
unsigned cpuid_physical_bits(const struct vcpu *v) {
    (void)v;
    return 36;
}

// ---- building tables ---------------------------------------------------------------------------

enum { MODE_32 = 2, MODE_PAE = 3, MODE_LONG = 4 };
#define TABLE(level) (0x1000 * (level)) // where the table of a level is

// One translation: the entries from the top level in memory down to the page, without A and D.
struct path {
    int mode, top, leaf; // levels
    uint64_t entry[5];   // by level
    uint64_t pdpte;
    uint64_t gva;
};

static unsigned index_in(const struct path *p, int level) {
    return p->mode == MODE_32 ? p->gva >> (12 + 10 * (level - 1)) & 1023
                              : p->gva >> (12 + 9 * (level - 1)) & 511;
}
static unsigned entry_size(const struct path *p) {
    return p->mode == MODE_32 ? 4 : 8;
}
static uint8_t *entry_at(const struct path *p, int level) {
    return memory + TABLE(level) + index_in(p, level) * entry_size(p);
}
static uint64_t entry_now(const struct path *p, int level) {
    uint64_t e = 0;
    memcpy(&e, entry_at(p, level), entry_size(p));
    return e;
}

static void store(const struct path *p) {
    memset(memory, 0, sizeof(memory));
    for (int level = p->top; level >= p->leaf; level--)
        memcpy(entry_at(p, level), &p->entry[level], entry_size(p));
    cpu.cr3 = TABLE(p->top);
    memset(cpu.pdpte, 0, sizeof(cpu.pdpte));
    cpu.pdpte[p->gva >> 30 & 3] = p->pdpte;
    cpu.cr0 = CR0_PE | CR0_PG | (cpu.cr0 & CR0_WP);
    cpu.cr4 = (cpu.cr4 & ~CR4_PAE) | (p->mode == MODE_32 ? 0 : CR4_PAE);
    cpu.efer = (cpu.efer & ~EFER_LMA) | (p->mode == MODE_LONG ? EFER_LMA : 0);
}

// A path with all rights.
static struct path simple_path(int mode, int leaf) {
    struct path p = {.mode = mode, .top = mode == MODE_LONG ? 4 : 2, .leaf = leaf};
    p.gva = mode == MODE_LONG ? 0x7f1234567000 + 0x345 : 0x92345000 + 0x345;
    for (int level = p.top; level > leaf; level--)
        p.entry[level] = TABLE(level - 1) | PTE_PRESENT | PTE_WRITE | PTE_USER;
    uint64_t size = mode == MODE_32 ? 1ull << (12 + 10 * (leaf - 1)) : level_size(leaf);
    p.entry[leaf] = (0x8765432100 & ~(size - 1) & 0xfffffffff) | PTE_PRESENT | PTE_WRITE |
                    PTE_USER | (leaf > 1 ? PTE_LARGE : 0);
    if (mode == MODE_32)
        p.entry[leaf] = (0x87654321 & ~(size - 1)) | (p.entry[leaf] & 0xfff);
    p.pdpte = TABLE(2) | PTE_PRESENT;
    return p;
}

// ---- the model ---------------------------------------------------------------------------------

static bool model_reserved(const struct path *p, int level) {
    uint64_t e = p->entry[level];
    bool page = level == p->leaf;
    if (p->mode == MODE_32) // PSE-36, 36 bits: 16:13 are address, 20:17 and 21 reserved
        return level == 2 && page && e & 0x3e0000;
    uint64_t reserved = 0x000ffff000000000; // above 36 bits
    if (!(cpu.efer & EFER_NXE))
        reserved |= PTE_NX;
    if (p->mode == MODE_PAE)
        reserved |= 0x7ff0000000000000;
    if (level == 4)
        reserved |= PTE_LARGE;
    if (page && level == 3)
        reserved |= 0x3fffe000 | (has_1g ? 0 : PTE_LARGE);
    if (page && level == 2)
        reserved |= 0x1fe000;
    return e & reserved;
}

// 0 and *gpa, or the error code + 1.
static uint32_t model(const struct path *p, unsigned access, bool user, uint64_t *gpa) {
    uint32_t error = (user ? 4 : 0) | (access & ACCESS_WRITE ? 2 : 0);
    bool nx_on = p->mode != MODE_32 && cpu.efer & EFER_NXE;
    if (access & ACCESS_EXEC && (nx_on || cpu.cr4 & CR4_SMEP))
        error |= 16;
    bool w = true, u = true, x = true;
    if (p->mode == MODE_PAE && !(p->pdpte & 1))
        return error + 1;
    for (int level = p->top; level >= p->leaf; level--) {
        uint64_t e = p->entry[level];
        if (!(e & 1))
            return error + 1;
        if (model_reserved(p, level))
            return (error | 9) + 1;
        w &= e >> 1 & 1;
        u &= e >> 2 & 1;
        x &= !(nx_on && e >> 63);
    }
    bool ok = true;
    if (user)
        ok = u;
    else if (u && access & ACCESS_EXEC)
        ok = !(cpu.cr4 & CR4_SMEP);
    else if (u && cpu.cr4 & CR4_SMAP)
        ok = cpu.rflags & RFLAGS_AC && !(access & ACCESS_IMPLICIT);
    if (access & ACCESS_EXEC)
        ok &= x;
    if (access & ACCESS_WRITE)
        ok &= w || (!user && !(cpu.cr0 & CR0_WP));
    if (!ok)
        return (error | 1) + 1;
    uint64_t e = p->entry[p->leaf], size = level_size(p->leaf);
    if (p->mode == MODE_32 && p->leaf == 2)
        *gpa = (e & 0xffc00000) | (e >> 13 & 0xf) << 32 | (p->gva & 0x3fffff);
    else
        *gpa = (e & 0x000ffffffffff000 & ~(size - 1)) | (p->gva & (size - 1));
    return 0;
}

// The same access looked at: the same end, the entries that it reads, and nothing changed.
static void check_look(const struct path *p, unsigned access, bool user, uint32_t expected,
                       uint64_t gpa) {
    static uint8_t before[MEMORY];
    struct walk_path seen;
    memcpy(before, memory, MEMORY);
    vcpu_walk_path(&cpu, p->gva, access, user, &seen);
    assert_memory_equal(before, memory, MEMORY);
    assert_int_equal(seen.allowed, expected == 0);
    if (expected == 0)
        assert_int_equal(seen.gpa, gpa);
    assert_int_equal(seen.entry_size, entry_size(p));
    assert_true((int)seen.looked <= p->top - p->leaf + 1);
    for (unsigned i = 0; i < seen.looked; i++) {
        int level = p->top - (int)i;
        uint64_t bits = PTE_ACCESSED | (level == p->leaf && access & ACCESS_WRITE ? PTE_DIRTY : 0);
        assert_int_equal(seen.at[i], entry_at(p, level) - memory);
        assert_int_equal(seen.sets[i], expected == 0 && (p->entry[level] & bits) != bits);
    }
    if (expected == 0)
        assert_int_equal(seen.looked, p->top - p->leaf + 1);
}

static void check(const struct path *p, unsigned access, bool user) {
    uint64_t gpa = 0, expected_gpa = 0;
    uint32_t error = 0, expected;
    store(p);
    expected = model(p, access, user, &expected_gpa);
    check_look(p, access, user, expected, expected_gpa);
    int r = vcpu_translate(&cpu, p->gva, access, user, &gpa, &error);
    assert_int_equal(r, expected != 0);
    if (r)
        assert_int_equal(error, expected - 1);
    else
        assert_int_equal(gpa, expected_gpa);
    // Bits in the tables: only after success, D only in the last entry and only for writes.
    for (int level = p->top; level >= p->leaf; level--) {
        uint64_t now = p->entry[level];
        if (!r)
            now |= PTE_ACCESSED;
        if (!r && level == p->leaf && access & ACCESS_WRITE)
            now |= PTE_DIRTY;
        assert_int_equal(entry_now(p, level), p->mode == MODE_32 ? (uint32_t)now : now);
    }
}

static const unsigned accesses[] = {ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC,
                                    ACCESS_READ | ACCESS_IMPLICIT, ACCESS_WRITE | ACCESS_IMPLICIT};

// Every mode and page size with every combination of rights, control bits and accesses.
static void test_rights(void **state) {
    (void)state;
    static const struct {
        int mode, leaf;
    } shapes[] = {{MODE_32, 1},   {MODE_32, 2},   {MODE_PAE, 1}, {MODE_PAE, 2},
                  {MODE_LONG, 1}, {MODE_LONG, 2}, {MODE_LONG, 3}};
    has_1g = true;
    for (unsigned s = 0; s < ARRAY_SIZE(shapes); s++)
        for (unsigned control = 0; control < 64; control++)
            for (unsigned bits = 0; bits < 64; bits++) { // rights: 3 bits of the top, 3 of the leaf
                struct path p = simple_path(shapes[s].mode, shapes[s].leaf);
                cpu.cr0 = control & 1 ? CR0_WP : 0;
                cpu.cr4 = CR4_PSE | (control & 2 ? CR4_SMEP : 0) | (control & 4 ? CR4_SMAP : 0);
                cpu.efer = control & 8 ? EFER_NXE : 0;
                cpu.rflags = control & 16 ? RFLAGS_AC : 0;
                p.entry[p.top] &= ~(bits & 3) << 1 | ~6ull;
                p.entry[p.leaf] &= ~(bits >> 3 & 3) << 1 | ~6ull;
                if (p.mode != MODE_32) {
                    p.entry[p.top] |= bits & 4 ? PTE_NX : 0;
                    p.entry[p.leaf] |= bits & 32 ? PTE_NX : 0;
                }
                for (unsigned a = 0; a < ARRAY_SIZE(accesses); a++)
                    check(&p, accesses[a], control & 32);
            }
}

// Each bit of each entry alone flipped.
static void test_every_bit(void **state) {
    (void)state;
    cpu.cr0 = CR0_WP;
    cpu.rflags = 0;
    for (unsigned control = 0; control < 8; control++) {
        has_1g = control & 1;
        cpu.efer = control & 2 ? EFER_NXE : 0;
        cpu.cr4 = CR4_PSE;
        for (int mode = MODE_32; mode <= MODE_LONG; mode++)
            for (int leaf = 1; leaf <= (mode == MODE_LONG ? 3 : 2); leaf++) {
                struct path p = simple_path(mode, leaf);
                for (int level = p.top; level >= leaf; level--)
                    for (unsigned bit = 0; bit < (mode == MODE_32 ? 32 : 64); bit++) {
                        // Flips that make another path of it are tested elsewhere.
                        bool address = level > leaf && bit >= 12 && bit < 36;
                        if (address || (bit == 7 && (level == leaf ? leaf > 1 : level < 4)))
                            continue;
                        p.entry[level] ^= BIT(bit);
                        check(&p, ACCESS_WRITE, control & 4);
                        p.entry[level] ^= BIT(bit);
                    }
            }
    }
}

static void test_no_paging(void **state) {
    (void)state;
    uint64_t gpa;
    uint32_t error;
    cpu.cr0 = CR0_PE;
    cpu.efer = 0;
    assert_int_equal(vcpu_translate(&cpu, 0x123456789, ACCESS_WRITE, true, &gpa, &error), 0);
    assert_int_equal(gpa, 0x23456789);
    struct walk_path seen;
    vcpu_walk_path(&cpu, 0x123456789, ACCESS_WRITE, true, &seen);
    assert_true(seen.allowed && seen.looked == 0 && seen.gpa == 0x23456789);
}

static void test_4m_needs_pse(void **state) {
    (void)state;
    struct path p = simple_path(MODE_32, 2);
    uint64_t gpa;
    uint32_t error;
    cpu.cr4 = 0;
    store(&p);
    // Bit 7 is ignored: the entry is taken for a table, which is not in memory.
    assert_int_equal(vcpu_translate(&cpu, p.gva, ACCESS_READ, false, &gpa, &error), 1);
    assert_int_equal(error, 0);
}

static void test_missing_tables(void **state) {
    (void)state;
    uint64_t gpa;
    uint32_t error;
    struct path p = simple_path(MODE_LONG, 1);
    p.entry[3] = (p.entry[3] & 0xfff) | 0xf00000000;
    store(&p);
    assert_int_equal(vcpu_translate(&cpu, p.gva, ACCESS_WRITE, true, &gpa, &error), 1);
    assert_int_equal(error, 6);
    p = simple_path(MODE_PAE, 1);
    p.pdpte = 0;
    check(&p, ACCESS_READ, false);
}

// Another processor changes an entry during the walk: the walk starts anew and ends well.
static void test_race(void **state) {
    (void)state;
    uint64_t gpa;
    uint32_t error;
    struct path p = simple_path(MODE_LONG, 1);
    cpu.cr4 = 0;
    store(&p);
    disturbances = 3;
    assert_int_equal(vcpu_translate(&cpu, p.gva, ACCESS_WRITE, true, &gpa, &error), 0);
    assert_int_equal(disturbances, 0);
    assert_true(entry_now(&p, 1) & PTE_DIRTY);
}

int main(void) {
    cpu.vm = &vm;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rights),         cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_no_paging),      cmocka_unit_test(test_4m_needs_pse),
        cmocka_unit_test(test_missing_tables), cmocka_unit_test(test_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
