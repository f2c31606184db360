#include "vmm/machine/sums.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "vmm/machine/hash.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/page_sum.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

struct sums {
    struct machine *machine;
    uint64_t page_count;
    uint32_t unit_pages;
    size_t unit_count;
    // Tables of which only the parts in use take memory.
    struct page_sum *pages;
    struct memory_sum *units;
    uint64_t *dirty; // a bit for each page of RAM that may differ from its sum
    uint64_t *log;   // where KVM writes a slot's log
    bool failed;
};

static void *table(uint64_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static uint64_t bitmap_size(const struct sums *s) {
    return (s->page_count + 63) / 64 * 8;
}

struct sums *sums_create(struct machine *m, uint32_t unit) {
    struct sums *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->machine = m;
    s->page_count = m->ram_size / MEMORY_PAGE;
    s->unit_pages = unit / MEMORY_PAGE;
    s->unit_count = (s->page_count + s->unit_pages - 1) / s->unit_pages;
    s->pages = table(s->page_count * sizeof(*s->pages));
    s->units = table(s->unit_count * sizeof(*s->units));
    s->dirty = table(bitmap_size(s));
    s->log = table(bitmap_size(s));
    if (s->pages && s->units && s->dirty && s->log)
        return s;
    sums_free(s);
    return NULL;
}

static void free_table(void *p, uint64_t size) {
    if (p)
        munmap(p, size);
}

void sums_free(struct sums *s) {
    free_table(s->pages, s->page_count * sizeof(*s->pages));
    free_table(s->units, s->unit_count * sizeof(*s->units));
    free_table(s->dirty, bitmap_size(s));
    free_table(s->log, bitmap_size(s));
    free(s);
}

// The first failure is told; at the machine's end, too, where nothing can be stopped any more.
static void fail(struct sums *s, const char *what, const char *why) {
    if (!s->failed && s->machine->end != MACHINE_RUNNING)
        machine_log(s->machine, "%s%s", what, why);
    s->failed = true;
    machine_stop(s->machine, MACHINE_FAILED, "%s%s", what, why);
}

bool sums_failed(const struct sums *s) {
    return s->failed;
}

// ---- which pages may have changed -----------------------------------------------------------------------
static void set(uint64_t *bitmap, uint64_t bit) {
    bitmap[bit / 64] |= 1ull << bit % 64;
}

void sums_note(struct sums *s, uint64_t offset, uint64_t n) {
    for (uint64_t page = offset / MEMORY_PAGE; n && page <= (offset + n - 1) / MEMORY_PAGE; page++)
        set(s->dirty, page);
}

void sums_note_cleared(struct sums *s) {
    for (uint64_t page = 0; page < s->page_count; page++)
        if (s->pages[page].full)
            set(s->dirty, page);
}

// Adds a slot's log, whose pages begin at page `first` of RAM.
static void add_log(struct sums *s, unsigned slot, uint64_t first, uint64_t count) {
    struct machine *m = s->machine;
    struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = s->log};
    if (ioctl(m->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0) {
        fail(s, "KVM does not say which memory was written: ", strerror(errno));
        return;
    }
    for (uint64_t word = 0; word < (count + 63) / 64; word++)
        for (uint64_t bits = s->log[word]; bits; bits &= bits - 1)
            set(s->dirty, first + word * 64 + (uint64_t)__builtin_ctzll(bits));
}

static void collect(struct sums *s) {
    struct machine *m = s->machine;
    for (unsigned i = 0; i < m->slot_count; i++)
        add_log(s, i, m->slots[i].offset / MEMORY_PAGE, m->slots[i].size / MEMORY_PAGE);
}

// ---- sums ------------------------------------------------------------------------------------------------
static void sum_again(struct sums *s, uint64_t page) {
    struct page_sum new = page_sum(s->machine->ram + page * MEMORY_PAGE), *old = &s->pages[page];
    if (new.full == old->full &&new.masked == old->masked)
        return;
    memory_sum_replace(&s->units[page / s->unit_pages], (uint32_t)(page % s->unit_pages), old,
                       &new);
    *old = new;
}

static void sum_dirty(struct sums *s) {
    for (uint64_t word = 0; word < bitmap_size(s) / 8; word++) {
        for (uint64_t bits = s->dirty[word]; bits; bits &= bits - 1)
            sum_again(s, word * 64 + (uint64_t)__builtin_ctzll(bits));
        if (s->dirty[word])
            s->dirty[word] = 0;
    }
}

const struct memory_sum *sums_now(struct sums *s, size_t *count) {
    collect(s);
    sum_dirty(s);
    *count = s->unit_count;
    return s->units;
}

const struct page_sum *sums_pages(const struct sums *s, uint64_t *count) {
    *count = s->page_count;
    return s->pages;
}

void sums_verify(struct sums *s) {
    char where[64];
    for (uint64_t page = 0; page < s->page_count; page++) {
        struct page_sum now = page_sum(s->machine->ram + page * MEMORY_PAGE);
        if (now.full == s->pages[page].full && now.masked == s->pages[page].masked)
            continue;
        snprintf(where, sizeof(where), "0x%llx",
                 (unsigned long long)memory_address(s->machine, page * MEMORY_PAGE));
        fail(s, "a sum of memory is not that of its contents: the page at ", where);
        return;
    }
}

static uint64_t hash_units(const struct sums *s) {
    return XXH3_64bits(s->units, s->unit_count * sizeof(*s->units));
}

uint64_t machine_hash_memory(struct machine *m) {
    size_t count;
    if (m->sums) {
        sums_now(m->sums, &count);
        return hash_units(m->sums);
    }
    struct sums *s = sums_create(m, MEMORY_REGION); // nothing is logged: all of it, once
    if (!s) {
        machine_stop(m, MACHINE_FAILED, "out of memory for the sums of memory");
        return 0;
    }
    sums_note(s, 0, m->ram_size);
    sum_dirty(s);
    uint64_t hash = hash_units(s);
    sums_free(s);
    return hash;
}

// ---- naming ----------------------------------------------------------------------------------------------
void sums_name_difference(struct sums *s, size_t unit, const struct memory_sum *recorded, char *buf,
                          size_t n) {
    struct machine *m = s->machine;
    uint64_t size = (uint64_t)s->unit_pages * MEMORY_PAGE, start = unit * size;
    int page = memory_sum_locate(&s->units[unit], recorded, s->unit_pages);
    if (page >= 0)
        snprintf(buf, n, "memory: the page at guest-physical 0x%llx",
                 (unsigned long long)memory_address(m, start + (uint64_t)page * MEMORY_PAGE));
    else
        snprintf(buf, n, "memory: several pages of the %llu KB at guest-physical 0x%llx",
                 (unsigned long long)size >> 10, (unsigned long long)memory_address(m, start));
}
