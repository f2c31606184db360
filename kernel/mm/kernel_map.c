#include "mm/kernel_map.h"
#include "cpu/features.h"
#include "cpu/msr.h"
#include "cpu/x86.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/pte.h"
#include "sync/spinlock.h"

paddr_t kernel_root;
static uint64_t *root;
static void *(*boot_alloc_table)(void); // NULL once frames are there
static struct spinlock map_lock =
    SPINLOCK_INIT; // covers all tables below the kernel's PML4 entries
// The areas that ever get mappings; each has its level-3 table from the start.
static const uint64_t areas[] = {DIRECT_MAP, FRAME_TABLE, STACK_AREA, DEVICE_AREA, KERNEL_BASE};

static uint64_t *table_alloc(void) {
    if (boot_alloc_table)
        return boot_alloc_table();
    struct frame *f = frame_alloc(0, FRAME_ZERO | FRAME_ATOMIC, FRAME_TABLE_PAGE);
    return f ? frame_virt(f) : NULL;
}

static uint64_t *next_table(uint64_t *entry) {
    if (!*entry) {
        uint64_t *table = table_alloc();
        if (!table)
            return NULL;
        *entry = virt_to_phys(table) | PTE_PRESENT | PTE_WRITE;
    }
    ASSERT(!(*entry & PTE_LARGE));
    return phys_to_virt(*entry & PTE_ADDR);
}

// The entry for va in the table of `level` (1: 4 KB, 2: 2 MB, 3: 1 GB).
static uint64_t *entry_at(uint64_t va, unsigned level) {
    uint64_t *table = root;
    for (unsigned l = 4; table && l > level; l--)
        table = next_table(&table[table_index(va, l)]);
    return table ? &table[table_index(va, level)] : NULL;
}

static unsigned best_level(uint64_t va, paddr_t pa, uint64_t size) {
    for (unsigned level = cpu_has(FEATURE_1GB_PAGES) ? 3 : 2; level > 1; level--)
        if (IS_ALIGNED(va | pa, level_size(level)) && size >= level_size(level))
            return level;
    return 1;
}

bool kernel_map_range(uint64_t va, paddr_t pa, uint64_t size, uint64_t rights) {
    ASSERT(IS_ALIGNED(va | pa | size, PAGE_SIZE));
    uint64_t bits = PTE_PRESENT | PTE_GLOBAL | PTE_ACCESSED | PTE_DIRTY | (rights & ~KMAP_EXEC) |
                    (rights & KMAP_EXEC ? 0 : PTE_NX);
    bool ok = true;
    spin_lock(&map_lock);
    while (size && ok) {
        unsigned level = best_level(va, pa, size);
        uint64_t *entry = entry_at(va, level);
        ok = entry;
        if (ok) {
            ASSERTF(!*entry, "kernel address %#llx is mapped already", (unsigned long long)va);
            *entry = pa | bits | (level > 1 ? PTE_LARGE : 0);
            va += level_size(level);
            pa += level_size(level);
            size -= level_size(level);
        }
    }
    spin_unlock(&map_lock);
    return ok;
}

void kernel_unmap_range(uint64_t va, uint64_t size) {
    spin_lock(&map_lock);
    for (; size; va += PAGE_SIZE, size -= PAGE_SIZE) {
        uint64_t *entry = entry_at(va, 1);
        if (entry)
            *entry = 0;
    }
    spin_unlock(&map_lock);
}

paddr_t kernel_lookup(uint64_t va) {
    spin_lock(&map_lock);
    const uint64_t *entry = entry_at(va, 1);
    ASSERT(entry && *entry & PTE_PRESENT);
    paddr_t pa = *entry & PTE_ADDR;
    spin_unlock(&map_lock);
    return pa;
}

void kernel_map_copy_root(uint64_t *pml4) {
    for (unsigned i = 0; i < ARRAY_SIZE(areas); i++)
        pml4[table_index(areas[i], 4)] = root[table_index(areas[i], 4)];
}

void kernel_map_init(void *(*alloc)(void)) {
    boot_alloc_table = alloc;
    root = alloc();
    kernel_root = virt_to_phys(root);
    for (unsigned i = 0; i < ARRAY_SIZE(areas); i++)
        next_table(&root[table_index(areas[i], 4)]);
}

void kernel_map_activate(void) {
    boot_alloc_table = NULL;
    write_cr4(read_cr4() & ~CR4_PGE); // drops the boot mappings, global ones too
    write_cr3(kernel_root);
    write_cr4(read_cr4() | CR4_PGE);
}
