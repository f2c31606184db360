// Includes process.h with the kernel's own signal and time structures, hence none of the C library's
// headers that define others.
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "lib/assert.h"
#include "mm_host.h"
#include "mm/heap.h"
#include "mm/kernel_map.h"
#include "mm/notify.h"
#include "mm/reclaim.h"
#include "mm/rmap.h"
#include "mm/tlb.h"
#include "proc/pool.h"
#include "proc/process.h"

void *calloc(size_t n, size_t size);
void *aligned_alloc(size_t alignment, size_t size);
void free(void *p);

char *test_direct_map;
struct frame *test_frame_table;
long host_pool_left = -1;
unsigned host_tlb_flushes;
static struct process *process;

void page_clear(void *page) {
    memset(page, 0, PAGE_SIZE);
}
void page_copy(void *to, const void *from) {
    memcpy(to, from, PAGE_SIZE);
}
size_t reclaim_frames(size_t n) {
    (void)n;
    return 0;
}
void kernel_map_copy_root(uint64_t *pml4) {
    (void)pml4;
}
void tlb_flush(struct space *s, uint64_t start, uint64_t end) {
    (void)start, (void)end;
    host_tlb_flushes++;
    notify_flush(s);
}
void tlb_flush_cpus(uint64_t mask) {
    (void)mask;
    notify_flush(NULL);
}
void tlb_abandon(struct space *s) {
    (void)s;
}
void cond_resched(void) {}

void mutex_init(struct mutex *m) {
    m->owner = NULL;
}
void mutex_lock(struct mutex *m) {
    ASSERT(!m->owner);
    m->owner = (void *)1;
}
void mutex_unlock(struct mutex *m) {
    ASSERT(m->owner);
    m->owner = NULL;
}
bool mutex_held(const struct mutex *m) {
    return m->owner;
}

struct process *current_process(void) {
    return process;
}
bool pool_charge(struct pool *p, uint64_t pages) {
    (void)p;
    if (host_pool_left < 0)
        return true;
    if ((uint64_t)host_pool_left < pages)
        return false;
    host_pool_left -= pages;
    return true;
}
void pool_uncharge(struct pool *p, uint64_t pages) {
    (void)p;
    if (host_pool_left >= 0)
        host_pool_left += pages;
}

// ---- a file ------------------------------------------------------------------------------------

struct host_file {
    struct file file;
    unsigned pages;
    struct frame *frames[];
};

static int file_fault(struct region *r, uint64_t index, bool write, struct frame **out) {
    (void)write;
    struct host_file *h = (struct host_file *)r->file;
    if (index >= h->pages)
        return -EIO;
    *out = h->frames[index];
    frame_get(*out);
    return 0;
}
static struct frame *file_peek(struct region *r, uint64_t index) {
    struct frame *f = NULL;
    return file_fault(r, index, false, &f) ? NULL : f;
}
static const struct region_ops host_region_ops = {.fault = file_fault, .peek = file_peek};
static int file_mmap(struct file *f, struct region *r) {
    (void)f;
    r->ops = &host_region_ops;
    return 0;
}
static const struct file_ops host_file_ops = {.mmap = file_mmap};

struct file *host_file_create(unsigned pages) {
    struct host_file *h = calloc(1, sizeof(*h) + pages * sizeof(h->frames[0]));
    h->file.refs = 1;
    h->file.flags = O_RDWR;
    h->file.ops = &host_file_ops;
    h->pages = pages;
    for (unsigned i = 0; i < pages; i++) {
        h->frames[i] = frame_alloc(0, FRAME_ZERO, FRAME_CACHE);
        h->frames[i]->owner = h;
        h->frames[i]->index = i;
    }
    return &h->file;
}
struct frame *host_file_frame(struct file *f, unsigned page) {
    return ((struct host_file *)f)->frames[page];
}
uint64_t host_file_value(struct file *f, unsigned page) {
    return *(uint64_t *)frame_virt(host_file_frame(f, page));
}
void host_file_destroy(struct file *f) {
    struct host_file *h = (struct host_file *)f;
    ASSERT(f->refs == 1);
    for (unsigned i = 0; i < h->pages; i++) {
        ASSERT(h->frames[i]->refs == 1);
        frame_put(h->frames[i]);
    }
    free(h);
}
void file_put(struct file *f) {
    ASSERT(f->refs > 1);
    f->refs--;
}
struct file *shmem_file_create(const char *name, uint64_t size) {
    (void)name, (void)size;
    return ERR_PTR(-ENOMEM);
}

void host_memory_init(void) {
    if (test_direct_map)
        return;
    test_direct_map = aligned_alloc(GIB,
                                    GIB); // only HOST_MEMORY is touched; buddies are in the table
    test_frame_table = calloc(GIB / PAGE_SIZE, sizeof(struct frame));
    process = calloc(1, sizeof(*process));
    process->pool = (struct pool *)process;
    for (unsigned i = 0; i < RLIM_NLIMITS; i++)
        process->limits[i].rlim_cur = RLIM_INFINITY;
    process->limits[RLIMIT_STACK].rlim_cur = 8 * MIB;
    frame_init(GIB / PAGE_SIZE);
    frame_add_reserved(0, MIB / PAGE_SIZE);
    frame_add_free(MIB / PAGE_SIZE, HOST_MEMORY / PAGE_SIZE);
    heap_init();
}

void host_assert_no_leak(const struct memory_stats *before) {
    struct memory_stats now;
    memory_stats(&now);
    ASSERT(now.anon == before->anon);
    ASSERT(now.tables == before->tables);
    ASSERT(now.cache == before->cache);
    ASSERT(now.free + now.kernel == before->free + before->kernel);
    ASSERT(rmap_cells() == 0);
}
