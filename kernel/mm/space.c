// Address spaces: life, and the work of mmap() and its relatives.
#include "mm/space.h"
#include "fs/file.h"
#include "fs/inode.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/fault.h"
#include "mm/heap.h"
#include "mm/pagetable.h"
#include "mm/region.h"
#include "mm/remap.h"
#include "mm/tlb.h"
#include "proc/process.h"
#include "sched/world.h"

#define MMAP_MIN_ADDR (64 * KIB)
#define REGIONS_MAX   65530 // as Linux's vm.max_map_count
// Flags of mmap() that a region keeps.
#define KEPT_FLAGS \
    (MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_NORESERVE | MAP_STACK)

struct space *space_create(void) {
    struct space *s = kzalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->refs = s->keeps = 1;
    mutex_init(&s->lock);
    list_init(&s->notifiers);
    if (pt_create(s)) {
        kfree(s);
        return NULL;
    }
    return s;
}

void space_get(struct space *s) {
    __atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
}

void space_put(struct space *s) {
    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
        return;
    tlb_abandon(s);
    struct tree_node *n;
    while ((n = tree_first(&s->regions))) {
        struct region *r = tree_entry(n, struct region, node);
        // What else these 2 MB hold goes, too: tables are let go as a whole.
        int err = pt_zap(s, ROUND_DOWN(r->start, LARGE_PAGE_SIZE),
                         ROUND_UP(r->end, LARGE_PAGE_SIZE));
        ASSERT(!err); // only a part of a shared table needs memory
        region_remove(r);
        cond_resched();
    }
    pt_destroy(s);
    space_unkeep(s);
}

void space_keep(struct space *s) {
    __atomic_fetch_add(&s->keeps, 1, __ATOMIC_RELAXED);
}

void space_unkeep(struct space *s) {
    if (__atomic_sub_fetch(&s->keeps, 1, __ATOMIC_ACQ_REL) == 0)
        kfree(s);
}

static uint64_t limit_of(unsigned resource) {
    struct process *p = current_process();
    return p ? READ_ONCE(p->limits[resource].rlim_cur) : RLIM_INFINITY;
}

// Whether `bytes` more may be reserved; data: private and writable.
static bool within_limits(const struct space *s, uint64_t bytes, bool data) {
    uint64_t all = (s->pages_virtual << PAGE_SHIFT) + bytes;
    uint64_t private = (s->pages_data << PAGE_SHIFT) + bytes;
    return all <= limit_of(RLIMIT_AS) && (!data || private <= limit_of(RLIMIT_DATA));
}

// True when [addr, addr + len) is page aligned and in user space; rounds len up.
static bool valid_range(uint64_t addr, uint64_t *len) {
    if (!IS_ALIGNED(addr, PAGE_SIZE) || *len > USER_END)
        return false;
    *len = ROUND_UP(*len, PAGE_SIZE);
    return addr <= USER_END && *len <= USER_END - addr;
}

static bool range_is_free(struct space *s, uint64_t start, uint64_t end) {
    struct region *r = region_from(s, start);
    return !r || r->start >= end;
}

// Makes region borders at both ends. Lock held.
static int isolate(struct space *s, uint64_t start, uint64_t end) {
    int err = region_split(s, start);
    return err ? err : region_split(s, end);
}

int space_unmap_locked(struct space *s, uint64_t start, uint64_t end) {
    if (range_is_free(s, start, end))
        return 0;
    int err = isolate(s, start, end);
    if (!err)
        err = pt_zap(s, start, end);
    if (err)
        return err;
    struct region *r = region_from(s, start);
    while (r && r->start < end) {
        struct region *next = region_next(r);
        region_remove(r);
        r = next;
    }
    return 0;
}

// Whether the file may be mapped with these rights.
static int check_file(const struct file *f, int prot, int flags) {
    unsigned mode = f->flags & O_ACCMODE;
    if (!f->ops->mmap)
        return -ENODEV;
    if (mode == O_WRONLY || ((flags & MAP_SHARED) && (prot & PROT_WRITE) && mode != O_RDWR))
        return -EACCES;
    return 0;
}

// Where the mapping goes: addr, or -errno. Lock held.
static long place(struct space *s, uint64_t addr, uint64_t len, int flags, bool anon) {
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (!IS_ALIGNED(addr, PAGE_SIZE))
            return -EINVAL;
        if (addr > USER_END || len > USER_END - addr)
            return -ENOMEM;
        if (addr < MMAP_MIN_ADDR)
            return -EPERM;
        if (flags & MAP_FIXED_NOREPLACE && !range_is_free(s, addr, addr + len))
            return -EEXIST;
        return addr;
    }
    addr = ROUND_UP(addr, PAGE_SIZE);
    if (addr >= MMAP_MIN_ADDR && addr <= USER_END && len <= USER_END - addr &&
        range_is_free(s, addr, addr + len))
        return addr;
    // Large anonymous mappings are aligned so that 2 MB pages fit.
    bool large = anon && len >= LARGE_PAGE_SIZE && !(flags & MAP_STACK);
    addr = large ? region_find_hole(s, len, LARGE_PAGE_SIZE) : 0;
    if (!addr)
        addr = region_find_hole(s, len, PAGE_SIZE);
    return addr ? (long)addr : -ENOMEM;
}

// Adds the region for [addr, addr + len), which is free; takes over the reference of `file`.
static int add_region(struct space *s, uint64_t addr, uint64_t len, int prot, int flags,
                      struct file *file, uint64_t offset) {
    struct region r = {
        .space = s,
        .start = addr,
        .end = addr + len,
        .prot = prot,
        .flags = flags & KEPT_FLAGS,
        .pgoff = file ? offset >> PAGE_SHIFT : 0,
        .file = file,
    };
    int err = file ? file->ops->mmap(file, &r) : 0;
    if (!err && !region_insert(s, &r)) {
        if (r.ops && r.ops->close)
            r.ops->close(&r);
        err = -ENOMEM;
    }
    if (err && file)
        file_put(file);
    return err;
}

// `file`: reference of the caller, taken over.
static long map_locked(struct space *s, uint64_t addr, uint64_t len, int prot, int flags,
                       struct file *file, uint64_t offset) {
    bool data = (prot & PROT_WRITE) && !(flags & MAP_SHARED);
    long at = place(s, addr, len, flags, !file);
    int err = at < 0 ? at : 0;
    if (!err && !within_limits(s, len, data))
        err = -ENOMEM;
    if (!err && flags & MAP_FIXED)
        err = space_unmap_locked(s, at, at + len);
    if (err) {
        if (file)
            file_put(file);
        return err;
    }
    err = add_region(s, at, len, prot, flags, file, offset);
    if (err)
        return err;
    if (flags & (MAP_POPULATE | MAP_LOCKED) || s->lock_future)
        (void)fault_populate(s, at, at + len); // as in Linux, mmap() succeeds anyway
    return at;
}

long space_map(struct space *s, uint64_t addr, uint64_t len, int prot, int flags, struct file *file,
               uint64_t offset) {
    int type = flags & MAP_TYPE;
    if (type == MAP_SHARED_VALIDATE)
        flags = (flags & ~MAP_TYPE) | (type = MAP_SHARED);
    if (!len || (type != MAP_SHARED && type != MAP_PRIVATE) || !IS_ALIGNED(offset, PAGE_SIZE))
        return -EINVAL;
    if (len > USER_END)
        return -ENOMEM;
    len = ROUND_UP(len, PAGE_SIZE);
    if (offset + len < offset)
        return -EOVERFLOW;
    if (flags & MAP_GROWSDOWN && (file || type == MAP_SHARED))
        return -EINVAL;
    prot &= PROT_READ | PROT_WRITE | PROT_EXEC;
    if (file) {
        int err = check_file(file, prot, flags);
        if (err)
            return err;
        file_get(file);
    } else if (type == MAP_SHARED) { // backed by an unnamed file in memory
        file = shmem_file_create("dev/zero", len);
        if (IS_ERR(file))
            return PTR_ERR(file);
        offset = 0;
    }
    mutex_lock(&s->lock);
    long at = map_locked(s, addr, len, prot, flags, file, offset);
    mutex_unlock(&s->lock);
    return at;
}

int space_unmap(struct space *s, uint64_t addr, uint64_t len) {
    if (!valid_range(addr, &len) || !len)
        return -EINVAL;
    mutex_lock(&s->lock);
    int err = space_unmap_locked(s, addr, addr + len);
    mutex_unlock(&s->lock);
    return err;
}

bool space_fully_mapped(struct space *s, uint64_t start, uint64_t end) {
    for (struct region *r = region_from(s, start); r && r->start <= start; r = region_next(r)) {
        if (r->end >= end)
            return true;
        start = r->end;
    }
    return start >= end;
}

static int protect_region(struct region *r, int prot) {
    if (r->prot == prot)
        return 0;
    if (r->file && region_is_shared(r) && prot & PROT_WRITE &&
        (r->file->flags & O_ACCMODE) != O_RDWR)
        return -EACCES;
    bool becomes_data = prot & PROT_WRITE && !(r->prot & PROT_WRITE) && !region_is_shared(r);
    uint64_t data = r->space->pages_data + region_pages(r);
    if (becomes_data && data << PAGE_SHIFT > limit_of(RLIMIT_DATA))
        return -ENOMEM;
    int old = r->prot;
    region_set_prot(r, prot);
    int err = pt_protect(r->space, r->start, r->end, prot, region_is_shared(r));
    if (err) // some entries may have fewer rights than the region: faults restore them
        region_set_prot(r, old);
    return err;
}

int space_protect(struct space *s, uint64_t addr, uint64_t len, int prot) {
    if (!IS_ALIGNED(addr, PAGE_SIZE) || prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM))
        return -EINVAL;
    if (!valid_range(addr, &len))
        return -ENOMEM;
    if (!len)
        return 0;
    prot &= ~PROT_SEM;
    uint64_t end = addr + len;
    mutex_lock(&s->lock);
    int err = space_fully_mapped(s, addr, end) ? isolate(s, addr, end) : -ENOMEM;
    for (struct region *r = region_from(s, addr); !err && r && r->start < end;) {
        err = protect_region(r, prot);
        r = region_next(region_merge(r));
    }
    mutex_unlock(&s->lock);
    return err;
}

// brk() never says why: the result is the break that holds.
uint64_t space_set_brk(struct space *s, uint64_t brk) {
    mutex_lock(&s->lock);
    uint64_t old_end = ROUND_UP(s->brk, PAGE_SIZE), new_end = ROUND_UP(brk, PAGE_SIZE);
    bool ok = brk >= s->brk_start && brk < USER_END && new_end >= brk &&
              brk - s->brk_start <= limit_of(RLIMIT_DATA);
    if (ok && new_end < old_end)
        ok = space_unmap_locked(s, new_end, old_end) == 0;
    else if (ok && new_end > old_end)
        ok = range_is_free(s, old_end, new_end + PAGE_SIZE) &&
             within_limits(s, new_end - old_end, true) &&
             add_region(s, old_end, new_end - old_end, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0) == 0;
    if (ok)
        s->brk = brk;
    brk = s->brk;
    mutex_unlock(&s->lock);
    return brk;
}

void space_for_each(struct space *s, void (*fn)(struct region *r, void *arg), void *arg) {
    mutex_lock(&s->lock);
    for (struct tree_node *n = tree_first(&s->regions); n; n = tree_next(n))
        fn(tree_entry(n, struct region, node), arg);
    mutex_unlock(&s->lock);
}

// The frame that is there now, with a reference; false: not accessible that way. Lock held.
static bool lookup(struct space *s, uint64_t addr, unsigned access, struct frame **frame,
                   bool *writable, uint64_t *size) {
    bool found = false;
    spin_lock(&tables_lock);
    uint64_t *pde = pt_pde(s, addr, false), e = pde ? *pde : 0;
    bool large = e & PTE_LARGE;
    if (pde_is_table(e))
        e = *pt_entry(pde, addr) & (*pde & PTE_WRITE ? ~0ull : ~PTE_WRITE);
    if (e & PTE_PRESENT && (!(access & ACCESS_WRITE) || e & PTE_WRITE)) {
        *frame = entry_frame(e) + (large ? table_index(addr, 1) : 0);
        *writable = e & PTE_WRITE;
        *size = large ? LARGE_PAGE_SIZE : PAGE_SIZE;
        frame_get(*frame);
        found = true;
    }
    spin_unlock(&tables_lock);
    return found;
}

bool space_peek(struct space *s, uint64_t addr, struct space_view *view) {
    const uint64_t *pde = pt_pde(s, addr, false);
    uint64_t e = pde ? *pde : 0;
    if (pde_is_table(e)) {
        view->size = PAGE_SIZE;
        view->mask = e & PTE_WRITE ? ~0ull : ~PTE_WRITE;
        view->entries = pt_entry(&e, addr);
        e = *view->entries & view->mask;
    } else {
        view->size = LARGE_PAGE_SIZE;
        view->entries = NULL;
        e = e ? (e & ~PTE_LARGE) + (addr & (LARGE_PAGE_SIZE - PAGE_SIZE)) : 0;
    }
    view->entry = e & PTE_PRESENT ? e : 0;
    return view->entry;
}

int space_get_frame(struct space *s, uint64_t addr, unsigned access, struct frame **frame,
                    bool *writable, uint64_t *size) {
    int err = 0;
    mutex_lock(&s->lock);
    struct region *r = addr < USER_END ? space_find(s, addr) : NULL;
    if (access & ACCESS_WRITE && r && !(r->prot & PROT_WRITE))
        err = -EFAULT;
    while (!err && !lookup(s, addr, access, frame, writable, size))
        err = fault_handle(s, addr, access);
    mutex_unlock(&s->lock);
    return err;
}

long space_copy(struct space *s, uint64_t addr, void *buf, size_t n, bool write) {
    size_t done = 0;
    while (done < n) {
        struct frame *f;
        bool writable;
        uint64_t size, at = addr + done, offset = at % PAGE_SIZE;
        size_t part = MIN(n - done, PAGE_SIZE - offset);
        if (space_get_frame(s, at, write ? ACCESS_WRITE : ACCESS_READ, &f, &writable, &size))
            break;
        char *page = (char *)frame_virt(f) + offset, *mine = (char *)buf + done;
        memcpy(write ? page : mine, write ? mine : page, part);
        frame_put(f);
        done += part;
    }
    return done || !n ? (long)done : -EFAULT;
}
