// memory_init(): from the firmware's list of memory to frame table, final kernel page tables, page
// allocator and heap. Until then memory comes from the end of the largest free range below 4 GB,
// which is what the boot page tables map.
#include "boot/boot_info.h"
#include "boot/main.h"
#include "cpu/x86.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/heap.h"
#include "mm/kernel_map.h"
#include "mm/tlb.h"

extern char kernel_text_start[], kernel_text_end[], kernel_rodata_start[], kernel_rodata_end[],
    kernel_data_start[], kernel_data_end[], boot_stack_guard[]; // the guard is one page in bss

#define LOW_MEMORY  MIB // firmware data, VGA, the trampoline of the other processors
#define BOOT_MAPPED (4 * GIB)

struct range {
    paddr_t start, end; // page aligned
};
static struct range free_ranges[ARRAY_SIZE(boot_info.memory) + 4]; // sorted
static unsigned free_count;
static uint8_t zero_page[PAGE_SIZE] aligned_to(PAGE_SIZE);

static inline paddr_t image_phys(const char *v) {
    return (uint64_t)v - KERNEL_BASE;
}

// Takes [start, end) out of the free ranges.
static void exclude(paddr_t start, paddr_t end) {
    start = ROUND_DOWN(start, PAGE_SIZE);
    end = ROUND_UP(end, PAGE_SIZE);
    for (unsigned i = 0; i < free_count; i++) {
        struct range *r = &free_ranges[i];
        if (end <= r->start || start >= r->end)
            continue;
        if (start > r->start && end < r->end) { // a hole: the upper part becomes a range
            ASSERT(free_count < ARRAY_SIZE(free_ranges));
            memmove(r + 2, r + 1, (free_count - i - 1) * sizeof(*r));
            r[1] = (struct range){end, r->end};
            r->end = start;
            free_count++;
            i++;
        } else if (start > r->start) {
            r->end = start;
        } else {
            r->start = MIN(end, r->end);
        }
    }
}

static void collect_free_ranges(void) {
    for (unsigned i = 0; i < boot_info.memory_count; i++) {
        const struct memory_range *m = &boot_info.memory[i];
        paddr_t start = ROUND_UP(m->start, PAGE_SIZE), end = ROUND_DOWN(m->end, PAGE_SIZE);
        if (m->usable && start < end)
            free_ranges[free_count++] = (struct range){start, end};
    }
    exclude(0, LOW_MEMORY);
    exclude(boot_info.image_start, boot_info.image_end);
    exclude(boot_info.initrd_start, boot_info.initrd_end);
}

// Zeroed pages for good.
static void *boot_alloc(uint64_t size) {
    struct range *best = NULL;
    for (unsigned i = 0; i < free_count; i++) {
        struct range *r = &free_ranges[i];
        if (r->end <= BOOT_MAPPED && (!best || r->end - r->start > best->end - best->start))
            best = r;
    }
    if (!best || best->end - best->start < size)
        panic("mm: too little memory: %llu bytes for the tables of the page allocator are missing",
              (unsigned long long)size);
    best->end -= size;
    char *p = phys_to_virt(best->end);
    for (uint64_t i = 0; i < size; i += PAGE_SIZE)
        page_clear(p + i);
    return p;
}

static void *boot_alloc_page(void) {
    return boot_alloc(PAGE_SIZE);
}

static bool has_memory(paddr_t start, paddr_t end) {
    for (unsigned i = 0; i < boot_info.memory_count; i++)
        if (boot_info.memory[i].usable && boot_info.memory[i].start < end &&
            boot_info.memory[i].end > start)
            return true;
    return false;
}

// The table has memory where there is RAM; the rest of each GB that has RAM reads as zeros, because
// the buddy allocator looks at neighbours of its blocks.
static void map_frame_table(paddr_t end) {
    const uint64_t covers = PAGE_SIZE / sizeof(struct frame) *
                            PAGE_SIZE; // by one page of the table
    for (paddr_t gb = 0; gb < end; gb += GIB) {
        if (!has_memory(gb, gb + GIB))
            continue;
        for (paddr_t p = gb; p < gb + GIB; p += covers) {
            uint64_t va = (uint64_t)phys_frame(p);
            if (has_memory(p, p + covers))
                kernel_map_range(va, virt_to_phys(boot_alloc_page()), PAGE_SIZE, KMAP_WRITE);
            else
                kernel_map_range(va, image_phys((char *)zero_page), PAGE_SIZE, 0);
        }
    }
}

static void map_direct(paddr_t start, paddr_t end, uint64_t rights) {
    if (start < end)
        kernel_map_range(DIRECT_MAP + start, start, end - start, rights);
}

// RAM and what the firmware lists (ACPI tables); the kernel's text and constants not writable.
static void map_physical(void) {
    const paddr_t ro_start = image_phys(kernel_text_start), ro_end = image_phys(kernel_rodata_end);
    map_direct(0, LOW_MEMORY, KMAP_WRITE);
    paddr_t done = LOW_MEMORY;
    for (unsigned i = 0; i < boot_info.memory_count; i++) {
        const struct memory_range *m = &boot_info.memory[i];
        paddr_t start = MAX(ROUND_DOWN(m->start, PAGE_SIZE), done);
        paddr_t end = ROUND_UP(m->end, PAGE_SIZE);
        if (start >= end || (!m->usable && start >= BOOT_MAPPED))
            continue;
        if (start <= ro_start && ro_end <= end) {
            map_direct(start, ro_start, KMAP_WRITE);
            map_direct(ro_start, ro_end, 0);
            map_direct(ro_end, end, KMAP_WRITE);
        } else {
            map_direct(start, end, KMAP_WRITE);
        }
        done = end;
    }
}

static void map_section(const char *start, const char *end, uint64_t rights) {
    kernel_map_range((uint64_t)start, image_phys(start), end - start, rights);
}

static void map_image(void) {
    map_section(kernel_text_start, kernel_text_end, KMAP_EXEC);
    map_section(kernel_rodata_start, kernel_rodata_end, 0);
    map_section(kernel_data_start, boot_stack_guard, KMAP_WRITE);
    map_section(boot_stack_guard + PAGE_SIZE, kernel_data_end, KMAP_WRITE);
}

static void hand_over_frames(void) {
    for (unsigned i = 0; i < boot_info.memory_count; i++) {
        const struct memory_range *m = &boot_info.memory[i];
        paddr_t at = ROUND_UP(m->start, PAGE_SIZE), end = ROUND_DOWN(m->end, PAGE_SIZE);
        if (!m->usable || at >= end)
            continue;
        for (unsigned k = 0; k < free_count; k++) {
            const struct range *r = &free_ranges[k];
            if (r->start < at || r->end > end || r->start >= r->end)
                continue;
            frame_add_reserved(at >> PAGE_SHIFT, r->start >> PAGE_SHIFT);
            frame_add_free(r->start >> PAGE_SHIFT, r->end >> PAGE_SHIFT);
            at = r->end;
        }
        frame_add_reserved(at >> PAGE_SHIFT, end >> PAGE_SHIFT);
    }
}

void memory_init(void) {
    page_ops_init();
    collect_free_ranges();
    paddr_t end = 0;
    for (unsigned i = 0; i < boot_info.memory_count; i++)
        if (boot_info.memory[i].usable)
            end = MAX(end, ROUND_DOWN(boot_info.memory[i].end, PAGE_SIZE));
    kernel_map_init(boot_alloc_page);
    map_image();
    map_physical();
    map_frame_table(end);
    kernel_map_activate();
    frame_init(end >> PAGE_SHIFT);
    hand_over_frames();
    heap_init();
    tlb_init();
    struct memory_stats s;
    memory_stats(&s);
    log_info("mm: %llu MiB of memory, %llu MiB free", (unsigned long long)(s.total >> 8),
             (unsigned long long)(s.free >> 8));
}
